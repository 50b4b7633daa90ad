"""Up to where every message that a producer was told of is split, for who delivers in order."""

import asyncio
from typing import Final

from notify.domain.ports import Clock, Storage
from notify_core import ids

# A commit may become visible so long after others whose messages have higher ids.
LATE_MS: Final = 2000
# A message that nobody can split holds up the others no longer than that.
GIVEN_UP_MS: Final = 60_000


class Frontier:
    """Asks the database, for all lanes of a Sender together.

    A look that begins after a message was seen finds every message that was accepted before its
    producer sent it: that one was committed by then. So who asks waits for a look that begins
    afterwards, and shares it with all who ask meanwhile.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._safe_id = 0
        self._asked_id = 0
        self._running: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def below(self, end_id: int) -> int:
        """The first message below end_id that is not split, end_id where all are."""
        self._asked_id = max(self._asked_id, end_id)
        if self._next is None:
            self._next = asyncio.create_task(self._look(self._running))
        # Who gives up waiting must not take the answer from the others.
        return min(end_id, await asyncio.shield(self._next))

    async def _look(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait({before})
        self._running, self._next = self._next, None
        end_id, self._asked_id = self._asked_id, 0
        first_ms = max(
            ids.id_ms(min(self._safe_id, end_id)) - LATE_MS,
            self._clock.now_ms() - GIVEN_UP_MS,
            ids.EPOCH_MS,
        )
        found = await self._storage.unsplit(ids.id_floor(first_ms) - 1, end_id, 1, 0)
        bound = found[0].id if found else end_id
        self._safe_id = bound if found else max(self._safe_id, end_id)
        return bound
