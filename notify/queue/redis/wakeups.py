"""Waiting for a push without asking: one blocking read of a wake log serves a whole process.

A worker that waits costs Redis nothing of its own. No push is missed by a worker, wherever
between or within its waits it happens: what counts is the log's line, not the moment. A
worker's view changes only when its wait returns, so that a cancelled wait has seen nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from notify.domain.errors import QueueError
from notify.domain.ports import Clock, Stream, StreamKind
from notify.queue.redis.client import Links
from notify.queue.redis.watch import Watch

BLOCK_MS: Final = 2000
# After a failed read; who waits learns of the trouble from its next call.
PAUSE_S: Final = 0.2
# Lines that come in a burst are read together.
REST_S: Final = 0.001

# Which of some streams hold anything; the logs of all the streams of the wait are read on first.
Ask = Callable[[Sequence[Stream]], Awaitable[Collection[Stream]]]


class Wakeups:
    """Who waits, and what each worker has seen."""

    def __init__(self, clock: Clock, links: Links, watch: Watch) -> None:
        self._clock = clock
        self._links = links
        self._watch = watch
        self._seen: dict[str, dict[Stream, int]] = {}
        self._waiting: dict[asyncio.Future[None], frozenset[Stream]] = {}
        self._followers: dict[StreamKind, asyncio.Task[None]] = {}

    async def wait(
        self, streams: Sequence[Stream], worker: str, timeout_s: float, ask: Ask
    ) -> list[Stream]:
        """Wait for a push that the worker has not seen; the streams pushed to, or none."""
        wanted = frozenset(streams)
        generation, pushed, seen = await self._look(wanted, worker, ask)
        if pushed or timeout_s <= 0:
            # A worker whose streams are never quiet must still let the others run.
            await asyncio.sleep(0)
        else:
            await self._sleep(wanted, timeout_s)
            if generation == self._watch.generation:
                marks = self._marks(wanted)
                pushed = {stream for stream in wanted if marks[stream] > seen[stream]}
                seen = marks
        if generation == self._watch.generation:
            self._seen.setdefault(worker, {}).update(seen)
        return list(pushed)

    def reset(self) -> None:
        """Forget what workers saw, and stop reading the logs: the queue was lost."""
        self._seen.clear()
        for follower in self._followers.values():
            follower.cancel()
        self._followers.clear()

    def notice(self, marked: Collection[Stream]) -> None:
        """Wake who waits for streams that a log has named just now."""
        if marked:
            for woken, wanted in self._waiting.items():
                if not woken.done() and not wanted.isdisjoint(marked):
                    woken.set_result(None)

    async def close(self) -> None:
        """End every wait."""
        for woken in self._waiting:
            if not woken.done():
                woken.set_result(None)
        followers = list(self._followers.values())
        self.reset()
        await asyncio.gather(*followers, return_exceptions=True)

    async def _look(
        self, wanted: frozenset[Stream], worker: str, ask: Ask
    ) -> tuple[int, set[Stream], dict[Stream, int]]:
        """Streams pushed to before now, and the marks up to which all of them are accounted for.

        The first question reads the logs on, and may name streams for a second one.
        """
        generation = -1
        pushed: set[Stream] = set()
        while True:
            if generation != self._watch.generation:
                generation = self._watch.generation
                pushed = set()
                seen = dict.fromkeys(wanted, -1) | {
                    stream: mark
                    for stream, mark in self._seen.get(worker, {}).items()
                    if stream in wanted
                }
                first = True
            marks = self._marks(wanted)
            unseen = {stream: mark for stream, mark in marks.items() if mark > seen[stream]}
            if pushed or not (unseen or first):
                return generation, pushed, seen
            held = await ask(list(unseen))
            first = False
            seen |= unseen
            pushed |= set(held)

    def _marks(self, streams: Collection[Stream]) -> dict[Stream, int]:
        return {stream: self._watch.known(stream).mark for stream in streams}

    async def _sleep(self, wanted: frozenset[Stream], timeout_s: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = wanted
        for kind in {stream.kind for stream in wanted}:
            if kind not in self._followers or self._followers[kind].done():
                self._followers[kind] = asyncio.create_task(self._follow(kind))
        # The time-out is the clock's, not the loop's: a simulation owns it.
        sleeper = asyncio.create_task(self._clock.sleep(timeout_s))
        try:
            await asyncio.wait((woken, sleeper), return_when=asyncio.FIRST_COMPLETED)
            if sleeper.done():
                sleeper.result()
        finally:
            sleeper.cancel()
            woken.cancel()
            del self._waiting[woken]

    async def _follow(self, kind: StreamKind) -> None:
        """Read a log on for as long as anybody waits for streams of its kind."""
        while any(stream.kind is kind for wanted in self._waiting.values() for stream in wanted):
            if self._watch.position(kind) is None:
                return
            command = self._watch.await_line(kind, BLOCK_MS)
            try:
                async with self._links.link() as link:
                    (reply,) = await link.ask([command], BLOCK_MS / 1000)
            except QueueError:
                await asyncio.sleep(PAUSE_S)
                continue
            self.notice(self._watch.seen(kind, command, reply))
            await asyncio.sleep(REST_S)
