"""Serving the Api inside an event loop that somebody else owns, signals included."""

import asyncio
import contextlib
import math
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn

from notify.api.http import BoundedHttp
from notify.config import Config

KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 2048
TICK_S: Final = 1.0
# Connections beside the requests that are answered: most of them idle between requests.
CONNECTIONS_PER_REQUEST: Final = 4


async def serve(
    app: Any, config: Config, on_bound: Callable[[int], None], stop: asyncio.Event
) -> None:
    """Serve until `stop`, then let running requests end within runtime.drain_ms.

    on_bound gets the real port once connections are accepted. Raises OSError where the address
    cannot be bound. The acceptor must go on running until this returns.
    """
    sockets = await _bound(config.api.host, config.api.port)
    server = _Server(
        uvicorn.Config(
            app,
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(config.runtime.drain_ms / 1000),
            limit_concurrency=CONNECTIONS_PER_REQUEST * config.api.requests_max,
        ),
        lambda: on_bound(sockets[0].getsockname()[1]),
        stop,
    )

    try:
        await server.serve(sockets)
    finally:
        for bound in sockets:
            bound.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: they belong to the process, not to a server."""

    def __init__(
        self, config: uvicorn.Config, on_bound: Callable[[], None], stop: asyncio.Event
    ) -> None:
        super().__init__(config)
        self._on_bound = on_bound
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then say so."""
        await super().startup(sockets)
        self._on_bound()

    async def main_loop(self) -> None:
        """Keep the date header fresh until `stop`: one turn a second costs an idle process less."""
        while not self._stop.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._stop.wait()


async def _bound(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address of a host, all on the same port."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], port, *address[2:]))
            port = one.getsockname()[1]
            one.setblocking(False)
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return sockets
