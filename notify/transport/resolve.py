"""Names to addresses: one lookup a name at a time, remembered briefly, checked by the caller."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from time import monotonic

from notify.domain.errors import TransportError

# (host, port) to addresses in the order to try them; raises OSError or UnicodeError.
Lookup = Callable[[str, int], Awaitable[list[str]]]

# getaddrinfo does not tell a record's own time to live; a failed connection forgets earlier.
TTL_S = 10.0
NAMES_MAX = 1024
ADDRESSES_MAX = 8


async def system_lookup(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver gives, in its order of preference."""
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in infos]


class Resolver:
    """A bounded memory of lookups. Callers that ask for the same name share one lookup.

    Sharing matters: the system resolver has few threads, and a name whose servers are dead
    must not hold all of them.
    """

    def __init__(self, lookup: Lookup = system_lookup) -> None:
        self._lookup = lookup
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._running: dict[str, asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """At most ADDRESSES_MAX addresses, never none. Raises TransportError("dns")."""
        if _is_literal(host):
            return [host]
        known = self._known.get(host)
        if known is not None and known[0] > monotonic():
            return known[1]
        task = self._running.get(host)
        if task is None:
            task = asyncio.create_task(self._ask(host, port))
            self._running[host] = task
            task.add_done_callback(lambda done: self._finished(host, done))
        try:
            # One waiter's deadline must not take the lookup away from the others.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if task.cancelled() and waiter is not None and not waiter.cancelling():
                raise TransportError("closed", f"the lookup of {host} was given up") from None
            raise

    def forget(self, host: str) -> None:
        """Look the name up again next time: its addresses did not answer."""
        self._known.pop(host, None)

    async def close(self) -> None:
        """Give up the lookups that are under way."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _ask(self, host: str, port: int) -> list[str]:
        try:
            found = await self._lookup(host, port)
        except (OSError, UnicodeError) as error:
            raise TransportError("dns", f"the name {host} cannot be resolved: {error}") from error
        addresses = list(dict.fromkeys(found))[:ADDRESSES_MAX]
        if not addresses:
            raise TransportError("dns", f"the name {host} has no address")
        self._known.pop(host, None)
        while len(self._known) >= NAMES_MAX:
            del self._known[next(iter(self._known))]
        self._known[host] = (monotonic() + TTL_S, addresses)
        return addresses

    def _finished(self, host: str, task: asyncio.Task[list[str]]) -> None:
        self._running.pop(host, None)
        if not task.cancelled():
            # Every waiter may be gone by now; asyncio warns of errors that nobody looked at.
            task.exception()


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
