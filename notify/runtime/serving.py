"""HTTP servers inside an event loop that somebody else owns, signals included."""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, NamedTuple

import uvicorn

KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 2048
TICK_S: Final = 1.0


class Serving(NamedTuple):
    """How to serve an ASGI application.

    http: a protocol as uvicorn takes it. connections_max: beyond, uvicorn answers 503.
    drain_ms: how long requests under way may take to end.
    """

    app: Any
    http: Any
    connections_max: int
    drain_ms: int


@contextlib.asynccontextmanager
async def served(
    serving: Serving, sockets: Sequence[socket.socket]
) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve on bound sockets during the block; at its end let running requests end.

    The block gets the server's task, which ends before only where the server failed.
    """
    accepting, stop = asyncio.Event(), asyncio.Event()
    server = _Server(
        uvicorn.Config(
            serving.app,
            http=serving.http,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(serving.drain_ms / 1000),
            limit_concurrency=serving.connections_max,
        ),
        accepting,
        stop,
    )
    task = asyncio.create_task(server.serve(list(sockets)))
    try:
        begun = asyncio.create_task(accepting.wait())
        await asyncio.wait({task, begun}, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        yield task
    finally:
        stop.set()
        await asyncio.wait({task})
        for one in sockets:
            one.close()


async def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address of a host, all on the same port (0: any). Raises OSError."""
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


def url_of(host: str, sockets: Sequence[socket.socket]) -> str:
    """Where sockets bound for a host are reached."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{sockets[0].getsockname()[1]}"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: they belong to the process, not to a server."""

    def __init__(
        self, config: uvicorn.Config, accepting: asyncio.Event, stop: asyncio.Event
    ) -> None:
        super().__init__(config)
        self._accepting = accepting
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then say so."""
        await super().startup(sockets)
        self._accepting.set()

    async def main_loop(self) -> None:
        """Keep the date header fresh until `stop`: one turn a second costs an idle process less."""
        while not self._stop.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._stop.wait()
