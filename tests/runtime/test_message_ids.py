"""Message ids: never twice, whatever happens to clock and lease."""

import asyncio
from typing import Any

import pytest

from notify.domain.errors import Busy
from notify.runtime.message_ids import MessageIds
from notify.storage.sqlite import SqliteStorage
from notify_core import ids
from tests.simulation.loop import START_MS, SeededRandom

LEASE_MS = 30_000


class HandClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Rig:
    """One database, one clock, any number of id makers."""

    def __init__(self) -> None:
        self.storage = SqliteStorage(":memory:", inline=True)
        self.clock = HandClock()
        self.random = SeededRandom(1)

    async def opened(self, owner: str = "a") -> MessageIds:
        made = MessageIds(self.storage, self.clock, self.random, owner, LEASE_MS)
        await made.open()
        return made


async def rig() -> Rig:
    made = Rig()
    await made.storage.open()
    return made


def worker_of(message_id: int) -> int:
    return message_id >> 14 & 0xFF


def test_ids_rise_and_show_their_time_and_worker(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        first, second = await r.opened("a"), await r.opened("b")
        made = first.make(5) + first.make(5)
        assert made == sorted(set(made))
        assert {ids.id_ms(id_) for id_ in made} == {START_MS}
        assert {worker_of(id_) for id_ in made} != {worker_of(id_) for id_ in second.make(5)}
        await r.storage.close()

    simulate(work())


def test_ids_stop_with_the_lease_and_come_back_with_its_renewal(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        maker = await r.opened()
        r.clock.ms += LEASE_MS - 1
        maker.make(1)
        r.clock.ms += 1
        with pytest.raises(Busy, match="no worker number"):
            maker.make(1)
        await maker.renew()
        [id_] = maker.make(1)
        assert ids.id_ms(id_) == r.clock.ms
        await r.storage.close()

    simulate(work())


def test_a_renewed_lease_keeps_its_number(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        maker = await r.opened()
        before = worker_of(maker.make(1)[0])
        for _ in range(10):
            r.clock.ms += LEASE_MS // 3
            await maker.renew()
        assert worker_of(maker.make(1)[0]) == before
        await r.storage.close()

    simulate(work())


def test_who_lost_the_number_takes_another(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        sleepy = await r.opened("sleepy")
        old = sleepy.make(1)
        r.clock.ms += LEASE_MS
        # Numbers never held come first: only now does the next one take the lost number.
        others = [await r.opened(f"o{n}") for n in range(256)]
        made = {id_ for other in others for id_ in other.make(3)}
        with pytest.raises(Busy):
            await sleepy.renew()
        with pytest.raises(Busy):
            sleepy.make(1)
        await others[0].close()
        await sleepy.renew()
        new = sleepy.make(3)
        assert not made & set(new)
        assert min(new) > max(old)
        await r.storage.close()

    simulate(work())


def test_a_successor_starts_above_every_id_of_its_predecessor(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        first = await r.opened("a")
        last = first.make(20_000)[-1]  # borrows milliseconds from the future
        assert ids.id_ms(last) > START_MS
        await first.close()
        with pytest.raises(Busy):
            first.make(1)
        fillers = [await r.opened(f"f{n}") for n in range(255)]
        second = await r.opened("b")
        [id_] = second.make(1)
        assert worker_of(id_) == worker_of(last)
        assert id_ > last
        assert len(fillers) == 255
        await r.storage.close()

    simulate(work())


def test_a_clock_that_steps_back_does_not_repeat_ids(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        maker = await r.opened()
        made = maker.make(100)
        r.clock.ms -= 10_000
        again = maker.make(100)
        assert min(again) > max(made)
        await r.storage.close()

    simulate(work())


def test_a_clock_set_back_beyond_the_lease_is_waited_for(simulate: Any) -> None:
    """Renewed by the wrong time, a lease is shorter than it was: nothing is made until then."""

    async def work() -> None:
        r = await rig()
        maker, other = await r.opened("a"), await r.opened("b")
        made = maker.make(100)
        r.clock.ms -= 4 * LEASE_MS
        await maker.renew()
        with pytest.raises(Busy, match="clock may have stepped back"):
            maker.make(1)
        refused = 0
        for _ in range(15):
            await maker.renew()
            try:
                made += maker.make(100)
            except Busy:
                refused += 1
            made += (await r.opened(f"o{r.clock.ms}")).make(10)
            r.clock.ms += LEASE_MS // 3
        assert 5 < refused < 15
        await other.renew()
        made += other.make(10)
        assert len(set(made)) == len(made)
        await r.storage.close()

    simulate(work())


def test_ids_are_refused_rather_than_borrowed_from_after_the_lease(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        maker = await r.opened()
        r.clock.ms += LEASE_MS - 2
        with pytest.raises(Busy, match="used up"):
            maker.make(2000)  # 256 fit into a millisecond
        await r.storage.close()

    simulate(work())


def test_all_numbers_taken_is_busy_and_says_for_how_long(simulate: Any) -> None:
    async def work() -> None:
        r = await rig()
        for n in range(256):
            await r.opened(f"o{n}")
        late = MessageIds(r.storage, r.clock, r.random, "late", LEASE_MS)
        with pytest.raises(Busy) as caught:
            await late.renew()
        assert caught.value.retry_after_s == 30
        r.clock.ms += LEASE_MS
        await late.renew()
        assert late.make(1)
        await late.close()
        await late.close()
        await r.storage.close()

    simulate(work())
