"""Outcome chunks to bulk updates.

Killed before the commit: the chunks are taken over and marked then. Killed between commit and
acknowledgement: they are marked again, which changes nothing.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from notify.config import MarkerConfig, QueueConfig
from notify.domain.errors import QueueError
from notify.domain.ports import Claim, Clock, Queue, Random, Storage
from notify.runtime.chunks import ChunkWorker
from notify.runtime.metrics import Figure, export
from notify.runtime.steps import Stopping
from notify.runtime.streams import MARK

LOOK_S: Final = 0.01


class Marker:
    """One worker of the mark streams; any number may run.

    helps: another one of this process, which calls this one in when more waits than it takes.
    """

    def __init__(
        self,
        storage: Storage,
        queue: Queue,
        clock: Clock,
        random: Random,
        config: MarkerConfig,
        queue_config: QueueConfig,
        drain_ms: int,
        worker: str,
        helps: "Marker | None" = None,
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._clock = clock
        self._random = random
        self._drain_s = drain_ms / 1000
        self.chunks: ChunkWorker = ChunkWorker(
            queue,
            clock,
            [MARK],
            worker,
            queue_config.lease_ms,
            config.batch_chunks_max,
            self._mark,
            config.pause_ms,
            helps.chunks if helps else None,
        )
        self.outcomes = 0

    async def run(self, stopping: Stopping) -> None:
        """Mark until stopping, and then what the Senders left, within drain_ms.

        What would stay unmarked is sent again where the queue does not outlive this.
        """
        drained = Stopping(self._clock)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.chunks.run("marker", drained, self._random))
            await stopping.wait()
            await self._drain()
            drained.set()

    def export(self, registry: CollectorRegistry, beside: Sequence["Marker"] = ()) -> None:
        """Show what it counts on /metrics, together with other workers of the process."""

        def outcomes() -> int:
            return self.outcomes + sum(marker.outcomes for marker in beside)

        export(registry, [Figure("notify_marker_outcomes", "Outcomes written", outcomes)])

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._drain_s):
                while (await self._queue.gauges([MARK]))[0].depth:
                    await self._clock.sleep(LOOK_S)
        except (TimeoutError, QueueError):
            return

    async def _mark(self, claims: Sequence[Claim]) -> None:
        await self._storage.mark([claim.chunk for claim in claims])
        self.outcomes += sum(claim.items for claim in claims)
        await self._queue.ack(claims)
