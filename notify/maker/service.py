"""The Maker as a process."""

import asyncio

from notify.maker.maker import Maker
from notify.runtime.command import service_command
from notify.runtime.host import Host
from notify.runtime.steps import Stopping


async def live(host: Host) -> None:
    """The life of a Maker process."""
    config = host.config
    makers = [
        Maker(
            host.storage,
            host.queue,
            host.directory,
            host.clock,
            host.random,
            config.maker,
            config.queue,
            f"{host.owner}.{number}",
        )
        for number in range(config.maker.workers)
    ]
    makers[0].export(host.registry, makers[1:])

    async def run(stopping: Stopping) -> None:
        await asyncio.gather(*(maker.run(stopping) for maker in makers))

    await host.work(run)


command = service_command("maker", "Split messages into deliveries.", live)
