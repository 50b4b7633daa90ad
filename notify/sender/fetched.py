"""A value that is fetched when it is needed: once for all who wait, and again before it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, NamedTuple, TypeVar

from notify.domain.errors import TransportError
from notify.domain.ports import Clock, Transport

T = TypeVar("T")

# After a failure nobody is asked for so long: a backlog must not become a storm of questions.
FAILURE_PAUSE_MS: Final = 1000


class Lease(NamedTuple, Generic[T]):
    """A value, since when it holds, from when on it should be renewed, when it ends (unix ms)."""

    value: T
    since_ms: int
    renew_ms: int
    end_ms: int


class Fetched(Generic[T]):
    """The value; `fetch` gets a new one or raises TransportError."""

    def __init__(self, fetch: Callable[[Transport, int], Awaitable[Lease[T]]]) -> None:
        self._fetch = fetch
        self._lease: Lease[T] | None = None
        self._error = ""
        self._pause_until_ms = 0
        self._fetching: asyncio.Task[None] | None = None

    @property
    def value(self) -> T | None:
        """The last value, also where it has ended."""
        return self._lease.value if self._lease else None

    def is_due(self, now_ms: int) -> bool:
        """Whether `get` would have to wait, or to raise."""
        lease = self._lease
        if lease is None or now_ms >= lease.end_ms:
            return True
        return now_ms >= max(lease.renew_ms, self._pause_until_ms)

    def forget(self, now_ms: int, grace_ms: int) -> None:
        """The value was refused. Within the grace that may have been the one before it."""
        if self._lease is not None and now_ms - self._lease.since_ms > grace_ms:
            self._lease = None

    async def get(self, transport: Transport, clock: Clock) -> T:
        """The value, a new one where it is due. Raises TransportError: stage "auth".

        One that should be renewed, but cannot, is used until its end.
        """
        now_ms = clock.now_ms()
        if self.is_due(now_ms) and now_ms >= self._pause_until_ms:
            if self._fetching is None:
                self._fetching = asyncio.create_task(self._renew(transport, clock))
            # Who gives up waiting must not take the answer from the others.
            await asyncio.shield(self._fetching)
            now_ms = clock.now_ms()
        if self._lease is None or now_ms >= self._lease.end_ms:
            raise TransportError("auth", self._error or "what was fetched has ended at once")
        return self._lease.value

    async def _renew(self, transport: Transport, clock: Clock) -> None:
        try:
            self._lease = await self._fetch(transport, clock.now_ms())
            self._error = ""
        except TransportError as error:
            stage = "" if error.stage == "auth" else f"{error.stage}: "
            self._error = f"{stage}{error}"
            self._pause_until_ms = clock.now_ms() + FAILURE_PAUSE_MS
        finally:
            self._fetching = None
