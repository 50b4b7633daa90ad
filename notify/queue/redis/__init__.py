"""The queue in Redis: streams with consumer groups, shared by any number of processes."""

from notify.queue.redis.queue import RedisQueue

__all__ = ["RedisQueue"]
