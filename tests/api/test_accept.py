"""Group commit: grouping, duplicates, failures, bounds and drain."""

import asyncio

import pytest

from notify.api.service import serving
from notify.domain.errors import QueueUnavailable, StorageRefused, StorageUnavailable
from notify.domain.ports import Inserted, Push, Stream, StreamKind
from notify_core import chunk
from tests.api.conftest import long_way


@pytest.fixture(params=[serving, long_way])
def way(request):
    return request.param


ONE = {"type": "order.paid", "payload": {"n": 1}}
INGEST = Stream(StreamKind.INGEST, 0)


def test_a_hundred_requests_share_few_commits(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            posts = [
                asyncio.create_task(it.post(key, {"type": "t", "payload": n})) for n in range(100)
            ]
            await it.held(100)
            it.storage.gate.set()
            answers = await asyncio.gather(*posts)
            ids = [int(answer.json()["ids"][0]) for answer in answers]
            assert len(set(ids)) == 100
            for n, message_id in enumerate(ids):
                assert (await it.storage.message(message_id)).payload == b"%d" % n
            assert sum(it.storage.commits) == 100
            assert len(it.storage.commits) <= 10
            items = []
            await it.until(lambda: sum(push.items for push in it.queue.pushed) == 100)
            for push in it.queue.pushed:
                assert push.stream == INGEST
                version, records = chunk.unpack_messages(push.chunk)
                assert version == it.directory.version
                assert len(records) == push.items
                items += [record.id for record in records]
            assert sorted(items) == sorted(ids)

    run(scenario())


def test_the_same_key_gives_the_same_id_and_no_second_message(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            other = (await it.producer("other"))["api_key"]
            keyed = {"type": "t", "payload": 1, "key": "k"}
            first = (await it.post(key, [keyed, ONE, keyed])).json()["ids"]
            assert first[0] == first[2] != first[1]
            again = (await it.post(key, {**keyed, "payload": 2})).json()["ids"]
            assert again == [first[0]]
            assert (await it.post(other, keyed)).json()["ids"] != again
            assert await it.stored() == 3
            assert (await it.storage.message(int(first[0]))).payload == b"1"
            it.storage.gate.clear()
            posts = [asyncio.create_task(it.post(key, {**keyed, "key": "z"})) for _ in range(20)]
            await it.held(20)
            it.storage.gate.set()
            ids = {(await post).json()["ids"][0] for post in posts}
            assert len(ids) == 1
            await it.until(lambda: sum(push.items for push in it.queue.pushed) == 4)

    run(scenario())


def test_a_failing_database_is_503_and_the_next_request_works(api, run, caplog):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            posts = [asyncio.create_task(it.post(key, ONE)) for _ in range(10)]
            await it.held(10)
            it.storage.failures = [StorageUnavailable("gone")] * 20
            it.storage.gate.set()
            for answer in await asyncio.gather(*posts):
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert "gone" not in answer.text
            for _ in range(3):
                assert (await it.post(key, ONE)).status_code == 503
            it.storage.failures = []
            assert await it.stored() == 0
            assert (await it.post(key, ONE)).status_code == 202
            assert await it.stored() == 1

    run(scenario())
    told = [record.getMessage() for record in caplog.records if "stor" in record.getMessage()]
    assert told == ["messages cannot be stored: gone", "the database stores messages again"]


def test_what_the_database_refuses_hits_only_the_request_that_causes_it(api, run, caplog):
    """A payload above max_allowed_packet, say: 503 for its producer, not for all who came then."""

    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            posts = [asyncio.create_task(it.post(key, ONE)) for _ in range(5)]
            await it.held(5)
            # The commit in flight, the group behind it, then the first of that group alone.
            it.storage.failures = [StorageRefused("raise max_allowed_packet")] * 3
            it.storage.gate.set()
            answers = await asyncio.gather(*posts)
            assert sorted(a.status_code for a in answers) == [202, 202, 202, 503, 503]
            bad = next(answer for answer in answers if answer.status_code == 503)
            assert bad.headers["retry-after"] == "1"
            assert "max_allowed_packet" not in bad.text
            assert await it.stored() == 3

    run(scenario())
    assert "raise max_allowed_packet" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_an_unforeseen_error_hits_only_the_request_that_causes_it(api, run, caplog):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            posts = [asyncio.create_task(it.post(key, ONE)) for _ in range(5)]
            await it.held(5)
            # The commit in flight, the group behind it, then the first of that group alone.
            it.storage.failures = [RuntimeError("secret text")] * 3
            it.storage.gate.set()
            codes = [answer.status_code for answer in await asyncio.gather(*posts)]
            assert sorted(codes) == [202, 202, 202, 500, 500]
            bad = next(post.result() for post in posts if post.result().status_code == 500)
            assert "secret text" not in bad.text
            assert await it.stored() == 3

    run(scenario())
    assert "secret text" in caplog.text


def test_an_error_after_the_insert_stores_nothing_again(api, run, caplog):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            insert = it.storage.insert_messages

            async def with_a_wrong_answer(batch, now_ms):
                ids, fresh = await insert(batch, now_ms)
                return Inserted(ids, [len(batch) + 7, *fresh])

            it.storage.insert_messages = with_a_wrong_answer
            it.storage.gate.clear()
            posts = [asyncio.create_task(it.post(key, ONE)) for _ in range(6)]
            await it.held(6)
            it.storage.gate.set()
            answers = await asyncio.gather(*posts)
            assert [answer.status_code for answer in answers] == [202] * 6
            assert len({answer.json()["ids"][0] for answer in answers}) == 6
            await it.until(lambda: "IndexError" in caplog.text)
            assert await it.stored() == sum(it.storage.commits) == 6
            # The Rescuer finds these; what comes next goes its usual way.
            it.storage.insert_messages = insert
            assert (await it.post(key, ONE)).status_code == 202
            await it.until(lambda: sum(push.items for push in it.queue.pushed) == 1)

    run(scenario())


def test_a_client_that_gives_up_does_not_break_its_group(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            posts = [asyncio.create_task(it.post(key, ONE)) for _ in range(6)]
            await it.held(6)
            for post in posts[:3]:
                post.cancel()
            await asyncio.gather(*posts[:3], return_exceptions=True)
            it.storage.gate.set()
            for answer in await asyncio.gather(*posts[3:]):
                assert answer.status_code == 202

    run(scenario())


def test_cancelled_calls_are_not_stored(api, run):
    async def scenario():
        async with api() as it:
            from notify_core import receive
            from notify_core.body import Limits

            def batch():
                return receive.parse(b'{"type":"a","payload":1}', "application/json", Limits())

            it.storage.gate.clear()
            accept = it.app.acceptor.accept
            first, second, third = [asyncio.create_task(accept(batch(), 1)) for _ in range(3)]
            await asyncio.sleep(0.01)
            second.cancel()
            await asyncio.sleep(0)
            it.storage.gate.set()
            assert len(await first) == len(await third) == 1
            assert sum(it.storage.commits) in (2, 3)  # 3 where all three shared the first commit

    run(scenario())


def test_a_full_ingest_stream_is_503_before_anything_is_stored(api, run):
    async def scenario():
        async with api(queue_ingest_depth_max=100) as it:
            key = (await it.producer())["api_key"]
            await it.queue.push([Push(INGEST, b"", 100)])
            answer = await it.post(key, ONE)
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
            assert it.storage.commits == []
            it.queue.flush()
            await it.queue.begin_epoch("second")
            await asyncio.sleep(0.02)  # a measured depth is believed for so long
            assert (await it.post(key, ONE)).status_code == 202
            assert it.storage.commits == [1]

    run(scenario())


def test_a_lost_or_failing_queue_does_not_stop_accepting(api, run, caplog):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            it.queue.flush()
            assert (await it.post(key, ONE)).status_code == 202
            await it.queue.begin_epoch("second")
            it.queue.failures = [QueueUnavailable("away")]
            assert (await it.post(key, ONE)).status_code == 202
            assert (await it.post(key, ONE)).status_code == 202
            assert await it.stored() == 3
            metrics = (await it.client.get("/metrics")).text
            assert "notify_api_push_failures_total 2.0" in metrics

    run(scenario())
    assert caplog.text.count("takes no messages") == 1


def test_without_ids_nothing_is_accepted(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            await it.message_ids.close()
            answer = await it.post(key, ONE)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert (await it.client.get("/readyz")).status_code == 503

    run(scenario())


def test_requests_beyond_the_bound_are_503(api, run):
    async def scenario():
        async with api(api_requests_max=5) as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            posts = [asyncio.create_task(it.post(key, ONE)) for _ in range(5)]
            await it.held(5)
            answer = await it.post(key, ONE)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            it.storage.gate.set()
            assert all(answer.status_code == 202 for answer in await asyncio.gather(*posts))

    run(scenario())


def test_waiting_messages_are_bounded(api, run):
    async def scenario():
        async with api(api_commit_rows_max=10) as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            first = asyncio.create_task(it.post(key, [ONE] * 10))
            await it.held(10)
            behind = asyncio.create_task(it.post(key, [ONE] * 80))
            await it.held(90)
            assert (await it.post(key, ONE)).status_code == 503
            it.storage.gate.set()
            assert (await first).status_code == (await behind).status_code == 202

    run(scenario())


def test_large_payloads_make_several_chunks(api, run):
    async def scenario():
        async with api(queue_chunk_bytes_max=4096) as it:
            key = (await it.producer())["api_key"]
            batch = [{"type": "t", "payload": "x" * 1000} for _ in range(20)]
            assert (await it.post(key, batch)).status_code == 202
            await it.until(lambda: sum(push.items for push in it.queue.pushed) == 20)
            assert len(it.queue.pushed) > 4
            assert all(len(push.chunk) <= 4096 for push in it.queue.pushed)

    run(scenario())


def test_drain_commits_and_answers_what_waits(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            posts = [asyncio.create_task(it.post(key, ONE)) for _ in range(5)]
            await it.held(5)
            it.app.acceptor.drain()
            assert (await it.post(key, ONE)).status_code == 503
            it.storage.gate.set()
            assert [(await post).status_code for post in posts] == [202] * 5
            await it.committing
            assert await it.stored() == 5

    run(scenario())


def test_cancelling_the_committer_leaves_nobody_waiting(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            it.storage.gate.clear()
            posts = [asyncio.create_task(it.post(key, ONE)) for _ in range(5)]
            await it.held(5)
            it.committing.cancel()
            assert [(await post).status_code for post in posts] == [503] * 5

    run(scenario())
