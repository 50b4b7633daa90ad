"""The Marker as a process."""

import asyncio

from notify.marker.marker import Marker
from notify.runtime.command import service_command
from notify.runtime.host import Host
from notify.runtime.steps import Stopping


async def live(host: Host) -> None:
    """The life of a Marker process."""
    config = host.config
    markers: list[Marker] = []
    for number in range(config.marker.workers):
        made = Marker(
            host.storage,
            host.queue,
            host.clock,
            host.random,
            config.marker,
            config.queue,
            config.runtime.drain_ms,
            f"{host.owner}.{number}",
            helps=markers[0] if markers else None,
        )
        markers.append(made)
    markers[0].export(host.registry, markers[1:])

    async def run(stopping: Stopping) -> None:
        await asyncio.gather(*(marker.run(stopping) for marker in markers))

    await host.work(run)


command = service_command("marker", "Write outcomes back to the database in bulk.", live)
