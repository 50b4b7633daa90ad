"""A key is held by one member at a time, for as long as its membership lasts."""

import asyncio
from contextlib import suppress
from random import Random

import pytest

from notify.domain.errors import QueueUnavailable
from notify.domain.ports import Queue, Share
from tests.conformance.queue.backends import Backend, Run
from tests.simulation.faulty import FaultyQueue

LONG_MS = 60_000
SHORT_MS = 40
G = "senders"


def test_a_member_alone_gets_what_it_wants(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        assert await queue.share(G, "a", LONG_MS, [1, 2, 3]) == Share(
            ("a",), frozenset({1, 2, 3}), begun=True
        )
        assert await queue.share(G, "a", LONG_MS, [1, 2, 3]) == Share(("a",), frozenset({1, 2, 3}))

    run(scenario())


def test_a_key_is_one_member_s(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        other = await backend.other()
        assert (await queue.share(G, "b", LONG_MS, [1, 2, 3])).held == {1, 2, 3}
        assert await other.share(G, "a", LONG_MS, [2, 3, 4]) == Share(
            ("a", "b"), frozenset({4}), begun=True
        )
        assert await queue.share(G, "c", LONG_MS, [1, 4]) == Share(
            ("a", "b", "c"), frozenset(), begun=True
        )

    run(scenario())


def test_what_is_neither_wanted_nor_released_stays_held(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.share(G, "a", LONG_MS, [1, 2, 3])
        assert (await queue.share(G, "a", LONG_MS, [3, 4])).held == {1, 2, 3, 4}
        assert (await queue.share(G, "a", LONG_MS, [])).held == {1, 2, 3, 4}
        assert (await queue.share(G, "b", LONG_MS, [1, 2, 3, 4])).held == set()

    run(scenario())


def test_what_is_released_is_free(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        other = await backend.other()
        await queue.share(G, "a", LONG_MS, [1, 2, 3])
        assert (await queue.share(G, "a", LONG_MS, [3], [1, 2, 77])).held == {3}
        assert (await other.share(G, "b", LONG_MS, [1, 2, 3])).held == {1, 2}
        # Not its own: nothing happens to them.
        assert (await queue.share(G, "a", LONG_MS, [], [1, 2])).held == {3}
        assert (await other.share(G, "b", LONG_MS, [])).held == {1, 2}

    run(scenario())


def test_what_is_released_and_wanted_is_wanted(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.share(G, "a", LONG_MS, [1, 2])
        assert (await queue.share(G, "a", LONG_MS, [1], [1, 2])).held == {1}

    run(scenario())


def test_it_ends_with_its_time(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        other = await backend.other()
        await queue.share(G, "a", SHORT_MS, [1, 2])
        await other.share(G, "b", LONG_MS, [3])
        await backend.advance(SHORT_MS)
        assert await other.share(G, "b", LONG_MS, [2, 3]) == Share(("b",), frozenset({2, 3}))
        # It finds what others took; what nobody did is its own again only if it wants that.
        assert await queue.share(G, "a", LONG_MS, [2]) == Share(("a", "b"), frozenset(), begun=True)
        assert (await queue.share(G, "a", LONG_MS, [1, 2])).held == {1}

    run(scenario())


def test_all_of_a_group_may_run_out(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.share(G, "a", SHORT_MS, [1, 2])
        await backend.advance(SHORT_MS)
        assert await queue.share(G, "a", LONG_MS, [2, 5]) == Share(
            ("a",), frozenset({2, 5}), begun=True
        )
        assert (await queue.share(G, "b", LONG_MS, [1])).held == {1}

    run(scenario())


def test_one_heartbeat_prolongs_everything(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.share(G, "a", SHORT_MS, [1, 2])
        # Named again only for a machine so slow that the time is over by now.
        await queue.share(G, "a", LONG_MS, [1, 2])
        await backend.advance(SHORT_MS)
        answer = await queue.share(G, "b", LONG_MS, [1, 2])
        assert answer == Share(("a", "b"), frozenset(), begun=True)

    run(scenario())


def test_another_s_heartbeat_prolongs_nothing(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.share(G, "b", LONG_MS, [])
        await queue.share(G, "a", SHORT_MS, [1, 2])
        await queue.share(G, "b", LONG_MS, [1])
        await backend.advance(SHORT_MS)
        assert await queue.share(G, "b", LONG_MS, [1]) == Share(("b",), frozenset({1}))

    run(scenario())


def test_who_leaves_gives_everything_back_at_once(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        other = await backend.other()
        await queue.share(G, "a", LONG_MS, [1, 2])
        await other.share(G, "b", LONG_MS, [3])
        await queue.leave(G, "a")
        await queue.leave(G, "a")
        await queue.leave(G, "nobody")
        await queue.leave("nothing", "a")
        answer = await other.share(G, "b", LONG_MS, [1, 2, 3])
        assert answer == Share(("b",), frozenset({1, 2, 3}))
        assert await queue.share(G, "a", LONG_MS, [1]) == Share(("a", "b"), frozenset(), begun=True)

    run(scenario())


def test_groups_are_apart(queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        await queue.share(G, "a", LONG_MS, [1, 2])
        answer = await queue.share("others", "b", LONG_MS, [1, 2])
        assert answer == Share(("b",), frozenset({1, 2}), begun=True)
        await queue.leave("others", "a")
        assert (await queue.share(G, "a", LONG_MS, [])).held == {1, 2}

    run(scenario())


def test_a_member_is_its_name(backend: Backend, queue: Queue, run: Run) -> None:
    """A process that opens the queue anew goes on where it was."""

    async def scenario() -> None:
        other = await backend.other()
        await queue.share(G, "a", LONG_MS, [1, 2, 3])
        assert (await other.share(G, "a", LONG_MS, [4], [1])).held == {2, 3, 4}
        assert (await queue.share(G, "a", LONG_MS, [])).held == {2, 3, 4}

    run(scenario())


@pytest.mark.parametrize("carried_out", [False, True])
def test_the_answer_is_lost(queue: Queue, run: Run, carried_out: bool) -> None:
    class Draw:
        def random(self) -> float:
            return 0.1 if carried_out else 0.6

        def token_bytes(self, n: int) -> bytes:
            return bytes(n)

    async def scenario() -> None:
        faulty = FaultyQueue(queue, Draw(), 0)
        await faulty.share(G, "a", LONG_MS, [1, 2])
        faulty.rate = 1
        with pytest.raises(QueueUnavailable):
            await faulty.share(G, "a", LONG_MS, [3], [2])
        faulty.rate = 0
        assert (await faulty.share(G, "a", LONG_MS, [3], [2])).held == {1, 3}
        assert (await queue.share(G, "b", LONG_MS, [1, 2, 3])).held == {2}

    run(scenario())


def test_after_a_loss_everybody_takes_what_it_wants(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        other = await backend.other()
        await queue.share(G, "a", LONG_MS, [1, 2])
        await other.share(G, "b", LONG_MS, [3, 4])
        await backend.lose()
        assert await other.share(G, "b", LONG_MS, [2, 3]) == Share(
            ("b",), frozenset({2, 3}), begun=True
        )
        assert await queue.share(G, "a", LONG_MS, [1, 2]) == Share(
            ("a", "b"), frozenset({1}), begun=True
        )
        assert (await queue.share(G, "a", LONG_MS, [4])).held == {1, 4}

    run(scenario())


def test_what_was_lost_is_not_given_back_for_another(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        other = await backend.other()
        await queue.share(G, "a", LONG_MS, [1, 2])
        await backend.lose()
        await other.share(G, "b", LONG_MS, [2])
        assert (await queue.share(G, "a", LONG_MS, [1], [2])).held == {1}
        assert (await queue.share(G, "c", LONG_MS, [2])).held == set()

    run(scenario())


def test_many_keys_change_hands(backend: Backend, queue: Queue, run: Run) -> None:
    async def scenario() -> None:
        other = await backend.other()
        every = range(1, 3501)
        halves = frozenset(every[::2]), frozenset(every[1::2])
        assert (await queue.share(G, "a", LONG_MS, every)).held == set(every)
        assert (await other.share(G, "b", LONG_MS, halves[1])).held == set()
        assert (await queue.share(G, "a", LONG_MS, halves[0], halves[1])).held == halves[0]
        assert (await other.share(G, "b", LONG_MS, halves[1])).held == halves[1]
        await queue.leave(G, "a")
        answer = await other.share(G, "b", LONG_MS, every)
        assert answer == Share(("b",), frozenset(every))

    run(scenario())


def test_who_takes_at_the_same_time_never_gets_the_same(
    backend: Backend, queue: Queue, run: Run
) -> None:
    async def scenario() -> None:
        queues = [queue, await backend.other(), await backend.other()]
        every = range(2500)
        shares = await asyncio.gather(
            *(one.share(G, f"w{n}", LONG_MS, every) for n, one in enumerate(queues))
        )
        assert sorted(key for share in shares for key in share.held) == list(every)

    run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_no_two_ever_hold_the_same_whatever_is_cut_off(
    backend: Backend, queue: Queue, run: Run, seed: int
) -> None:
    """Calls are cancelled at any point, carried out or not; nobody works on what it released."""
    random = Random(seed)
    every = range(40)

    def some(size: int) -> list[int]:
        return random.sample(every, random.randrange(size))

    async def scenario() -> None:
        queues = {"a": queue, "b": await backend.other(), "c": await backend.other()}
        held: dict[str, set[int]] = {name: set() for name in queues}
        for _ in range(150):
            name = random.choice(list(queues))
            if random.random() < 0.05:
                held[name] = set()
                await queues[name].leave(G, name)
                continue
            released = some(10)
            held[name].difference_update(released)
            call = asyncio.create_task(queues[name].share(G, name, LONG_MS, some(20), released))
            if random.random() < 0.3:
                for _ in range(random.randrange(12)):
                    await asyncio.sleep(0)
                call.cancel()
            with suppress(asyncio.CancelledError):
                held[name] = set((await call).held)
            everything = [key for keys in held.values() for key in keys]
            assert len(everything) == len(set(everything))
        for name in queues:
            # Another connection knows nothing, and finds the same.
            other = await backend.other()
            await queues[name].share(G, name, LONG_MS, [])
            told = await queues[name].share(G, name, LONG_MS, [])
            assert await other.share(G, name, LONG_MS, []) == told

    run(scenario())
