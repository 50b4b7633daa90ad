"""The delivery client: keep-alive pools over bounded connections. Implements ports.Transport."""

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from time import monotonic

from notify.config import SenderConfig
from notify.domain.errors import TransportError
from notify.domain.ports import Answer, Endpoint
from notify.transport.address import AddressGuard
from notify.transport.connect import Dialer, default_context
from notify.transport.connection import Connection, StaleConnection, limits_of
from notify.transport.resolve import Lookup, Resolver, system_lookup

# What identifies a connection: endpoints that differ in their target alone share a pool.
Origin = tuple[bool, str, int]

# Connections above the idle bound are kept so long: a burst that comes back at once would
# otherwise close and reopen them between two waves of requests.
SURPLUS_IDLE_S = 1.0
CLOSE_WAIT_S = 1.0

_STOPPING = "the sender is stopping"


class HttpTransport:
    """One HTTP/1.1 request at a time and connection, over at most in_flight_max connections.

    Must be made and used inside one running loop. `connections_open` (being opened, busy and
    idle) and `requests_in_flight` are there to be read as metrics.
    """

    def __init__(
        self,
        config: SenderConfig,
        ssl_context: ssl.SSLContext | None = None,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits_of(config)
        self._idle_max = config.idle_connections_max
        self._idle_s = config.idle_ms / 1000
        self._connections_max = config.in_flight_max
        self._resolver = Resolver(lookup)
        self._dialer = Dialer(
            AddressGuard(config.allow_cidrs),
            self._resolver,
            ssl_context or default_context(),
            config.connect_timeout_ms,
        )
        self._idle: dict[Origin, list[Connection]] = {}
        # Every connection from the moment its place is taken, with where it goes.
        self._origins: dict[Connection, Origin] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._gone: asyncio.Event = asyncio.Event()
        self._closed = False
        self.requests_in_flight = 0

    @property
    def connections_open(self) -> int:
        """Connections being opened, busy or idle."""
        return len(self._origins)

    async def post(self, endpoint: Endpoint, head: bytes, body: bytes, timeout_ms: int) -> Answer:
        """Send a request whose head is complete. Raises TransportError, names its stage.

        A kept connection that the endpoint had closed is replaced once by a fresh one, as long
        as not a byte of an answer had come. Cancelling closes the connection.
        """
        deadline = monotonic() + timeout_ms / 1000
        connection = None
        self.requests_in_flight += 1
        try:
            pool = self._idle.get(endpoint[:3])
            if pool:
                connection = pool.pop()
                try:
                    return await connection.exchange(head, body, timeout_ms, deadline)
                except StaleConnection:
                    connection = await self._open(endpoint, timeout_ms, deadline)
            else:
                connection = await self._acquire(endpoint, timeout_ms, deadline)
            try:
                return await connection.exchange(head, body, timeout_ms, deadline)
            except StaleConnection:
                raise TransportError(
                    "closed", "the endpoint closed two connections before any answer"
                ) from None
        finally:
            self.requests_in_flight -= 1
            if connection is not None:
                self._release(connection)

    async def close(self) -> None:
        """Close every connection. Requests under way fail with the stage "closed"."""
        self._closed = True
        for connection in list(self._origins):
            connection.fail("closed", _STOPPING)
        self._wake(len(self._waiting))
        await self._resolver.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT_S):
                while any(connection.connected for connection in self._origins):
                    self._gone.clear()
                    await self._gone.wait()

    async def _acquire(self, endpoint: Endpoint, timeout_ms: int, deadline: float) -> Connection:
        """An idle connection of the endpoint, or a fresh one once there is a place for it."""
        while True:
            pool = self._idle.get(endpoint[:3])
            if pool:
                return pool.pop()
            if len(self._origins) < self._connections_max or self._evict():
                return await self._open(endpoint, timeout_ms, deadline)
            await self._place(timeout_ms, deadline)

    async def _open(self, endpoint: Endpoint, timeout_ms: int, deadline: float) -> Connection:
        self._check_open()
        connection = Connection(self._limits, self._loop, self._lost)
        self._origins[connection] = endpoint[:3]
        try:
            await self._dialer.dial(endpoint, lambda: connection, deadline, timeout_ms)
            self._check_open()
        except BaseException:
            self._lost(connection)
            connection.abort()
            raise
        return connection

    def _check_open(self) -> None:
        if self._closed:
            raise TransportError("closed", _STOPPING)

    def _evict(self) -> bool:
        """Close the idle connection that would end first; False where all are busy."""
        oldest = min(
            (pool[0] for pool in self._idle.values() if pool),
            key=lambda connection: connection.deadline,
            default=None,
        )
        if oldest is None:
            return False
        self._lost(oldest)
        oldest.abort()
        return True

    async def _place(self, timeout_ms: int, deadline: float) -> None:
        """Wait until a connection was closed or became idle."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(max(0.0, deadline - monotonic())):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                # Woken and gone in the same moment: the place is the next one's.
                self._wake(1)
            if isinstance(error, TimeoutError):
                raise TransportError(
                    "timeout",
                    f"no connection was free within {timeout_ms} ms "
                    f"({self._connections_max} are busy; see sender.in_flight_max)",
                ) from None
            raise

    def _wake(self, count: int) -> None:
        while self._waiting and count > 0:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def _release(self, connection: Connection) -> None:
        """Keep the connection for the next request, or close it."""
        origin = self._origins.get(connection)
        if origin is None or self._closed or not connection.idle:
            connection.abort()
            return
        pool = self._idle.setdefault(origin, [])
        surplus = len(pool) >= self._idle_max
        pool.append(connection)
        connection.rest(
            monotonic() + (min(self._idle_s, SURPLUS_IDLE_S) if surplus else self._idle_s)
        )
        if self._waiting:
            self._wake(1)

    def _lost(self, connection: Connection) -> None:
        """Forget a connection; safe to call again."""
        origin = self._origins.pop(connection, None)
        if origin is not None:
            pool = self._idle.get(origin)
            if pool is not None:
                if connection in pool:
                    pool.remove(connection)
                if not pool:
                    del self._idle[origin]
            self._wake(1)
        self._gone.set()
