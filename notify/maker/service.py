"""The Maker as a process."""

from notify.maker.maker import Maker
from notify.runtime.command import service_command
from notify.runtime.host import Host


async def live(host: Host) -> None:
    """The life of a Maker process."""
    config = host.config
    maker = Maker(
        host.storage,
        host.queue,
        host.directory,
        host.clock,
        host.random,
        config.maker,
        config.queue,
        host.owner,
    )
    maker.export(host.registry)
    await host.work(maker.run)


command = service_command("maker", "Split messages into deliveries.", live)
