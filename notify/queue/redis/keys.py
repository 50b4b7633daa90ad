"""Every key of the queue in Redis; what they hold is told at the top of functions.lua.

A stream's keys share one hash tag, so that its functions work on a cluster too.
"""

from functools import lru_cache
from typing import Final

from notify.domain.ports import Stream, StreamKind

EPOCH: Final = b"nt:epoch"
CHUNKS: Final = 0
META: Final = 3

StreamKeys = tuple[bytes, bytes, bytes, bytes]


# Only a bound for a process that meets many subscriptions in its life: making them again is cheap.
@lru_cache(maxsize=16_384)
def of_stream(stream: Stream) -> StreamKeys:
    """The chunks, the delay set, the ages and the meta hash of a stream, in this order."""
    tag = b"nt:{%s%d}:" % (stream.kind.value.encode(), stream.number)
    return tag + b"q", tag + b"d", tag + b"a", tag + b"m"


def wake_log(kind: StreamKind) -> bytes:
    """The log of pushes to streams of a kind."""
    return b"nt:{wake:%s}" % kind.value.encode()


def lease(name: str) -> bytes:
    """A named lease."""
    return b"nt:{lease:%s}" % name.encode()


def share(group: str) -> tuple[bytes, bytes]:
    """The members of a group, and who holds which of its keys."""
    tag = b"nt:{share:%s}:" % group.encode()
    return tag + b"m", tag + b"k"
