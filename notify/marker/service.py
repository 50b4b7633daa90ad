"""The Marker as a process."""

from notify.marker.marker import Marker
from notify.runtime.command import service_command
from notify.runtime.host import Host


async def live(host: Host) -> None:
    """The life of a Marker process."""
    config = host.config
    marker = Marker(
        host.storage,
        host.queue,
        host.clock,
        host.random,
        config.marker,
        config.queue,
        config.runtime.drain_ms,
        host.owner,
    )
    marker.export(host.registry)
    await host.work(marker.run)


command = service_command("marker", "Write outcomes back to the database in bulk.", live)
