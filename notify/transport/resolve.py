"""Names to addresses, remembered, and bounded so that dead names hold up no other.

A name is in one of three states, and each call moves it on:

    known    for TTL_S its addresses are taken as they are; for STALE_S more they stand in
             where looking it up again takes longer than REFRESH_WAIT_S, or fails for another
             reason than that the name is gone
    failed   for FAILED_S every call fails at once with the same reason
    unknown  the call waits for the lookup, as does every other call for this name

A name that failed, or took longer than SLOW_S, is suspect until it answers quickly again.
Suspect names share SUSPECTS_AT_ONCE lookups; they cannot take those of the others.
"""

import asyncio
import socket
from collections.abc import Callable
from time import monotonic

from notify.domain.errors import TransportError
from notify.transport.address import is_address
from notify.transport.lookup import Lookup, system_lookup

# getaddrinfo does not tell a record's own time to live; a failed connection forgets earlier.
TTL_S = 10.0
STALE_S = 300.0
REFRESH_WAIT_S = 0.5
FAILED_S = 3.0
SLOW_S = 1.0
# What hangs holds a thread each. Names heard of for the first time, all of them dead, are the
# worst case: right after a start, two hundred and forty of them do not delay the next.
LOOKUPS_AT_ONCE = 240
SUSPECTS_AT_ONCE = 16
NAMES_MAX = 1024
ADDRESSES_MAX = 8

# The name is gone. Other failures tell of the resolver, and the last addresses may still do.
_GONE = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class _Name:
    """What is known of one name. Times are those of the resolver's clock."""

    __slots__ = ("addresses", "asked", "error", "fresh_until", "quiet_until", "suspect", "task")

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.fresh_until = 0.0
        self.error = ""
        self.quiet_until = 0.0  # after a failure: not looked up again before
        self.suspect = False
        self.task: asyncio.Task[list[str]] | None = None
        self.asked = 0.0  # when the task was made


class Resolver:
    """A bounded memory of lookups. Callers that ask for the same name share one lookup."""

    def __init__(
        self, lookup: Lookup = system_lookup, now_s: Callable[[], float] = monotonic
    ) -> None:
        self._lookup = lookup
        self._now_s = now_s
        self._names: dict[str, _Name] = {}  # the one asked for longest ago comes first
        self._ordinary = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._suspect = asyncio.Semaphore(SUSPECTS_AT_ONCE)

    async def addresses(self, host: str, port: int) -> list[str]:
        """At most ADDRESSES_MAX addresses, never none. Raises TransportError("dns")."""
        if is_address(host):
            return [host]
        now = self._now_s()
        name = self._name(host)
        if name.addresses and now < name.fresh_until:
            return name.addresses
        if now >= name.fresh_until + STALE_S:
            name.addresses = []
        if name.task is None:
            if now < name.quiet_until:
                return _known(name)
            name.asked = now
            name.task = asyncio.create_task(self._ask(host, port, name))
        task, stale = name.task, name.addresses
        wait_s = max(0.0, name.asked + REFRESH_WAIT_S - now) if stale else None
        # asyncio.wait: one waiter's deadline must not take the lookup away from the others.
        await asyncio.wait({task}, timeout=wait_s)
        if task.cancelled():
            raise TransportError("closed", f"the lookup of {host} was given up")
        return (task.result() or _known(name)) if task.done() else stale

    def forget(self, host: str) -> None:
        """Look the name up again next time: its addresses did not answer."""
        name = self._names.get(host)
        if name is not None:
            name.addresses = []

    async def close(self) -> None:
        """Give up the lookups that are under way."""
        tasks = [name.task for name in self._names.values() if name.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _name(self, host: str) -> _Name:
        """The name's entry, made where there is none. Raises TransportError: all are asked."""
        name = self._names.pop(host, None)
        if name is None:
            while len(self._names) >= NAMES_MAX:
                idle = next((old for old, it in self._names.items() if it.task is None), None)
                if idle is None:
                    raise TransportError(
                        "dns", f"{NAMES_MAX} other names are being looked up; is DNS answering?"
                    )
                del self._names[idle]
            name = _Name()
        self._names[host] = name
        return name

    async def _ask(self, host: str, port: int, name: _Name) -> list[str]:
        """Look a name up and remember what came of it; none where it failed."""
        found: list[str] = []
        gone = False
        try:
            async with self._suspect if name.suspect else self._ordinary:
                started = self._now_s()
                try:
                    found = list(dict.fromkeys(await self._lookup(host, port)))[:ADDRESSES_MAX]
                    problem = f"the name {host} has no address"
                except (OSError, UnicodeError) as error:
                    gone = isinstance(error, socket.gaierror) and error.errno in _GONE
                    problem = f"the name {host} cannot be resolved: {error}"
                now = self._now_s()
        finally:
            name.task = None
        name.suspect = not found or now - started > SLOW_S
        if found:
            name.addresses, name.fresh_until = found, now + TTL_S
        else:
            name.error, name.quiet_until = problem, now + FAILED_S
        if gone:
            name.addresses = []
        return found


def _known(name: _Name) -> list[str]:
    """What a name leads to after a failure. Raises TransportError("dns")."""
    if name.addresses:
        return name.addresses
    raise TransportError("dns", name.error)
