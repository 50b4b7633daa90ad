"""`notify up` that kills itself at an exact moment.

`python child.py WHEN METHOD NTH up …`: SIGKILL before or after (WHEN) the NTH call of a port's
method, `storage.mark` or `queue.ack/mark` (only calls about streams of this kind). The
process, its files and its sockets die as they do when the kernel or the power ends them.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, NoReturn

from notify import cli
from notify.embedded import notify as embedded


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives that")


class Fuse:
    """Counts the calls that matter, and kills the process at the one that was named."""

    def __init__(self, when: str, method: str, nth: int) -> None:
        self.when = when
        self.port, _, rest = method.partition(".")
        self.method, _, self.kind = rest.partition("/")
        self.left = nth

    def meant(self, arguments: tuple[Any, ...]) -> bool:
        """This is the call: to be asked once for each."""
        # The claims of an ack, the pushes of a push: what follows from claims does not count.
        if self.kind and self.kind not in {item.stream.kind.value for item in arguments[0]}:
            return False
        self.left -= 1
        return self.left == 0


class Fused:
    """Delegates to a port, watching one of its methods."""

    def __init__(self, port: object, fuse: Fuse) -> None:
        self._port = port
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._port, name)
        if name != self._fuse.method:
            return call
        return self._watched(call) if iscoroutinefunction(call) else self._watched_send(call)

    def _watched(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def watched(*arguments: Any, **named: Any) -> Any:
            meant = self._fuse.meant(arguments)
            if meant and self._fuse.when == "before":
                die()
            answer = await call(*arguments, **named)
            if meant:
                die()
            return answer

        return watched

    def _watched_send(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """Of a request, "after" is when it was answered."""

        def watched(*arguments: Any) -> Any:
            meant = self._fuse.meant(arguments)
            if meant and self._fuse.when == "before":
                die()
            *rest, done = arguments
            return send(*rest, (lambda *_: die()) if meant else done)

        return watched


def install(fuse: Fuse) -> None:
    """Put the watched port into the place of the real one."""
    if fuse.port == "storage":
        open_storage = embedded.open_storage
        embedded.open_storage = lambda config: Fused(open_storage(config), fuse)
    elif fuse.port == "transport":
        transport = embedded.HttpTransport
        embedded.HttpTransport = lambda config: Fused(transport(config), fuse)
    else:
        open_queue = embedded.open_queue
        embedded.open_queue = lambda config, clock: Fused(open_queue(config, clock), fuse)


if __name__ == "__main__":
    when, method, nth, *rest = sys.argv[1:]
    install(Fuse(when, method, int(nth)))
    cli.main(rest)
