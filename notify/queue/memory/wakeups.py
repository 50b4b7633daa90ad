"""Who waits for which stream, and which pushes a worker has not seen yet."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from notify.domain.ports import Clock, Stream

# More than the workers of one process: those that came and went are forgotten.
VIEWS_MAX: Final = 64


class Waiter:
    """A wait that is under way."""

    def __init__(self, wanted: frozenset[Stream]) -> None:
        self.wanted = wanted
        self.pushed: dict[Stream, None] = {}  # in order, so that a simulation can be repeated
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """End the wait; again is no error."""
        if not self.woken.done():
            self.woken.set_result(None)


@dataclass(slots=True, eq=False)
class View:
    """What a worker waited for last, and the count of pushes up to which it has seen those.

    left: the same of streams that it waited for earlier, where they hold something.
    """

    streams: list[Stream] = field(default_factory=list)
    wanted: frozenset[Stream] = frozenset()
    seen: int = 0
    left: dict[Stream, int] = field(default_factory=dict)


class Wakeups:
    """No push is missed by a worker, wherever between or within its waits it happens.

    Of every stream that holds something the number of its last push is kept, the latest at the
    end: so a wait looks at what was pushed since the worker's last one, however many streams it
    is for. A worker's view changes only when its wait returns, so that a cancelled wait has seen
    nothing.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = 0
        self._pushes: OrderedDict[Stream, int] = OrderedDict()
        self._views: dict[str, View] = {}
        self._waiters: dict[Waiter, None] = {}

    def pushed(self, stream: Stream) -> None:
        """Wake all who wait for the stream; all others see the push at their next wait."""
        self._count += 1
        self._pushes[stream] = self._count
        self._pushes.move_to_end(stream)
        for waiter in self._waiters:
            if stream in waiter.wanted:
                waiter.pushed[stream] = None
                waiter.wake()

    def forget(self, stream: Stream) -> None:
        """Drop what is kept of a stream: it is empty."""
        self._pushes.pop(stream, None)
        for view in self._views.values():
            view.left.pop(stream, None)

    def wake_all(self) -> None:
        """End every wait."""
        for waiter in self._waiters:
            waiter.wake()

    async def wait(self, streams: Sequence[Stream], worker: str, timeout_s: float) -> list[Stream]:
        """Wait for a push that the worker has not seen; the streams pushed to, or none."""
        listed = list(streams)
        view = self._views.get(worker) or View()
        wanted = view.wanted if listed == view.streams else frozenset(listed)
        pushed, count = self._unseen(view, listed, wanted), self._count
        if pushed or timeout_s <= 0:
            # A worker whose streams are never quiet must still let the others run.
            await asyncio.sleep(0)
        else:
            pushed, count = await self._next_push(wanted, timeout_s), self._count
        self._views[worker] = View(listed, wanted, count, self._left(view, wanted))
        if not self._pushes and len(self._views) > VIEWS_MAX:
            self._views.clear()  # where nothing is held, there is nothing to have seen
        return pushed

    def _unseen(self, view: View, listed: list[Stream], wanted: frozenset[Stream]) -> list[Stream]:
        since = takewhile(lambda push: push[1] > view.seen, reversed(self._pushes.items()))
        unseen = [stream for stream, _ in since if stream in wanted]
        unseen.reverse()  # who was pushed to first is served first
        if wanted is not view.wanted:
            unseen += [
                stream
                for stream in listed
                if stream not in view.wanted
                and view.left.get(stream, 0) < self._pushes.get(stream, 0) <= view.seen
            ]
        return unseen

    def _left(self, view: View, wanted: frozenset[Stream]) -> dict[Stream, int]:
        if wanted is view.wanted:
            return view.left
        kept = {stream: seen for stream, seen in view.left.items() if stream not in wanted}
        gone = (stream for stream in view.wanted - wanted if stream in self._pushes)
        return kept | dict.fromkeys(gone, view.seen)

    async def _next_push(self, wanted: frozenset[Stream], timeout_s: float) -> list[Stream]:
        waiter = Waiter(wanted)
        self._waiters[waiter] = None
        # The time-out is the clock's, not the loop's: a simulation owns it.
        sleeper = asyncio.create_task(self._clock.sleep(timeout_s))
        try:
            await asyncio.wait((waiter.woken, sleeper), return_when=asyncio.FIRST_COMPLETED)
            if sleeper.done():
                sleeper.result()
        finally:
            sleeper.cancel()
            waiter.woken.cancel()
            del self._waiters[waiter]
        return list(waiter.pushed)
