"""The Sender as a process."""

from notify.runtime.command import service_command
from notify.runtime.host import Host
from notify.sender.sender import Sender
from notify.transport import HttpTransport


async def live(host: Host) -> None:
    """The life of a Sender process."""
    config = host.config
    transport = HttpTransport(config.sender)
    sender = Sender(
        host.storage,
        host.queue,
        transport,
        host.directory,
        host.clock,
        host.random,
        config.sender,
        config.queue,
        config.runtime.drain_ms,
        host.owner,
    )
    sender.export(host.registry)
    try:
        await host.work(sender.run)
    finally:
        await transport.close()


command = service_command("sender", "Deliver to the consumers' endpoints.", live)
