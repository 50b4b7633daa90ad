"""The Maker as a process."""

import asyncio

from notify.maker.maker import Maker
from notify.runtime.command import service_command
from notify.runtime.host import Host
from notify.runtime.process import keep_memory
from notify.runtime.steps import Stopping


async def live(host: Host) -> None:
    """The life of a Maker process."""
    keep_memory()
    config = host.config
    makers: list[Maker] = []
    for number in range(config.maker.workers):
        made = Maker(
            host.storage,
            host.queue,
            host.directory,
            host.clock,
            host.random,
            config.maker,
            config.queue,
            f"{host.owner}.{number}",
            helps=makers[0] if makers else None,
        )
        makers.append(made)
    makers[0].export(host.registry, makers[1:])

    async def run(stopping: Stopping) -> None:
        await asyncio.gather(*(maker.run(stopping) for maker in makers))

    await host.work(run)


command = service_command("maker", "Split messages into deliveries.", live)
