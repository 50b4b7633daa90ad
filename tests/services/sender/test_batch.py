"""Batches: what they look like, what an answer means, and how they go through a Sender."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from notify.domain.model import DeliveryStatus, Reason
from notify.domain.policy import Batch, BatchFormat
from notify.domain.ports import Answer
from notify.domain.retry import Retry
from notify.sender.batch import Place, compose, failed
from notify_core.records import DeliveryRecord, MessageRecord
from tests.services.rig import OK, SECRETS, Request, Rig, counts
from tests.services.sender.test_sender import Running, until


def delivery(
    number: int,
    payload: bytes = b"{}",
    content_type: str = "",
    type_: str = "order.paid",
    key: str = "",
    headers: bytes = b"",
) -> tuple[DeliveryRecord, bytes, Place | None]:
    message = MessageRecord(number, 1, type_, content_type, headers, key, 0, 0, None)
    return DeliveryRecord(2, message), payload, None


def test_a_json_batch_is_an_array_of_objects() -> None:
    made = compose("json", [delivery(1, b'{"a": 1}'), delivery(2, b"[]", key="k")])
    assert made.content_type == "application/json"
    assert json.loads(made.body) == [
        {"id": "1", "type": "order.paid", "attempt": 3, "payload": {"a": 1}},
        {"id": "2", "type": "order.paid", "attempt": 3, "ordering_key": "k", "payload": []},
    ]


def test_an_ndjson_batch_is_an_object_a_line() -> None:
    made = compose("ndjson", [delivery(1, b'{\r\n"a":\n1}'), delivery(2, b'"\\n"')])
    assert made.content_type == "application/x-ndjson"
    assert made.body.endswith(b"\n")
    lines = made.body.decode().splitlines()
    assert [json.loads(line)["payload"] for line in lines] == [{"a": 1}, "\n"]


def test_its_id_is_of_these_deliveries_whenever_they_are_sent() -> None:
    one, two = delivery(1), delivery(2)
    again = (two[0]._replace(attempts=7), *two[1:])
    assert compose("json", [one, two]).id == compose("json", [one, again]).id
    assert len({compose("json", some).id for some in ([one], [two], [one, two], [two, one])}) == 4


def test_an_ordered_delivery_shows_its_place_and_its_headers() -> None:
    record, payload, _ = delivery(1, headers=b'{"x-trace":"a"}')
    made = compose("json", [(record, payload, Place(7, 6)), (record, payload, Place(1, 0))])
    first, second = json.loads(made.body)
    assert (first["sequence"], first["previous_id"]) == (7, "6")
    assert (second["sequence"], second["previous_id"]) == (1, "")
    assert first["headers"] == {"x-trace": "a"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(["json", "ndjson"]),
    st.lists(
        st.tuples(
            json_values, st.text(max_size=9), st.text(max_size=9), st.sampled_from([None, 0, 2])
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_whatever_is_json_arrives_as_it_is(
    form: str, given_: list[tuple[Any, str, str, int | None]]
) -> None:
    made = compose(
        form,
        [
            delivery(n, json.dumps(value, indent=indent).encode(), type_=type_, key=key)
            for n, (value, type_, key, indent) in enumerate(given_)
        ],
    )
    text = made.body.decode()
    found = json.loads(text) if form == "json" else [json.loads(x) for x in text.split("\n")[:-1]]
    assert [(one["payload"], one["type"], one.get("ordering_key", "")) for one in found] == [
        (value, type_, key) for value, type_, key, _ in given_
    ]


@given(st.sampled_from(["json", "ndjson"]), st.binary(), st.sampled_from(["text/plain", "a/b;c=d"]))
def test_whatever_is_no_json_arrives_too(form: str, payload: bytes, content_type: str) -> None:
    made = compose(form, [delivery(1, payload, content_type)])
    one = json.loads(made.body.decode().strip("[]\n"))
    assert base64.b64decode(one["payload_base64"]) == payload
    assert one["content_type"] == content_type
    assert "payload" not in one


ALL_WELL = (None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"[1]",
        b'"failed"',
        b"{}",
        b'{"failed":[]}',
        b'{"failed":null}',
        b'{"status":"fine"}',
        b"{ not json",
        b"\xff\xfe",
        b"<html>failed</html>",
    ],
)
def test_an_answer_that_lists_nothing_acknowledges_all(body: bytes) -> None:
    assert failed(body, [1, 2]) == ALL_WELL


@pytest.mark.parametrize(
    "body",
    [
        b'{"failed":["2"]}',
        b'  {"failed": [2], "more": {"failed": 1}}\n',
        b'{"failed":["2",2]}',
        b'\xef\xbb\xbf{"failed":["2"]}',
        b'{"\\u0066ailed":["2"]}',
    ],
)
def test_what_is_listed_failed(body: bytes) -> None:
    assert failed(body, [1, 2]) == (None, frozenset({2}))


@pytest.mark.parametrize(
    "body",
    [
        b'{"failed":true}',
        b'{"failed":"2"}',
        b'{"failed":{"2":1}}',
        b'{"failed":["2",null]}',
        b'{"failed":[2.5]}',
        b'{"failed":["3"]}',
        b'{"failed":["2","batch-1"]}',
        b'{"failed":["2"',
    ],
)
def test_an_answer_that_cannot_be_relied_on_acknowledges_none(body: bytes) -> None:
    why, listed = failed(body, [1, 2])
    assert why
    assert listed is None


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.booleans())
def test_any_answer_means_something(body: bytes, braced: bool) -> None:
    why, listed = failed(b'{"failed":' + body + b"}" if braced else body, [1, 2])
    assert why is None or listed is None
    assert listed is None or listed <= {1, 2}


# Through a Sender.


def sent(request: Request) -> list[int]:
    """The messages that a request carries."""
    return [int(one["id"]) for one in json.loads(request.body)]


async def rig(batch: dict[str, Any], **more: Any) -> Rig:
    r = Rig(**{"queue.depth_max": 1000, "queue.chunk_rows_max": 100, "sender.concurrency_max": 1})
    await r.open(0)
    await r.subscribe(
        batch=Batch(format=BatchFormat.JSON, **batch),
        retry=Retry(schedule_ms=(1000,) * 5, jitter=0),
        **more,
    )
    return r


async def delivered(r: Rig, n: int) -> bool:
    await r.mark()
    return (await r.account()).delivered == n


def test_up_to_so_many_go_in_one_signed_request(simulate: Any) -> None:
    async def work() -> None:
        r = await rig({"size_max": 10})
        made = await r.queued(25)
        async with Running(r) as running:
            await until(lambda: delivered(r, 25))
            assert running.sender.attempts_made == 3
        assert [sent(request) for request in r.consumers.requests] == [
            made[:10],
            made[10:20],
            made[20:],
        ]
        [first, *_] = r.consumers.requests
        batch_id = first.headers["webhook-id"]
        assert batch_id.startswith("batch-")
        at = datetime.fromtimestamp(int(first.headers["webhook-timestamp"]), UTC)
        signature = Webhook(SECRETS[0]).sign(batch_id, at, first.body.decode())
        assert first.headers["webhook-signature"] == signature

    simulate(work())


def test_a_batch_waits_for_more_only_so_long(simulate: Any) -> None:
    async def work() -> None:
        r = await rig({"size_max": 3, "wait_ms": 300})
        async with Running(r):
            first = await r.queued(2)
            await asyncio.sleep(0.25)
            assert not r.consumers.requests
            await asyncio.sleep(0.2)
            assert sent(r.consumers.requests[0]) == first
            full = await r.queued(3)
            await asyncio.sleep(0.1)
            assert sent(r.consumers.requests[1]) == full

    simulate(work())


def test_a_batch_that_waits_takes_what_comes_meanwhile(simulate: Any) -> None:
    async def work() -> None:
        r = await rig({"size_max": 3, "wait_ms": 1000})
        async with Running(r):
            made = []
            for _ in range(3):
                made += await r.queued(1)
                await asyncio.sleep(0.1)
            assert [sent(request) for request in r.consumers.requests] == [made]

    simulate(work())


@pytest.mark.parametrize("size", [50, 200])  # in the chunk, and left in the database
def test_a_batch_keeps_to_its_bytes(simulate: Any, size: int) -> None:
    async def work() -> None:
        r = await rig({"size_max": 100, "bytes_max": 1024})
        made = await r.queued(30, payload="x" * (size - 2))
        [large] = await r.queued(1, payload="x" * 3000)
        async with Running(r):
            await until(lambda: delivered(r, 31))
        batches = [sent(request) for request in r.consumers.requests]
        assert sorted(id_ for batch in batches for id_ in batch) == [*made, large]
        assert max(len(batch) for batch in batches if large not in batch) == 1024 // size
        assert [large] in batches
        assert len(batches) <= 2 + 30 // (1024 // size)

    simulate(work())


def test_only_what_is_listed_is_tried_again(simulate: Any) -> None:
    async def work() -> None:
        r = await rig({"size_max": 5})
        made = await r.queued(5)
        listed = [made[1], made[3]]
        body = json.dumps({"failed": [str(id_) for id_ in listed]}).encode()
        answers = iter([Answer(200, body, "")])
        r.consumers.behaviour = lambda _: (0.0, next(answers, OK))
        async with Running(r):
            await until(lambda: delivered(r, 5))
        assert [sent(request) for request in r.consumers.requests] == [made, listed]
        [first, second] = await r.storage.attempts(made[1])
        assert (first.code, second.attempt) == (200, 2)
        assert "listed it as failed" in first.error

    simulate(work())


@pytest.mark.parametrize("answer", [Answer(500, b"", ""), Answer(200, b'{"failed":["9"]}', "")])
def test_an_answer_that_acknowledges_none_has_all_tried_again(
    simulate: Any, answer: Answer
) -> None:
    async def work() -> None:
        r = await rig({"size_max": 5})
        made = await r.queued(5)
        answers = iter([answer])
        r.consumers.behaviour = lambda _: (0.0, next(answers, OK))
        async with Running(r):
            await until(lambda: delivered(r, 5))
        assert sorted(sent(r.consumers.requests[1])) == made
        assert counts(await r.account()) == (5, 0, 0, 0)

    simulate(work())


def test_a_429_for_a_batch_leaves_the_endpoint_alone(simulate: Any) -> None:
    async def work() -> None:
        r = await rig({"size_max": 5})
        await r.queued(15)
        answers = iter([Answer(429, b"", "4")])
        r.consumers.behaviour = lambda _: (0.0, next(answers, OK))
        async with Running(r):
            await until(lambda: delivered(r, 15))
        times = [request.at_s for request in r.consumers.requests]
        assert times[1] - times[0] >= 3.99

    simulate(work())


def test_what_expired_or_was_deleted_is_left_out(simulate: Any) -> None:
    async def work() -> None:
        r = await rig({"size_max": 10})
        first = await r.queued(2)
        soon = datetime.fromtimestamp(r.clock.now_ms() / 1000 + 0.5, UTC).isoformat()
        [expired] = await r.queued(1, expires_at=soon)
        [deleted] = await r.queued(1, payload="x" * 500)
        last = await r.queued(1)
        payloads = r.storage.payloads

        async def without(ids: Any) -> dict[int, bytes]:
            return {id_: body for id_, body in (await payloads(ids)).items() if id_ != deleted}

        r.storage.payloads = without  # type: ignore[method-assign]
        await asyncio.sleep(1)
        async with Running(r):
            await until(lambda: delivered(r, 3))
        assert [id_ for q in r.consumers.requests for id_ in sent(q)] == first + last
        assert (await r.delivery(expired)).reason is Reason.EXPIRED
        assert (await r.delivery(deleted)).reason is Reason.DELETED

    simulate(work())


def test_a_batch_as_a_probe_costs_its_deliveries_nothing(simulate: Any) -> None:
    async def work() -> None:
        r = await rig({"size_max": 4})
        made = await r.queued(100)
        begun = asyncio.get_running_loop().time()
        down = Answer(500, b"", "")
        r.consumers.behaviour = lambda q: (0.0, down if q.at_s - begun < 60 else OK)
        async with Running(r):
            await asyncio.sleep(59)
            during = len(r.consumers.requests)
            await until(lambda: delivered(r, 100))
        assert during <= 10 + 10, "one probe at a time"
        failures = [len(await r.storage.attempts(id_)) for id_ in made]
        assert max(failures) <= 2, "its failure and its success"
        assert failures.count(0) >= 60, "the ten batches that opened the breaker, and no others"
        assert all([(await r.delivery(id_)).status is DeliveryStatus.DELIVERED for id_ in made])

    simulate(work())
