"""The Rescuer as a process."""

from notify.rescuer.rescuer import Rescuer
from notify.runtime.command import service_command
from notify.runtime.host import Host


async def live(host: Host) -> None:
    """The life of a Rescuer process."""
    config = host.config
    rescuer = Rescuer(
        host.storage,
        host.queue,
        host.directory,
        host.clock,
        host.random,
        config.rescuer,
        config.queue,
        host.owner,
    )
    rescuer.export(host.registry)
    await host.work(rescuer.run)


command = service_command(
    "rescuer", "Put back what the queue forgot, and feed queues from the database.", live
)
