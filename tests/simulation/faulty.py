"""Ports that fail at random: before a call (nothing happened) or after it (it did happen)."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from notify.domain.errors import NotifyError, QueueUnavailable, StorageUnavailable
from notify.domain.ports import Queue, Random, Storage

# Starting and stopping belong to the test, which has to be able to rely on them.
_SPARED = frozenset({"open", "close"})


class _Faulty:
    """Delegates to a port; a call fails with probability `rate`, half of them afterwards.

    `rate` may be changed at any time: 0 is a port that works. `faults` counts the failures.
    """

    _error: type[NotifyError]

    def __init__(self, port: object, random: Random, rate: float) -> None:
        self._port = port
        self._random = random
        self.rate = rate
        self.faults = 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._port, name)
        if name in _SPARED or not iscoroutinefunction(call):
            return call
        return self._failing(name, call)

    def _failing(
        self, name: str, call: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        async def failing(*arguments: Any, **named: Any) -> Any:
            draw = self._random.random()
            if draw >= self.rate:
                return await call(*arguments, **named)
            self.faults += 1
            if draw >= self.rate / 2:
                raise self._error(f"simulated: {name} was not carried out")
            await call(*arguments, **named)
            raise self._error(f"simulated: {name} was carried out, its answer is lost")

        return failing


class FaultyQueue(_Faulty):
    """A Queue that raises QueueUnavailable at random."""

    _error = QueueUnavailable

    def __init__(self, queue: Queue, random: Random, rate: float) -> None:
        super().__init__(queue, random, rate)


class FaultyStorage(_Faulty):
    """A Storage that raises StorageUnavailable at random."""

    _error = StorageUnavailable

    def __init__(self, storage: Storage, random: Random, rate: float) -> None:
        super().__init__(storage, random, rate)
