"""All services in one event loop, over whatever ports they are given."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from prometheus_client import CollectorRegistry

from notify.api.app import make_app
from notify.config import Config
from notify.domain.errors import QueueError
from notify.domain.ports import Clock, Queue, Random, Storage, Stream, StreamKind, Transport
from notify.maker import Maker
from notify.marker import Marker
from notify.rescuer import Rescuer
from notify.runtime.directory import DirectoryCache
from notify.runtime.message_ids import MessageIds
from notify.runtime.steps import Stopping, run_every, run_steps
from notify.sender import Sender

MARK: Final = Stream(StreamKind.MARK, 0)


class Services:
    """Acceptor, Maker, Sender, Marker and Rescuer, started and stopped together.

    The same classes as in separate processes; the ports decide whether it is the embedded
    product or a simulation.
    """

    def __init__(
        self,
        config: Config,
        storage: Storage,
        queue: Queue,
        transport: Transport,
        clock: Clock,
        random: Random,
        owner: str,
    ) -> None:
        self.config = config
        self.storage = storage
        self.queue = queue
        self.transport = transport
        self.clock = clock
        self.random = random
        self.registry = CollectorRegistry()
        self.directory = DirectoryCache(storage)
        self.message_ids = MessageIds(storage, clock, random, owner, config.runtime.worker_lease_ms)
        self.app = make_app(
            storage=storage,
            queue=queue,
            directory=self.directory,
            message_ids=self.message_ids,
            clock=clock,
            random=random,
            config=config,
            registry=self.registry,
        )
        self.acceptor = self.app.acceptor
        self.maker = Maker(
            storage, queue, self.directory, clock, config.maker, config.queue, f"maker-{owner}"
        )
        self.sender = Sender(
            storage,
            queue,
            transport,
            self.directory,
            clock,
            random,
            config.sender,
            config.queue,
            config.runtime.drain_ms,
            f"sender-{owner}",
        )
        self.marker = Marker(storage, queue, config.marker, config.queue, f"marker-{owner}")
        self.rescuer = Rescuer(
            storage,
            queue,
            self.directory,
            clock,
            random,
            config.rescuer,
            config.queue,
            f"rescuer-{owner}",
        )
        self._stopping = Stopping(clock)
        self._accepting: asyncio.Task[None] | None = None
        self._working: list[asyncio.Task[None]] = []
        self._marking: list[asyncio.Task[None]] = []

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What runs from start to stop."""
        return [*self._working, *self._marking, *filter(None, [self._accepting])]

    async def start(self) -> None:
        """Open the ports, rebuild the queue from the database, then begin to work."""
        await self.storage.open()
        await self.queue.open()
        await self.directory.refresh()
        await self.message_ids.open()
        await self.rescuer.start_alone()
        runtime, tend_ms = self.config.runtime, self.config.queue.lease_ms // 3
        stop = self._stopping
        self._accepting = asyncio.create_task(self.acceptor.run(), name="acceptor")
        self._working = [
            self._task(run_steps("maker", lambda: self.maker.chunks.step(stop), stop, self.random)),
            self._task(
                run_every("maker leases", self.maker.chunks.tend, tend_ms, stop, self.random)
            ),
            self._task(self.sender.run(stop)),
            self._task(
                run_every(
                    "rescuer",
                    self.rescuer.step,
                    self.config.rescuer.feed_interval_ms,
                    stop,
                    self.random,
                )
            ),
            self._task(
                run_every(
                    "directory",
                    self.directory.refresh,
                    runtime.directory_interval_ms,
                    stop,
                    self.random,
                )
            ),
            self._task(
                run_every(
                    "worker number",
                    self.message_ids.renew,
                    runtime.worker_lease_ms // 3,
                    stop,
                    self.random,
                )
            ),
        ]
        never = Stopping(self.clock)
        self._marking = [
            self._task(
                run_steps("marker", lambda: self.marker.chunks.step(never), never, self.random)
            ),
            self._task(
                run_every("marker leases", self.marker.chunks.tend, tend_ms, never, self.random)
            ),
        ]

    async def stop(self) -> None:
        """Come to an end in the order of the flow: accept, split, deliver, mark, close.

        Whatever fails on the way, the ports are closed.
        """
        try:
            if self._accepting is not None:
                self.acceptor.drain()
                await asyncio.wait({self._accepting})
            self._stopping.set()
            if self._working:
                await asyncio.wait(self._working)
            await self._mark_the_rest()
            await self._cancel(self._marking)
            await self.rescuer.close()
            await self.message_ids.close()
        finally:
            await self._close_ports()

    async def kill(self) -> None:
        """Stop as abruptly as one loop can: for simulations of a crash."""
        await self._cancel(self.tasks)
        await self._close_ports()

    async def _mark_the_rest(self) -> None:
        try:
            async with asyncio.timeout(self.config.runtime.drain_ms / 1000):
                while (await self.queue.gauges([MARK]))[0].depth:
                    await self.clock.sleep(0.01)
        except (TimeoutError, QueueError):
            return  # unmarked deliveries are sent again after the next start

    async def _close_ports(self) -> None:
        try:
            await self.transport.close()
            await self.queue.close()
        finally:
            await self.storage.close()

    @staticmethod
    async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def _task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work)
