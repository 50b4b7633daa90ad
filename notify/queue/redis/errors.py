"""What Redis, its client library or the network report, as errors of the port.

Everything is QueueUnavailable with a sentence that says what to do, because everything may be
over at the next try: an operator can change a password or a memory limit under a running
service. That contents are lost is no error of Redis: the missing epoch says so.
"""

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from notify.domain.errors import QueueUnavailable
from notify_core.errors import ReplyError

FUNCTION_NOT_FOUND = "Function not found"

# By the beginning of the error's text, as Redis writes it; the first that fits counts.
_SENTENCES = {
    ("WRONGPASS", "NOAUTH", "ERR invalid password", "ERR AUTH", "ERR Client sent AUTH"):
        "Redis refuses the user or the password of queue.url: correct them, or create the user",
    ("NOPERM",):
        "the Redis user of queue.url lacks a permission: it needs ~nt:* +@read +@write"
        " +@connection +@scripting +info",
    ("LOADING",):
        "Redis is still loading its data; it will answer when that is done",
    ("READONLY", "-READONLY"):
        "Redis is a read-only replica; queue.url must name the primary, or the Sentinels",
    ("MASTERDOWN",):
        "Redis is a replica that has lost its primary; queue.url must name the primary",
    ("OOM",):
        "Redis is out of memory; raise its maxmemory, or remove what else fills it",
    ("MISCONF",):
        "Redis refuses writes because it cannot save its data; its log says why",
    ("NOREPLICAS",):
        "Redis refuses writes because it has too few replicas: start them, or lower its"
        " min-replicas-to-write",
    ("BUSY ",):
        "Redis is busy with a slow script of somebody else: run SCRIPT KILL there, or wait",
    ("MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN", "TRYAGAIN"):
        "queue.url names a node of a Redis Cluster; it must name one server, or Sentinels",
    ("ERR unknown command", "ERR unknown subcommand"):
        "Redis is too old: upgrade it to 7.0 or later",
    ("ERR max number of clients",):
        "Redis takes no more clients; raise its maxclients",
    ("ERR DB index", "ERR invalid DB"):
        "queue.url has a database number that this Redis does not have: write a lower one",
}  # fmt: skip


def unavailable(error: BaseException) -> QueueUnavailable:
    """What of the client library or the network went wrong, as a sentence for the operator."""
    text = _text(error)
    for beginnings, sentence in _SENTENCES.items():
        if text.startswith(beginnings):
            return QueueUnavailable(f"{sentence} ({text})")
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return QueueUnavailable(
            "Redis does not answer in time: look at its load and at the network"
            f" ({text or 'no answer'})"
        )
    if isinstance(error, ReplyError | InvalidResponse):
        return QueueUnavailable(
            f"what queue.url names does not speak as Redis does: correct its host and port ({text})"
        )
    if isinstance(error, RedisConnectionError | OSError):
        return QueueUnavailable(
            "Redis cannot be reached: start the server, or correct queue.url"
            f" ({text or type(error).__name__})"
        )
    return QueueUnavailable(f"Redis reports an error ({text})")


def is_missing_function(error: object) -> bool:
    """Whether the server lost the function library: it was restarted, or somebody flushed it."""
    return isinstance(error, ResponseError) and FUNCTION_NOT_FOUND in str(error)


def is_missing_group(error: object) -> bool:
    """Whether a stream does not exist, or its consumer group does not."""
    return isinstance(error, ResponseError) and str(error).startswith("NOGROUP")


def _text(error: BaseException) -> str:
    """The error with the code that redis-py cuts off from the front of it."""
    text = str(error)
    code = getattr(error, "status_code", None) if isinstance(error, RedisError) else None
    return f"{code} {text}" if code and not text.startswith(code) else text
