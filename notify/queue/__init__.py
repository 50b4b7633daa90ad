"""Adapters of the Queue port, chosen by the scheme of `queue.url`."""

from notify.config import QueueConfig
from notify.domain.errors import ConfigError
from notify.domain.ports import Clock, Queue
from notify.queue.memory import MemoryQueue
from notify.queue.redis import RedisQueue
from notify.queue.redis.urls import SCHEMES

__all__ = ["open_queue"]


def open_queue(config: QueueConfig, clock: Clock) -> Queue:
    """The queue that config.url names, not yet connected: await its open().

    Raises ConfigError where the scheme is not known or the URL is not of its form.
    """
    scheme, colon, _ = config.url.partition(":")
    if colon and scheme == "memory":
        return MemoryQueue(clock)
    if colon and scheme in SCHEMES:
        return RedisQueue(config.url, clock)
    # Only the scheme is shown: the rest of a URL may hold a password.
    shown = f"the scheme {scheme!r}" if colon else "no scheme"
    known = "memory: (in this process), redis://, rediss://, unix:// and redis+sentinel://"
    raise ConfigError([f"queue.url has {shown}; known are {known}"])
