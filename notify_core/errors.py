"""Errors of the core.

CoreError
├── BodyError    a request body that cannot be accepted
├── ChunkError   a chunk that is damaged, or of another version or kind
├── ReplyError   an answer of Redis that is not RESP2
├── SecretError  a signing secret that is not of its form
└── SqlTextError a value that has no SQL literal
"""


class CoreError(ValueError):
    """Root of the core's errors."""


class BodyError(CoreError):
    """A request body that cannot be accepted; nothing of it was taken.

    kind: "malformed" (the body cannot be read as messages at all), "item" (one message breaks
    a rule, its own size limits included) or "limit" (more messages than a batch may hold).
    index: the message's position in the batch, None where unknown. reason: the text without it.
    """

    def __init__(self, kind: str, reason: str, index: int | None = None) -> None:
        super().__init__(reason if index is None else f"message {index}: {reason}")
        self.kind = kind
        self.reason = reason
        self.index = index


class ChunkError(CoreError):
    """A chunk that is damaged, or of another version or kind than asked for."""


class ReplyError(CoreError):
    """An answer of Redis that is not RESP2: what speaks there is not Redis."""


class SecretError(CoreError):
    """A signing secret that is not of its form; the text says which form is expected."""


class SqlTextError(CoreError):
    """A value that has no SQL literal."""
