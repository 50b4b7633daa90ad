"""Ordered subscriptions: each key in its order, whatever fails, restarts or comes late."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from notify.domain.errors import QueueUnavailable, StorageUnavailable
from notify.domain.model import DeliveryStatus, SubscriptionStatus
from notify.domain.policy import Batch, BatchFormat, Ordering
from notify.domain.ports import Answer, Push, Stream, StreamKind
from notify.domain.retry import Retry
from notify.sender import line as line_module
from notify.sender import ordered as ordered_module
from tests.services.rig import INGEST, OK, Request, Rig, counts
from tests.services.sender.test_sender import Running, until

RETRY = Retry(schedule_ms=(1000,) * 9, jitter=0)
DOWN = Answer(500, b"", "")


async def rig(ordering: Ordering = Ordering.KEY, **more: Any) -> Rig:
    flags = {"queue.depth_max": 1000, "sender.concurrency_max": 8, "sender.in_flight_max": 100}
    r = Rig(**flags)
    await r.open(0)
    await r.subscribe(ordering=ordering, **{"retry": RETRY} | more)
    return r


async def queued(r: Rig, *keys: str) -> list[int]:
    """A message of each of these keys, in this order."""
    return [(await r.queued(1, ordering_key=key))[0] for key in keys]


async def delivered(r: Rig, n: int) -> bool:
    await r.mark()
    return (await r.account()).delivered == n


def first_tries(r: Rig) -> list[int]:
    """The messages in the order of their first requests."""
    return list(dict.fromkeys(r.consumers.got()))


def check_places(r: Rig, keys: dict[int, str], ordering: Ordering = Ordering.KEY) -> None:
    """Without a gap, naming the one before, and the same on every try."""
    places: dict[int, tuple[str, str]] = {}
    last: dict[str, int] = {}
    count: dict[str, int] = defaultdict(int)
    for request in r.consumers.requests:
        id_, headers = request.message_id, request.headers
        place = (headers["notify-sequence"], headers.get("notify-previous-id", ""))
        if id_ not in places:
            key = keys[id_] if ordering is Ordering.KEY else ""
            count[key] += 1
            assert place == (str(count[key]), str(last.get(key, "")))
            last[key] = id_
        assert place == places.setdefault(id_, place)


def test_each_key_goes_in_its_order_and_keys_go_side_by_side(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        keys = ["abc"[n % 3] for n in range(30)]
        made = await queued(r, *keys)
        r.consumers.behaviour = lambda q: (0.1 + q.message_id % 7 / 10, OK)
        under_way: list[int] = []
        async with Running(r):
            while not await delivered(r, 30):
                under_way.append(r.consumers.hanging)
                await asyncio.sleep(0.01)
        by_key = [[id_ for id_ in r.consumers.got() if keys[made.index(id_)] == k] for k in "abc"]
        assert by_key == [made[0::3], made[1::3], made[2::3]]
        assert max(under_way) == 3
        check_places(r, dict(zip(made, keys, strict=True)))

    simulate(work())


def test_a_failing_key_parks_only_itself(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        made = await queued(r, *"abab" * 5)
        down_until = 3.0

        def behaviour(request: Request) -> tuple[float, Answer]:
            bad = request.message_id == made[2] and request.at_s < down_until
            return 0.01, DOWN if bad else OK

        r.consumers.behaviour = behaviour
        async with Running(r):
            await asyncio.sleep(1.5)
            got = set(r.consumers.got())
            assert got == set(made[1::2]) | set(made[0:4:2]), "all of b, and two of a"
            await until(lambda: delivered(r, 20))
        assert [id_ for id_ in first_tries(r) if id_ in made[0::2]] == made[0::2]
        tries = [q.attempt for q in r.consumers.requests if q.message_id == made[2]]
        assert tries == [1, 2, 3, 4]
        check_places(r, {id_: "ab"[n % 2] for n, id_ in enumerate(made)})
        assert len(await r.storage.attempts(made[2])) == 4

    simulate(work())


def test_strict_is_one_line_of_all_keys(simulate: Any) -> None:
    async def work() -> None:
        r = await rig(Ordering.STRICT)
        made = await queued(r, *"abcabc")
        answers: Iterator[Answer] = iter([OK, DOWN, DOWN])
        r.consumers.behaviour = lambda _: (0.1, next(answers, OK))
        async with Running(r):
            await until(lambda: delivered(r, 6))
            assert r.consumers.got() == [made[0], made[1], made[1], *made[1:]]
        check_places(r, {}, Ordering.STRICT)

    simulate(work())


@pytest.mark.parametrize("code", [410, 500])
def test_a_dropped_one_lets_the_next_go(simulate: Any, code: int) -> None:
    async def work() -> None:
        retry = Retry(schedule_ms=(100,), jitter=0)
        r = await rig(retry=retry, permanent_codes=(410, 404))
        made = await queued(r, *"aaa")
        answer = Answer(404 if code == 410 else code, b"", "")
        r.consumers.behaviour = lambda q: (0.01, answer if q.message_id == made[0] else OK)
        async with Running(r):
            await until(lambda: delivered(r, 2))
        assert first_tries(r) == made
        assert (await r.delivery(made[0])).status is DeliveryStatus.DROPPED
        check_places(r, dict.fromkeys(made, "a"))

    simulate(work())


@pytest.mark.parametrize("kill", [False, True])
def test_another_sender_goes_on_where_the_line_was(simulate: Any, kill: bool) -> None:
    async def work() -> None:
        r = await rig()
        keys = ["ab"[n % 2] for n in range(20)]
        made = await queued(r, *keys)

        def behaviour(request: Request) -> tuple[float, Answer]:
            # Some had a try that failed, and wait for the next when the Sender dies.
            bad = request.message_id in made[4:6] and request.at_s < 2
            return 0.1, DOWN if bad else OK

        r.consumers.behaviour = behaviour
        running = Running(r, r.sender("one"))
        await running.__aenter__()
        await asyncio.sleep(0.55)
        await (running.kill() if kill else running.__aexit__())
        await r.mark()
        async with Running(r, r.sender("two")):
            await until(lambda: delivered(r, 20))
        for start in (0, 1):
            assert [id_ for id_ in first_tries(r) if id_ in made[start::2]] == made[start::2]
        check_places(r, dict(zip(made, keys, strict=True)))
        tries = [q.attempt for q in r.consumers.requests if q.message_id == made[4]]
        assert tries == list(range(1, len(tries) + 1))

    simulate(work())


def test_a_pause_with_tries_under_way_keeps_the_order(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        keys = ["ab"[n % 2] for n in range(16)]
        made = await queued(r, *keys)
        r.consumers.behaviour = lambda _: (0.3, OK)
        async with Running(r):
            for _ in range(3):
                await asyncio.sleep(0.5)
                await r.set_status(1, SubscriptionStatus.PAUSED)
                await asyncio.sleep(0.1)
                await r.set_status(1, SubscriptionStatus.NORMAL)
            await r.set_status(1, SubscriptionStatus.PAUSED)
            await asyncio.sleep(1)
            before = len(r.consumers.got())
            await asyncio.sleep(5)
            assert len(r.consumers.got()) == before < 16
            await r.set_status(1, SubscriptionStatus.NORMAL)
            await until(lambda: delivered(r, 16))
        assert sorted(r.consumers.got()) == made, "none came twice"
        check_places(r, dict(zip(made, keys, strict=True)))
        for start in (0, 1):
            assert [id_ for id_ in first_tries(r) if id_ in made[start::2]] == made[start::2]

    simulate(work())


def test_a_line_given_up_while_it_is_read_is_read_from_its_beginning(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        monkeypatch.setattr(ordered_module, "PAGE_ROWS", 3)
        monkeypatch.setattr(ordered_module, "LATE_MS", 0)
        r = await rig()
        made = []
        for _ in range(12):
            made += await queued(r, "a")
            await asyncio.sleep(0.1)
        waiting, pages = r.storage.waiting, 0

        async def slowly(*args: Any) -> Any:
            nonlocal pages
            pages += 1
            if pages in (3, 5):
                await asyncio.sleep(0.2)
            return await waiting(*args)

        monkeypatch.setattr(r.storage, "waiting", slowly)
        await r.set_status(1, SubscriptionStatus.PAUSED)
        async with Running(r):
            await asyncio.sleep(0.1)
            await r.set_status(1, SubscriptionStatus.NORMAL)
            for _ in range(2):
                await asyncio.sleep(0.1)
                await r.set_status(1, SubscriptionStatus.PAUSED)
                await asyncio.sleep(0.01)
                await r.set_status(1, SubscriptionStatus.NORMAL)
            await until(lambda: delivered(r, 12))
        assert first_tries(r) == made

    simulate(work())


def test_a_pause_makes_nobody_doubt_what_the_marker_has_still_to_write(simulate: Any) -> None:
    """However far it is behind: only a lost queue loses outcomes."""

    async def work() -> None:
        r = await rig()
        made = await queued(r, *"aabb")
        async with Running(r):
            await until(lambda: _all_asked(r, 4))
            await r.set_status(1, SubscriptionStatus.PAUSED)
            await asyncio.sleep(1)
            await r.set_status(1, SubscriptionStatus.NORMAL)
            await asyncio.sleep(3 * ordered_module.TAKEOVER_WAIT_MS / 1000)
            assert r.consumers.got() == first_tries(r), "none came twice"
            await until(lambda: delivered(r, 4))
        assert sorted(r.consumers.got()) == made

    simulate(work())


async def _all_asked(r: Rig, n: int) -> bool:
    return len(r.consumers.got()) >= n


def test_a_lost_queue_loses_and_reorders_nothing(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        made = await queued(r, *"aaaaaaaa")
        r.consumers.behaviour = lambda _: (0.3, OK)
        rescuer = r.rescuer()
        async with Running(r):
            await asyncio.sleep(1)
            r.queue.flush()
            await asyncio.sleep(0.2)

            async def over() -> bool:
                await rescuer.step()
                return await delivered(r, 8)

            await until(over)
        assert first_tries(r) == made
        # Again came what was under way, and what the lost queue had not told the Marker.
        assert len(r.consumers.got()) <= 8 + 5

    simulate(work())


def test_a_lost_queue_that_it_hears_of_late_doubles_nothing_delivered_since(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claims go wrong for a while longer than everything else; the Marker is behind."""

    async def work() -> None:
        r = await rig()
        rescuer, claim, away = r.rescuer(), r.queue.claim, False

        async def claim_late(streams: Sequence[Stream], *rest: Any) -> Any:
            if away and streams[0].kind is StreamKind.SUBSCRIPTION:
                raise QueueUnavailable("not yet")
            return await claim(streams, *rest)

        async def mark_late() -> None:
            while True:
                await asyncio.sleep(0.5)
                await r.mark()

        monkeypatch.setattr(r.queue, "claim", claim_late)
        async with Running(r) as running:
            before = await queued(r, *"aabb")
            await until(lambda: delivered(r, 4))
            (lane,) = running.sender._lanes.ordered
            away = True
            r.queue.flush()
            await rescuer.step()
            marker = asyncio.create_task(mark_late())
            since = []
            for number in range(60):
                since += await queued(r, *"ab")
                lane.read()  # as it does every few seconds, unasked
                away = number < 20
                await asyncio.sleep(0.1)
            await until(lambda: delivered(r, 124))
            marker.cancel()
        assert sorted(r.consumers.got()) == sorted(before + since)

    simulate(work())


async def set_ordering(r: Rig, ordering: Ordering) -> None:
    known = (await r.storage.directory()).subscriptions[1]
    await r.storage.update_subscription(msgspec.structs.replace(known, ordering=ordering))
    await r.directory.refresh()


def test_the_ordering_may_be_changed_under_load(simulate: Any) -> None:
    async def work() -> None:
        r = await rig(Ordering.NONE)
        keys: dict[int, str] = {}
        r.consumers.behaviour = lambda q: (0.05 + q.message_id % 5 / 10, OK)
        kinds = (Ordering.NONE, Ordering.KEY, Ordering.STRICT, Ordering.KEY, Ordering.NONE)
        rescuer = r.rescuer()
        ranges: list[tuple[Ordering, list[int], int]] = []
        async with Running(r):
            for kind in kinds:
                await set_ordering(r, kind)
                await asyncio.sleep(12)  # its tries end, and the lane is changed
                made = await queued(r, *"abcabcabcabc")
                keys |= dict(zip(made, "abcabcabcabc", strict=True))
                await asyncio.sleep(0.8)
                ranges.append((kind, made, len(r.consumers.requests)))

            async def over() -> bool:
                await rescuer.step()
                return await delivered(r, len(keys))

            await until(over)
        assert set(r.consumers.got()) == set(keys)
        for kind, made, end in ranges:
            # Until it was changed again.
            first = [id_ for id_ in dict.fromkeys(r.consumers.got()[:end]) if id_ in made]
            assert first
            for key in [""] if kind is Ordering.STRICT else "abc" if kind is Ordering.KEY else "":
                of_key = [id_ for id_ in made if key in keys[id_]]
                began = [id_ for id_ in first if id_ in of_key]
                assert began == of_key[: len(began)]

    simulate(work())


@pytest.mark.parametrize("ordering", [Ordering.KEY, Ordering.STRICT])
def test_more_than_fits_is_read_as_it_gets_done(
    simulate: Any, monkeypatch: pytest.MonkeyPatch, ordering: Ordering
) -> None:
    async def work() -> None:
        monkeypatch.setattr(ordered_module, "LINE_MAX", 10)
        monkeypatch.setattr(ordered_module, "PAGE_ROWS", 7)
        monkeypatch.setattr(ordered_module, "KEY_JOBS_MAX", 4)
        monkeypatch.setattr(line_module, "KEY_JOBS_MAX", 4)
        r = await rig(ordering)
        keys = [("aaaab" * 20 + "c" * 20)[n] for n in range(120)]
        made = await queued(r, *keys)
        r.consumers.behaviour = lambda _: (0.01, OK)
        async with Running(r):
            await until(lambda: delivered(r, 120), 200)
        assert sorted(r.consumers.got()) == made
        check_places(r, dict(zip(made, keys, strict=True)), ordering)
        for key in "abc":
            of_key = [id_ for id_, one in zip(made, keys, strict=True) if one == key]
            assert [id_ for id_ in first_tries(r) if id_ in of_key] == of_key

    simulate(work())


def test_while_the_marker_is_down_nothing_comes_twice(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        made = await queued(r, *"abcabc")
        async with Running(r):
            await asyncio.sleep(20)
            made += await queued(r, *"abcabc")
            await asyncio.sleep(20)
            assert sorted(r.consumers.got()) == made
            await until(lambda: delivered(r, 12))
            await asyncio.sleep(20)
        assert sorted(r.consumers.got()) == made
        check_places(r, dict(zip(made, "abcabcabcabc", strict=True)))

    simulate(work())


def test_a_graceful_change_waits_for_what_is_not_marked_yet(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        made = await queued(r, *"abab")
        async with Running(r, r.sender("one")):
            await until(lambda: _got(r, 4))
        async with Running(r, r.sender("two")):
            await asyncio.sleep(2)
            await r.mark()
            await asyncio.sleep(20)
        assert sorted(r.consumers.got()) == made

    simulate(work())


async def _got(r: Rig, n: int) -> bool:
    return len(r.consumers.got()) >= n


def test_an_older_message_still_in_the_ingest_stream_holds_back_later_ones(simulate: Any) -> None:
    """Two Makers: one has claimed the older and is slow, the other has split the later one."""

    async def work() -> None:
        r = await rig()
        async with Running(r):
            await asyncio.sleep(1)
            [older] = await r.accept(1, ordering_key="a")
            await asyncio.sleep(0.01)
            [slow] = await r.queue.claim([INGEST], "slow", 1)
            [later] = await r.accept(1, ordering_key="a")
            await r.split()
            await asyncio.sleep(2)
            assert (await r.delivery(later)).status is DeliveryStatus.PENDING
            assert not r.consumers.got()
            await r.queue.ack([slow], [Push(INGEST, slow.chunk, 1, since_ms=slow.since_ms)])
            await r.split()
            await until(lambda: _got(r, 2))
        assert r.consumers.got() == [older, later]

    simulate(work())


def test_what_is_accepted_and_split_while_the_line_is_read_holds_to_its_order(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ingest stream was empty when it was asked, and is not when the rows are read."""

    async def work() -> None:
        r = await rig()
        async with Running(r):
            await asyncio.sleep(1)
            waiting, made = r.storage.waiting, []

            async def late(*args: Any) -> Any:
                if not made:
                    made.extend(await r.accept(1, ordering_key="a"))
                    await asyncio.sleep(0.01)
                    claims.extend(await r.queue.claim([INGEST], "slow", 1))
                    made.extend(await r.accept(1, ordering_key="a"))
                    await r.split()
                return await waiting(*args)

            claims: list[Any] = []
            monkeypatch.setattr(r.storage, "waiting", late)
            await queued(r, "b")
            await until(lambda: _true(bool(claims)))
            await asyncio.sleep(1)
            assert made[1] not in r.consumers.got()
            [slow] = claims
            await r.queue.ack(claims, [Push(INGEST, slow.chunk, 1, since_ms=slow.since_ms)])
            await r.split()
            await until(lambda: _got(r, 3))
        assert [id_ for id_ in r.consumers.got() if id_ in made] == made

    simulate(work())


async def _true(holds: bool) -> bool:
    return holds


def test_what_was_accepted_and_not_pushed_holds_back_later_ones(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        async with Running(r):
            await asyncio.sleep(1)
            await r.store(1, ordering_key="a")
            await asyncio.sleep(0.01)
            await queued(r, "a")
            await asyncio.sleep(1)
            assert not r.consumers.got()

    simulate(work())


def test_dead_letters_of_long_ago_can_be_replayed(simulate: Any) -> None:
    async def work() -> None:
        r = await rig(retry=Retry(schedule_ms=(), jitter=0))
        [first] = await queued(r, "a")
        answers = iter([DOWN])
        r.consumers.behaviour = lambda _: (0.0, next(answers, OK))
        async with Running(r):
            await until(lambda: _got(r, 1))
            await asyncio.sleep(300)
            [second] = await queued(r, "a")
            await until(lambda: delivered(r, 1))
            await asyncio.sleep(20)
            await r.storage.replay([(first, 1)], r.clock.now_ms())
            await until(lambda: delivered(r, 2))
        assert r.consumers.got() == [first, second, first]

    simulate(work())


def test_what_waited_for_its_time_comes_once(simulate: Any) -> None:
    """Its row is another list's than the line's, until it is marked."""

    async def work() -> None:
        r = await rig()
        soon = "2026-09-21T14:13:50Z"
        [waits] = await r.queued(1, ordering_key="a", deliver_at=soon)
        async with Running(r):
            await asyncio.sleep(40)
            assert r.consumers.got() == [waits]
            made = await queued(r, *"abc")
            await asyncio.sleep(10)
            await until(lambda: delivered(r, 4))
        assert r.consumers.got() == [waits, *made]

    simulate(work())


def test_a_storage_that_fails_while_it_is_read_reorders_nothing(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        monkeypatch.setattr(line_module, "KEY_JOBS_MAX", 2)
        monkeypatch.setattr(ordered_module, "LATE_MS", 0)
        r = await rig()
        waiting, calls = r.storage.waiting, 0

        async def failing(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls % 3 == 0:
                raise StorageUnavailable("away")
            return await waiting(*args)

        monkeypatch.setattr(r.storage, "waiting", failing)
        made = []
        for _ in range(12):
            made += await queued(r, "a")
            await asyncio.sleep(0.01)
        async with Running(r):
            await asyncio.sleep(1.2)
            for _ in range(12):
                made += await queued(r, "a")
                await asyncio.sleep(0.1)
            await until(lambda: delivered(r, 24))
        assert first_tries(r) == made

    simulate(work())


def test_a_sender_stops_in_time_while_places_cannot_be_saved(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        r = await rig()
        await queued(r, "a")

        async def away(*_: Any) -> None:
            raise StorageUnavailable("away")

        monkeypatch.setattr(r.storage, "set_order_heads", away)
        async with Running(r, r.sender(drain_ms=2000)):
            await until(lambda: _got(r, 1))
            begun = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - begun < 4

    simulate(work())


def test_a_batch_takes_one_of_a_key_and_shows_places(simulate: Any) -> None:
    async def work() -> None:
        r = await rig(batch=Batch(size_max=10, format=BatchFormat.JSON))
        made = await queued(r, *"aabbc")
        r.consumers.behaviour = lambda _: (0.1, OK)
        async with Running(r):
            await until(lambda: delivered(r, 5))
        found = [msgspec.json.decode(q.body) for q in r.consumers.requests]
        assert [[int(one["id"]) for one in batch] for batch in found] == [
            [made[0], made[2], made[4]],
            [made[1], made[3]],
        ]
        assert [one["sequence"] for one in found[1]] == [2, 2]
        assert [one["previous_id"] for one in found[1]] == [str(made[0]), str(made[2])]

    simulate(work())


def test_a_deleted_subscription_ends_in_peace(simulate: Any, caplog: Any) -> None:
    async def work() -> None:
        r = await rig()
        await queued(r, *"abc")
        r.consumers.behaviour = lambda _: (1.0, OK)
        async with Running(r):
            await until(lambda: _got(r, 3))
            await r.delete(1)
            await asyncio.sleep(5)
            await r.mark()
            assert counts(await r.account()) == (3, 0, 0, 0)

    simulate(work())
    assert not [one for one in caplog.records if one.levelname == "ERROR"]
