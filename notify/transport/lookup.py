"""The system's resolver, asked off the event loop: one daemon thread for each lookup.

getaddrinfo cannot be interrupted: a name whose servers are dead holds its thread for as long as
resolv.conf makes it (5 to 30 s). A pool of fixed size, the event loop's own included, is
therefore held up altogether by as many dead names; and an executor joins its threads at exit.
Lookups are rare (`resolve` remembers), a thread costs some 100 microseconds. How many there may
be at a time is bounded by `resolve`.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable

# (host, port) to addresses in the order to try them; raises OSError or UnicodeError.
Lookup = Callable[[str, int], Awaitable[list[str]]]


async def system_lookup(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver gives, in its order of preference.

    Raises OSError or UnicodeError. Cancelling leaves the thread to itself: neither closing nor
    the end of the process waits for it.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def ask() -> None:
        addresses: list[str] = []
        problem: Exception | None = None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [str(info[4][0]) for info in infos]
        except Exception as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, addresses, problem)

    try:
        threading.Thread(target=ask, name=f"lookup of {host}", daemon=True).start()
    except RuntimeError as error:  # the system has no thread to give
        raise OSError(str(error)) from error
    return await answer
