"""A port Transport that answers on the test's own word, after some seconds, without a network."""

import asyncio
from collections.abc import Callable

from notify.domain.errors import TransportError
from notify.domain.ports import Answer, Endpoint

Done = Callable[[Answer | None, TransportError | None], None]
Result = Answer | Exception
# Seconds, and what comes then; a function is asked when the time has come.
Told = tuple[float, Result | Callable[[], Result]]


class _Exchange:
    """One request under way (port Exchange)."""

    def __init__(
        self,
        seconds: float,
        result: Result | Callable[[], Result],
        done: Done,
        over: Callable[[], None],
    ) -> None:
        self._result = result
        self._done = done
        self._over: Callable[[], None] | None = over
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(seconds, self._end) if seconds else loop.call_soon(self._end)

    def cancel(self) -> None:
        self._handle.cancel()
        if self._over is not None:
            self._over()
            self._over = None

    def _end(self) -> None:
        self.cancel()
        result = self._result
        if callable(result):
            result = result()
        if isinstance(result, Answer):
            self._done(result, None)
        else:
            assert isinstance(result, TransportError)
            self._done(None, result)


class Answering:
    """Subclasses say what is answered, and when. `hanging` counts the requests under way."""

    def __init__(self) -> None:
        self.hanging = 0

    def answer(self, endpoint: Endpoint, head: bytes, body: bytes, timeout_ms: int) -> Told:
        """What comes of this request, and when; later than timeout_ms is a time-out."""
        raise NotImplementedError

    def send(
        self,
        endpoint: Endpoint,
        head: bytes,
        body: bytes,
        timeout_ms: int,
        kept_bytes: int,
        done: Done,
    ) -> _Exchange:
        seconds, result = self.answer(endpoint, head, body, timeout_ms)
        if seconds * 1000 > timeout_ms:
            seconds, result = timeout_ms / 1000, TransportError("timeout", "no answer in time")
        if isinstance(result, Exception) and not isinstance(result, TransportError):
            raise result  # a bug inside the client
        self.hanging += 1
        return _Exchange(seconds, result, done, self._over)

    async def close(self) -> None:
        return None

    def _over(self) -> None:
        self.hanging -= 1
