"""Errors of Notify. The type says what happens next.

NotifyError
├── ConfigError           refuse to start, listing every mistake
├── InvalidInput          the caller's fault: 4xx, nothing was changed
│   ├── NotFound          404
│   ├── Conflict          409
│   └── Unauthorized      401
├── Busy                  a bound is reached: 429/503 with Retry-After, try again later
├── StorageError          the database
│   ├── StorageUnavailable   retryable: time or somebody at the server mends it: wait, try again
│   └── StorageRefused       permanent: refuse to start; this process or its rights must change
├── QueueError            the queue
│   ├── QueueUnavailable     retryable: wait and try the same again
│   └── QueueLost            its contents are gone: rebuild from the database
└── TransportError        one HTTP try failed without an answer: a recorded attempt, retried
"""


class NotifyError(Exception):
    """Root of Notify's errors. The text is a sentence that tells the operator what to do."""


class ConfigError(NotifyError):
    """The configuration is wrong; `problems` lists everything found."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InvalidInput(NotifyError):
    """The caller's input breaks a rule; nothing was changed."""


class NotFound(InvalidInput):
    """What was asked for does not exist."""


class Conflict(InvalidInput):
    """The request contradicts what is stored."""


class Unauthorized(InvalidInput):
    """No key, or not one that allows this."""


class Busy(NotifyError):
    """A bound is reached; try again after retry_after_s seconds."""

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class StorageError(NotifyError):
    """The database failed."""


class StorageUnavailable(StorageError):
    """The database cannot be used now; the same call of the same process may succeed later.

    It does not answer, is read-only or full, has no schema or an older one (somebody runs
    `notify migrate`), or its server has a setting that Notify cannot work under.
    """


class StorageRefused(StorageError):
    """The database will not take this from this process, however often it asks.

    Wrong credentials or too few rights, a schema newer than this release, a data file that is
    not ours, TLS that does not fit, a value larger than a statement may be.
    """


class QueueError(NotifyError):
    """The queue failed."""


class QueueUnavailable(QueueError):
    """The queue cannot be used now; the same call may succeed later.

    Everything about a queue is of this kind, wrong credentials too: it is disposable, and
    messages are accepted without it.
    """


class QueueLost(QueueError):
    """The queue lost its contents (restart, FLUSHALL); they must be rebuilt."""


class TransportError(NotifyError):
    """One HTTP try got no usable answer. `stage` is one of STAGES."""

    # "auth": no token, or no consent of the consumer; "internal": a bug of ours. Nothing was sent.
    STAGES = (
        "address",
        "dns",
        "connect",
        "tls",
        "send",
        "timeout",
        "closed",
        "response",
        "auth",
        "internal",
    )

    def __init__(self, stage: str, text: str) -> None:
        super().__init__(text)
        self.stage = stage
