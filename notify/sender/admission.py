"""How many tries may be in flight in all, fairly shared."""

import asyncio
from collections import Counter, deque


class Admission:
    """Bounds the tries in flight of one Sender.

    Up to in_flight_max anybody may start. Beyond, a subscription may still use its fair
    share of them: endpoints that hang can fill the common bound, but never shut out the
    others. So there are at most twice in_flight_max in all.
    """

    def __init__(self, in_flight_max: int) -> None:
        self._max = in_flight_max
        self._by_sub: Counter[int] = Counter()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.in_flight = 0

    async def enter(self, sub_id: int) -> None:
        """Wait until a try of this subscription may start, and count it."""
        if not self._may_enter(sub_id):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((sub_id, future))
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self.leave(sub_id)
                raise
        else:
            self._count(sub_id)

    def leave(self, sub_id: int) -> None:
        """A try of this subscription ended."""
        self.in_flight -= 1
        self._by_sub[sub_id] -= 1
        if not self._by_sub[sub_id]:
            del self._by_sub[sub_id]
        for _ in range(len(self._waiting)):
            waiting_sub, future = self._waiting.popleft()
            if future.done():
                continue
            if self._may_enter(waiting_sub):
                self._count(waiting_sub)
                future.set_result(None)
                return
            self._waiting.append((waiting_sub, future))

    def _count(self, sub_id: int) -> None:
        self.in_flight += 1
        self._by_sub[sub_id] += 1

    def _may_enter(self, sub_id: int) -> bool:
        if self.in_flight < self._max:
            return True
        share = max(1, self._max // max(1, len(self._by_sub)))
        return self._by_sub[sub_id] < share
