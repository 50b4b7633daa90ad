"""Which connections exist: bounded in all, the idle ones kept by origin for the next request."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from notify.config import SenderConfig
from notify.domain.errors import TransportError
from notify.domain.ports import Endpoint, Identity
from notify.transport.connection import Connection

# What identifies a connection: endpoints that differ in their target alone share a pool.
Origin = tuple[bool, str, int, Identity | None]
# Connects a connection to an endpoint before a deadline (monotonic seconds), time-out in ms.
Dial = Callable[[Endpoint, Connection, float, int], Awaitable[None]]

# Connections above the idle bound are kept so long: a burst that comes back at once would
# otherwise close and reopen them between two waves of requests.
SURPLUS_IDLE_S = 1.0
# How long closing waits for the loop to let go of the sockets.
CLOSE_WAIT_S = 1.0

STOPPING = "the sender is stopping"


class _Pool:
    """The connections to one origin. open counts the busy and the half-open ones too."""

    __slots__ = ("idle", "open", "origin")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.idle: list[Connection] = []
        self.open = 0


class Pools:
    """Hands out connections, the latest used first, so that those not needed grow old."""

    def __init__(self, config: SenderConfig, dial: Dial) -> None:
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self._config = config
        self._idle_max = config.idle_connections_max
        self._idle_s = config.idle_ms / 1000
        self._connections_max = config.connections_max
        # Idle ones, the longest so first.
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._pools: dict[Origin, _Pool] = {}
        # Every connection from the moment its place is taken until it is lost.
        self._pool_of: dict[Connection, _Pool] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._gone = asyncio.Event()
        self._closed = False

    @property
    def open(self) -> int:
        """Connections being opened, busy or idle."""
        return len(self._pool_of)

    def take(self, endpoint: Endpoint) -> Connection | None:
        """Take an idle connection out of the pool; None where there is none."""
        pool = self._pools.get(endpoint[:4])
        if pool is None or not pool.idle:
            return None
        connection = pool.idle.pop()
        del self._idle[connection]
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection, whose exchange has ended, for the next."""
        idle = self._pool_of[connection].idle
        surplus = len(idle) >= self._idle_max and self._idle_s > SURPLUS_IDLE_S
        idle.append(connection)
        self._idle[connection] = None
        connection.rest(monotonic() + (SURPLUS_IDLE_S if surplus else self._idle_s))
        if self._waiting:
            self._wake(1)

    async def connect(self, endpoint: Endpoint, timeout_ms: int, deadline: float) -> Connection:
        """Open a fresh connection once there is a place for it. Raises TransportError.

        Where it had to wait for the place, it may be one that the endpoint's pool got back.
        """
        while len(self._pool_of) >= self._connections_max and not self._evict():
            await self._place(timeout_ms, deadline)
            kept = self.take(endpoint)
            if kept is not None:
                return kept
        self._check_open()
        connection = Connection(self._config, self._loop, self.give_back, self._lost)
        pool = self._pools.setdefault(endpoint[:4], _Pool(endpoint[:4]))
        pool.open += 1
        self._pool_of[connection] = pool
        try:
            await self._dial(endpoint, connection, deadline, timeout_ms)
            self._check_open()
        except BaseException:
            connection.give_up()
            self._lost(connection)
            raise
        return connection

    async def close(self) -> None:
        """Close every connection; what is under way on one fails with the stage "closed"."""
        self._closed = True
        for connection in list(self._pool_of):
            connection.fail("closed", STOPPING)
        self._wake(len(self._waiting))
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT_S):
                while any(connection.connected for connection in self._pool_of):
                    self._gone.clear()
                    await self._gone.wait()

    def _check_open(self) -> None:
        if self._closed:
            raise TransportError("closed", STOPPING)

    def _evict(self) -> bool:
        """Close the connection that was idle longest; False where all are busy."""
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        self._lost(oldest)
        oldest.give_up()
        return True

    async def _place(self, timeout_ms: int, deadline: float) -> None:
        """Wait until a connection was closed or became idle."""
        self._check_open()
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
                    f"({self._connections_max} are in use; see sender.connections_max)",
                ) from None
            raise

    def _wake(self, count: int) -> None:
        while self._waiting and count > 0:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def _lost(self, connection: Connection) -> None:
        """Forget a connection; safe to call again."""
        pool = self._pool_of.pop(connection, None)
        if pool is None:
            return
        if connection in self._idle:
            del self._idle[connection]
            pool.idle.remove(connection)
        pool.open -= 1
        if pool.open == 0:
            del self._pools[pool.origin]
        self._gone.set()
        self._wake(1)
