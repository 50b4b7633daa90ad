"""Claim, work, acknowledge: how Maker and Marker consume their streams."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from notify.domain.errors import QueueLost
from notify.domain.ports import Claim, Clock, Queue, Random, Stream
from notify.runtime.steps import Stopping, run_every, run_steps
from notify_core.errors import ChunkError

IDLE_S: Final = 1.0

log = logging.getLogger(__name__)


class ChunkWorker:
    """Hands batches of claims to `work`, which acknowledges them when it is done.

    Where work fails the same claims are tried again at the next step: they stay leased to
    this worker as long as `tend` is called. A chunk that cannot be read is acknowledged and
    left to the Rescuer, who finds in the database what it carried.

    pause_ms: from the end of work that was less than it takes at a time to the next. What is in no
    hurry is gathered so: the first after a silence does not wait, and a few cost what one does.

    helps: another worker of this process. This one claims only after a claim of theirs came out
    full: more waits than one takes, and while its rows are being stored the next batch is prepared.
    Of fewer, two would only make smaller batches.
    """

    def __init__(
        self,
        queue: Queue,
        clock: Clock,
        streams: Sequence[Stream],
        worker: str,
        lease_ms: int,
        chunks_max: int,
        work: Callable[[Sequence[Claim]], Awaitable[None]],
        pause_ms: int = 0,
        helps: "ChunkWorker | None" = None,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._streams = streams
        self._worker = worker
        self._lease_ms = lease_ms
        self._chunks_max = chunks_max
        self._work = work
        self._pause_ms = pause_ms
        self._again_ms = 0
        self._helps = helps is not None
        self._called: asyncio.Event = helps._called if helps else asyncio.Event()
        self._held: list[Claim] = []
        self._taken_over: list[Claim] = []
        self._renewed_ms = 0

    async def run(self, name: str, stopping: Stopping, random: Random) -> None:
        """Work until stopping; the step under way is finished.

        What it could not finish, or was taken over and not begun, is left until its lease ends.
        """
        await asyncio.gather(
            run_steps(name, lambda: self.step(stopping), stopping, random),
            run_every(f"{name} leases", self.tend, self._lease_ms // 3, stopping, random),
        )

    async def step(self, stopping: Stopping) -> None:
        """Work on what waits; wait a moment where nothing does."""
        if not self._held:
            self._held, self._taken_over = self._taken_over, []
        if not self._held:
            if self._helps and not self._called.is_set():
                await stopping.cut_short(self._called.wait())
                return
            await self._gather(stopping)
            await self._claim()
        if not self._held:
            if self._helps:
                return
            waiting = self._queue.wait(self._streams, self._worker, IDLE_S)
            await stopping.cut_short(waiting)
            return
        try:
            await self._work_readable(self._held)
        except QueueLost:
            # What these chunks carried is rebuilt, or others work on it: doing it, too, doubles it.
            self._held, self._taken_over = [], []
            raise
        except Exception:
            # Part of the work may be done: the same doubt as after somebody else's crash.
            self._held = [claim._replace(redelivered=True) for claim in self._held]
            raise
        few = len(self._held) < self._chunks_max
        self._again_ms = self._clock.now_ms() + self._pause_ms if few else 0
        self._held = []

    async def _claim(self) -> None:
        self._renewed_ms = self._clock.now_ms()
        self._held = await self._queue.claim(self._streams, self._worker, self._chunks_max)
        if len(self._held) < self._chunks_max:
            self._called.clear()
        else:
            self._called.set()

    async def _gather(self, stopping: Stopping) -> None:
        """Wait for the end of the pause; never longer than one, whatever the clock did."""
        left_ms = min(self._again_ms - self._clock.now_ms(), self._pause_ms)
        if left_ms > 0:
            await stopping.pause(left_ms / 1000)

    def check_held(self) -> None:
        """Work asks before what may not be done twice. Raises QueueLost where the lease ran out.

        This process, or its connection, stood still for so long: another one has taken over what
        was held, or will.
        """
        if self._is_late():
            raise QueueLost("what was held was not renewed within queue.lease_ms: others have it")

    async def tend(self) -> None:
        """Renew what is held, take over what a dead worker left; call it every lease_ms / 3.

        One that helps takes nothing over: it works only when it is called.
        """
        now_ms, late = self._clock.now_ms(), self._is_late()
        held = self._held + self._taken_over
        if held:
            await self._queue.renew(held, self._worker)
        if not (held and late):  # what others have taken over, no renewal brings back
            self._renewed_ms = now_ms
        if self._helps:
            return
        taken = await self._queue.takeover(
            self._streams, self._worker, self._lease_ms, self._chunks_max
        )
        self._taken_over += taken

    def _is_late(self) -> bool:
        return self._clock.now_ms() - self._renewed_ms >= self._lease_ms

    async def _work_readable(self, claims: Sequence[Claim]) -> None:
        try:
            await self._work(claims)
        except ChunkError as error:
            if len(claims) > 1:
                for claim in claims:
                    await self._work_readable([claim])
                return
            log.error("%s: a chunk is left to the Rescuer: %s", claims[0].stream, error)
            await self._queue.ack(claims)
