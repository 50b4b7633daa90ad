"""All services in one event loop, over whatever ports they are given."""

import asyncio

from prometheus_client import CollectorRegistry

from notify.api.app import make_app
from notify.config import Config
from notify.domain.ports import Clock, Queue, Random, Storage, Transport
from notify.maker import Maker
from notify.marker import Marker
from notify.rescuer import Rescuer
from notify.runtime.directory import DirectoryCache
from notify.runtime.message_ids import MessageIds
from notify.runtime.steps import Stopping
from notify.sender import Sender


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
            storage,
            queue,
            self.directory,
            clock,
            random,
            config.maker,
            config.queue,
            f"maker-{owner}",
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
        self.marker = Marker(
            storage,
            queue,
            clock,
            random,
            config.marker,
            config.queue,
            config.runtime.drain_ms,
            f"marker-{owner}",
        )
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
        for service in (self.maker, self.sender, self.marker, self.rescuer):
            service.export(self.registry)
        self._stopping = Stopping(clock)
        self._delivered = Stopping(clock)
        self._accepting: asyncio.Task[None] | None = None
        self._working: list[asyncio.Task[None]] = []
        self._marking: asyncio.Task[None] | None = None

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What runs from start to stop."""
        return [*self._working, *filter(None, [self._marking, self._accepting])]

    async def start(self) -> None:
        """Open the ports, rebuild the queue from the database, then begin to work."""
        await self.storage.open()
        await self.queue.open()
        await self.directory.refresh()
        await self.message_ids.open()
        await self.rescuer.start_alone()
        stop, interval_ms = self._stopping, self.config.runtime.directory_interval_ms
        self._accepting = asyncio.create_task(self.acceptor.run(), name="acceptor")
        self._working = [
            asyncio.create_task(self.maker.run(stop)),
            asyncio.create_task(self.sender.run(stop)),
            asyncio.create_task(self.rescuer.run(stop)),
            asyncio.create_task(self.directory.keep(interval_ms, stop, self.random)),
            asyncio.create_task(self.message_ids.keep(stop)),
        ]
        self._marking = asyncio.create_task(self.marker.run(self._delivered))

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
            self._delivered.set()
            if self._marking is not None:
                await asyncio.wait({self._marking})
            await self.message_ids.close()
        finally:
            await self._close_ports()

    async def kill(self) -> None:
        """Stop as abruptly as one loop can: for simulations of a crash."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self._close_ports()

    async def _close_ports(self) -> None:
        try:
            await self.transport.close()
            await self.queue.close()
        finally:
            await self.storage.close()
