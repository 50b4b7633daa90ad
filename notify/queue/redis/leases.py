"""Named leases: keys that expire by the server's clock."""

from notify.queue.redis import keys
from notify.queue.redis.client import Command


def take(name: str, owner: str, ttl_ms: int) -> Command:
    """Take or prolong a lease; the reply is 1 for its holder, else 0."""
    return (b"FCALL", b"notify1_lease", 1, keys.lease(name), owner.encode(), ttl_ms)


def release(name: str, owner: str) -> Command:
    """Give a lease back, where owner holds it."""
    return (b"FCALL", b"notify1_release", 1, keys.lease(name), owner.encode())
