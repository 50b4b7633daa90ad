"""Outcome chunks to bulk updates.

Killed before the commit: the chunks are taken over and marked then. Killed between commit and
acknowledgement: they are marked again, which changes nothing.
"""

from collections.abc import Sequence

from notify.config import MarkerConfig, QueueConfig
from notify.domain.ports import Claim, Queue, Storage, Stream, StreamKind
from notify.runtime.chunks import ChunkWorker


class Marker:
    """One worker of the mark streams; any number may run."""

    def __init__(
        self,
        storage: Storage,
        queue: Queue,
        config: MarkerConfig,
        queue_config: QueueConfig,
        worker: str,
    ) -> None:
        self._storage = storage
        self._queue = queue
        self.chunks = ChunkWorker(
            queue,
            [Stream(StreamKind.MARK, 0)],
            worker,
            queue_config.lease_ms,
            config.batch_chunks_max,
            self._mark,
        )
        self.outcomes = 0

    async def _mark(self, claims: Sequence[Claim]) -> None:
        await self._storage.mark([claim.chunk for claim in claims])
        self.outcomes += sum(claim.items for claim in claims)
        await self._queue.ack(claims)
