"""Who waits for which stream, and which pushes a worker has not seen yet."""

import asyncio
from collections.abc import Sequence

from notify.domain.ports import Clock, Stream


class Waiter:
    """A wait that is under way."""

    def __init__(self) -> None:
        self.pushed: set[Stream] = set()
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """End the wait; again is no error."""
        if not self.woken.done():
            self.woken.set_result(None)


class Wakeups:
    """No push is missed by a worker, wherever between or within its waits it happens.

    Of every stream that holds something it is kept who has seen its last push. A worker's
    view changes only when its wait returns, so that a cancelled wait has seen nothing.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[Stream, set[str]] = {}
        self._waiters: dict[Stream, set[Waiter]] = {}

    def pushed(self, stream: Stream) -> None:
        """Wake all who wait for the stream; all others see the push at their next wait."""
        self._seen[stream] = set()
        for waiter in self._waiters.get(stream, ()):
            waiter.pushed.add(stream)
            waiter.wake()

    def forget(self, stream: Stream) -> None:
        """Drop what is kept of a stream: it is empty."""
        self._seen.pop(stream, None)

    def wake_all(self) -> None:
        """End every wait."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake()

    async def wait(self, streams: Sequence[Stream], worker: str, timeout_s: float) -> list[Stream]:
        """Wait for a push that the worker has not seen; the streams pushed to, or none."""
        pushed = self._unseen(streams, worker)
        if pushed or timeout_s <= 0:
            # A worker whose streams are never quiet must still let the others run.
            await asyncio.sleep(0)
        else:
            pushed = await self._next_push(streams, timeout_s)
        for stream in pushed:
            if stream in self._seen:
                self._seen[stream].add(worker)
        return pushed

    def _unseen(self, streams: Sequence[Stream], worker: str) -> list[Stream]:
        return [
            stream
            for stream in streams
            if (seen := self._seen.get(stream)) is not None and worker not in seen
        ]

    async def _next_push(self, streams: Sequence[Stream], timeout_s: float) -> list[Stream]:
        waiter = Waiter()
        for stream in streams:
            self._waiters.setdefault(stream, set()).add(waiter)
        # The time-out is the clock's, not the loop's: a simulation owns it.
        sleeper = asyncio.create_task(self._clock.sleep(timeout_s))
        try:
            await asyncio.wait((waiter.woken, sleeper), return_when=asyncio.FIRST_COMPLETED)
            if sleeper.done():
                sleeper.result()
        finally:
            sleeper.cancel()
            waiter.woken.cancel()
            for stream in streams:
                self._leave(stream, waiter)
        return list(waiter.pushed)

    def _leave(self, stream: Stream, waiter: Waiter) -> None:
        waiters = self._waiters.get(stream)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[stream]
