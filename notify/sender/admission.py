"""How many tries may be in flight in all, fairly shared."""

import asyncio
from collections import Counter, deque


class Admission:
    """Bounds the tries in flight of one Sender: in_flight_max in all.

    A subscription may have as many in flight as places are still free (the dynamic threshold
    of Choudhury and Hahne, made for the shared memory of switches). So k subscriptions that
    want everything come to equal shares and leave one share free, and the last place goes
    only to a subscription that has none: endpoints that hang do not shut out the others.
    """

    def __init__(self, in_flight_max: int) -> None:
        self._max = in_flight_max
        self._by_sub: Counter[int] = Counter()
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}
        self.in_flight = 0

    async def enter(self, sub_id: int) -> None:
        """Wait until a try of this subscription may start, and count it."""
        if self._may_enter(sub_id):
            self._count(sub_id)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(sub_id, deque()).append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave(sub_id)
            raise

    def leave(self, sub_id: int) -> None:
        """A try of this subscription ended."""
        self.in_flight -= 1
        self._by_sub[sub_id] -= 1
        if not self._by_sub[sub_id]:
            del self._by_sub[sub_id]
        while self._waiting:
            # Who has the fewest in flight may enter if anybody may; of equals, in turn.
            fewest = min(self._waiting, key=self._by_sub.__getitem__)
            if not self._may_enter(fewest):
                return
            futures = self._waiting.pop(fewest)
            future = futures.popleft()
            if futures:
                self._waiting[fewest] = futures
            if not future.done():
                self._count(fewest)
                future.set_result(None)

    def _count(self, sub_id: int) -> None:
        self.in_flight += 1
        self._by_sub[sub_id] += 1

    def _may_enter(self, sub_id: int) -> bool:
        return self._by_sub[sub_id] < self._max - self.in_flight
