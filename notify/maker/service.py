"""The Maker as a process."""

import asyncio
from typing import Final

from notify.maker.maker import Maker
from notify.runtime.command import service_command
from notify.runtime.host import Host
from notify.runtime.process import keep_memory
from notify.runtime.steps import Stopping

# The others beside the first help where there is a backlog. Of a little, each would take a part:
# at 3 500 messages/s two cost 0.11 cores more than one, and p50 rose from 10 to 13 ms.
HELPER_PAUSE_MS: Final = 50


async def live(host: Host) -> None:
    """The life of a Maker process."""
    keep_memory()
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
            HELPER_PAUSE_MS if number else 0,
        )
        for number in range(config.maker.workers)
    ]
    makers[0].export(host.registry, makers[1:])

    async def run(stopping: Stopping) -> None:
        await asyncio.gather(*(maker.run(stopping) for maker in makers))

    await host.work(run)


command = service_command("maker", "Split messages into deliveries.", live)
