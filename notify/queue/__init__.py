"""Adapters of the Queue port, chosen by the scheme of `queue.url`."""

from notify.config import QueueConfig
from notify.domain.errors import ConfigError
from notify.domain.ports import Clock, Queue
from notify.queue.memory import MemoryQueue
from notify.queue.redis import RedisQueue
from notify.queue.redis.urls import SCHEMES

__all__ = ["open_queue"]


async def open_queue(config: QueueConfig, clock: Clock) -> Queue:
    """Connect to the queue that the configuration names. Raises ConfigError, QueueUnavailable."""
    scheme, colon, _ = config.url.partition(":")
    queue: Queue
    if colon and scheme == "memory":
        queue = MemoryQueue(clock)
    elif colon and scheme in SCHEMES:
        queue = RedisQueue(config.url, clock)
    else:
        # Only the scheme is shown: the rest of a URL may hold a password.
        shown = f"the scheme {scheme!r}" if colon else "no scheme"
        known = "memory: (in this process), redis://, rediss://, unix:// and redis+sentinel://"
        raise ConfigError([f"queue.url has {shown}; known are {known}"])
    await queue.open()
    return queue
