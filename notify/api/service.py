"""The Api as a process, and how an Api is served."""

import asyncio
import logging
from typing import Final

from notify.api.app import App, make_app
from notify.api.fast import FastWay
from notify.config import Config
from notify.domain.errors import StorageError
from notify.runtime.command import server_command
from notify.runtime.host import Host
from notify.runtime.message_ids import MessageIds
from notify.runtime.serving import Serving

# Connections beside the requests that are answered: most of them idle between requests.
CONNECTIONS_PER_REQUEST: Final = 4
# Others may be serving on the same socket: what comes there is theirs until this one is able.
CONNECT_S: Final = 3.0

log = logging.getLogger(__name__)


def serving(app: App, config: Config) -> Serving:
    """How an Api is served. Its acceptor must go on running until serving ended."""
    connections_max = CONNECTIONS_PER_REQUEST * config.api.requests_max
    return Serving(app, FastWay(app.intake), connections_max, config.runtime.drain_ms)


async def live(host: Host) -> None:
    """The life of an Api process.

    It serves as soon as it is connected, or has tried for a while: then it answers 503, and
    /readyz says what is missing.
    """
    config = host.config
    lease_ms = config.runtime.worker_lease_ms
    message_ids = MessageIds(host.storage, host.clock, host.random, host.owner, lease_ms)
    app = make_app(
        storage=host.storage,
        queue=host.queue,
        directory=host.directory,
        message_ids=message_ids,
        clock=host.clock,
        random=host.random,
        config=config,
        registry=host.registry,
    )
    connecting = asyncio.create_task(host.connect(message_ids.renew))
    await asyncio.wait({connecting}, timeout=CONNECT_S)
    accepting = asyncio.create_task(app.acceptor.run())
    try:
        at = config.api
        async with host.serve(serving(app, config), at.host, at.port, " at") as server:
            work = _keep_up(host, connecting, message_ids)
            await host.until_stopped(work, server, accepting)
    finally:
        # Served no more: what was accepted last is stored and answered.
        app.acceptor.drain()
        await asyncio.wait({accepting})
        try:
            await message_ids.close()
        except StorageError as error:
            log.warning("the worker number is not given back, its lease runs out: %s", error)


async def _keep_up(host: Host, connecting: asyncio.Task[bool], message_ids: MessageIds) -> None:
    if await connecting:
        await asyncio.gather(host.keep_directory(), message_ids.keep(host.stopping))


command = server_command("api", "Serve the HTTP API: accept messages, configure, show.", live)
