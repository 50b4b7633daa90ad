"""Senders share the consumers: one each, none without, whoever comes, dies or loses the queue."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from notify.domain.errors import QueueUnavailable
from notify.domain.policy import Ordering
from notify.domain.ports import Share
from notify.sender import Sender
from tests.services.rig import OK, Request, Rig
from tests.services.sender.test_sender import Running, until

SUBS = 24


async def rig(**more: Any) -> Rig:
    r = Rig(**{"queue.depth_max": 1000, "sender.in_flight_max": 500})
    await r.open(0)
    for n in range(SUBS):
        await r.subscribe(ordering=Ordering.KEY if n % 4 == 0 else Ordering.NONE, **more)
    r.consumers.behaviour = lambda q: (0.02 + q.message_id % 5 / 50, OK)
    return r


def held(*senders: Sender) -> list[frozenset[int]]:
    return [sender._holdings.held for sender in senders]


async def shared(*senders: Sender) -> bool:
    """Every consumer is held by exactly one of these, and all of these hold some."""
    parts = held(*senders)
    return (
        sum(map(len, parts)) == SUBS == len(frozenset().union(*parts))
        and all(parts)
        and all(sender._holdings.settled for sender in senders)
    )


async def traffic(r: Rig, seconds: float, made: list[int]) -> None:
    until_s = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until_s:
        made += await r.queued(2, ordering_key="a")
        await asyncio.sleep(0.2)


async def all_delivered(r: Rig, made: list[int]) -> bool:
    await r.mark()
    rows = {row.subscription_id: row.delivered for row in await r.storage.ledger()}
    return all(rows.get(n + 1) == len(made) for n in range(SUBS))


def repeated(r: Rig) -> int:
    """How many requests were made more than once."""
    counted = Counter((q.message_id, q.sub_id) for q in r.consumers.requests)
    return sum(n - 1 for n in counted.values())


async def marking(r: Rig) -> None:
    while True:
        await r.mark()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("slow", [False, True])
def test_who_comes_and_goes_in_peace_doubles_nothing(
    simulate: Any, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    """slow: a claim is under way when its consumer is given up."""

    async def work() -> None:
        r = await rig()
        if slow:
            claim = r.queue.claim

            async def claim_slowly(*args: Any) -> Any:
                found = await claim(*args)
                await asyncio.sleep(0.05)
                return found

            monkeypatch.setattr(r.queue, "claim", claim_slowly)
        made: list[int] = []
        marker = asyncio.create_task(marking(r))
        flow = asyncio.create_task(traffic(r, 12, made))
        async with Running(r, r.sender("one")) as one:
            await until(lambda: shared(one.sender), 3)
            async with Running(r, r.sender("two")) as two:
                await until(lambda: shared(one.sender, two.sender), 3)
                async with Running(r, r.sender("three")) as three:
                    await until(lambda: shared(one.sender, two.sender, three.sender), 3)
                    await asyncio.sleep(1)
                await until(lambda: shared(one.sender, two.sender), 3)
                await asyncio.sleep(1)
            await until(lambda: shared(one.sender), 3)
            await flow
            await until(lambda: all_delivered(r, made))
        assert repeated(r) == 0
        marker.cancel()

    simulate(work())


def test_a_killed_ones_consumers_are_the_others_when_its_lease_ends(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        made: list[int] = []
        marker = asyncio.create_task(marking(r))
        flow = asyncio.create_task(traffic(r, 10, made))
        async with Running(r, r.sender("one")) as one, Running(r, r.sender("two")) as two:
            killed = Running(r, r.sender("three"))
            await killed.__aenter__()
            await until(lambda: shared(one.sender, two.sender, killed.sender), 3)
            await asyncio.sleep(1)
            await killed.kill()
            share_s = r.config.sender.share_ms / 1000
            await until(lambda: shared(one.sender, two.sender), share_s + 2)
            await flow
            await until(lambda: all_delivered(r, made))
        assert repeated(r) <= 3 * SUBS, "what was under way, or answered and not yet handed on"
        marker.cancel()

    simulate(work())


def test_a_lost_table_of_shares_is_made_anew(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        async with Running(r, r.sender("one")) as one, Running(r, r.sender("two")) as two:
            await until(lambda: shared(one.sender, two.sender), 3)
            before = held(one.sender, two.sender)
            r.queue.flush()
            await asyncio.sleep(0.5)
            await r.rescuer().step()
            await asyncio.sleep(2)  # both were told that their queue was lost
            made = await r.queued(5)
            marker = asyncio.create_task(marking(r))
            await until(lambda: all_delivered(r, made))
            await until(lambda: shared(one.sender, two.sender), 3)
            assert held(one.sender, two.sender) == before
            marker.cancel()
        assert repeated(r) == 0

    simulate(work())


def test_a_lost_table_of_shares_gives_nobody_what_another_holds(simulate: Any) -> None:
    """Nor later: one of three died with the table, and is waited for as if it lived."""

    async def work() -> None:
        r = await rig()
        async with Running(r, r.sender("one")) as one, Running(r, r.sender("two")) as two:
            killed = Running(r, r.sender("three"))
            await killed.__aenter__()
            await until(lambda: shared(one.sender, two.sender, killed.sender), 3)
            theirs, lost_ms = held(killed.sender)[0], r.clock.now_ms()
            r.queue.flush()
            await killed.kill()
            while not await shared(one.sender, two.sender):
                ones, twos = held(one.sender, two.sender)
                assert not ones & twos
                share_ms = r.config.sender.share_ms
                if r.clock.now_ms() < lost_ms + share_ms:
                    assert not theirs & (ones | twos), "three may hold them still"
                assert r.clock.now_ms() < lost_ms + 2 * share_ms
                await asyncio.sleep(0.01)

    simulate(work())


def test_a_sender_without_the_queue_begins_nothing_after_its_lease(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        r = await rig(concurrency_max=1)
        share, cut_off = r.queue.share, False

        async def away(group: str, member: str, *rest: Any) -> Share:
            if cut_off and member == "cut off":
                raise QueueUnavailable("its network is gone")
            return await share(group, member, *rest)

        monkeypatch.setattr(r.queue, "share", away)
        lease_ms = r.config.sender.share_ms
        begun: list[int] = []

        def behaviour(request: Request) -> tuple[float, Any]:
            begun.append(r.clock.now_ms())
            return 1.0, OK

        r.consumers.behaviour = behaviour
        await r.queued(30)
        async with Running(r, r.sender("cut off", drain_ms=10)):
            await asyncio.sleep(2)
            cut_off, since_ms = True, r.clock.now_ms()
            await asyncio.sleep(3 * lease_ms / 1000)
        assert since_ms < max(begun) <= since_ms + lease_ms

    simulate(work())


def test_a_consumer_that_is_given_up_gets_no_new_tries(simulate: Any) -> None:
    """One of its tries hangs; what comes meanwhile, for its other subscriptions too, waits."""

    async def work() -> None:
        r = Rig()
        await r.open(8)
        r.consumers.behaviour = lambda _: (4.0, OK)
        async with Running(r, r.sender("one")) as one:
            first = await r.queued(1)
            await until(lambda: _true(r.consumers.hanging == 8))
            async with Running(r, r.sender("two")) as two:
                await until(lambda: _true(bool(one.sender._releasing)), 3)
                moving = frozenset(one.sender._releasing)
                second = await r.queued(1)
                await asyncio.sleep(1)
                early = {q.sub_id for q in r.consumers.requests if q.message_id == second[0]}
                assert not early & moving
                await until(lambda: _true(two.sender._holdings.held == moving), 6)
                await until(lambda: _true(len(r.consumers.requests) == 16), 6)
        assert Counter(r.consumers.got()) == {first[0]: 8, second[0]: 8}

    simulate(work())


async def _true(holds: bool) -> bool:
    return holds
