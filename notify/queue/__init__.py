"""Adapters of the Queue port, chosen by the scheme of `queue.url`."""

from collections.abc import Iterator

from notify.config import Config, QueueConfig
from notify.domain.errors import ConfigError
from notify.domain.finding import Finding, error, ok
from notify.domain.ports import Clock, Queue
from notify.queue.memory import MemoryQueue
from notify.queue.redis import RedisQueue
from notify.queue.redis import examine as redis_examine
from notify.queue.redis.urls import SCHEMES

__all__ = ["examine_queue", "is_shared", "open_queue"]


def open_queue(config: QueueConfig, clock: Clock) -> Queue:
    """The queue that config.url names, not yet connected: await its open().

    Raises ConfigError where the scheme is not known or the URL is not of its form.
    """
    scheme, colon, _ = config.url.partition(":")
    if colon and scheme == "memory":
        return MemoryQueue(clock)
    if is_shared(config):
        return RedisQueue(config.url, clock)
    # Only the scheme is shown: the rest of a URL may hold a password.
    shown = f"the scheme {scheme!r}" if colon else "no scheme"
    known = "memory: (in this process), redis://, rediss://, unix:// and redis+sentinel://"
    raise ConfigError([f"queue.url has {shown}; known are {known}"])


def examine_queue(config: Config, clock: Clock) -> Iterator[Finding]:
    """What is right and wrong with the queue that config.queue.url names; blocks."""
    if is_shared(config.queue):
        yield from redis_examine.examine(config.queue.url, clock)
        return
    try:
        open_queue(config.queue, clock)
    except ConfigError as failure:
        for problem in failure.problems:
            yield error("queue", problem)
    else:
        yield ok("queue", "it is in the memory of one process")


def is_shared(config: QueueConfig) -> bool:
    """Whether any number of processes may use it, not one."""
    return config.url.partition(":")[0] in SCHEMES
