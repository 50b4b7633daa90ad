"""What the Rescuer and fsck have in common: where things are noted, and how they go back."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from notify.config import QueueConfig
from notify.domain.ports import Push
from notify.runtime.streams import INGEST
from notify_core import chunk, ids
from notify_core.records import MessageRecord

# The lease of the Rescuer that works.
LEASE: Final = "rescuer"
UNSPLIT_ROWS_MAX: Final = 1000
# Notes in the database: before the first time nothing is unsplit, and the epoch that was rebuilt.
UNSPLIT_FROM: Final = "unsplit_from_ms"
REBUILT_EPOCH: Final = "rebuilt_epoch_ms"
T = TypeVar("T")


def epoch_begun_ms(epoch: str) -> int:
    """When an epoch began: its token begins with that."""
    return int(epoch.partition("-")[0])


def ingest_pushes(
    config_version: int,
    messages: Sequence[MessageRecord],
    limits: QueueConfig,
    aged: bool = False,
) -> list[Push]:
    """Ingest chunks of messages that nobody has split; up to UNSPLIT_ROWS_MAX each.

    aged: as old as their messages are, so that what came later and is ordered waits for them.
    """
    return [
        Push(
            INGEST,
            chunk.pack_messages(config_version, part),
            len(part),
            since_ms=ids.id_ms(part[0].id) if aged else 0,
        )
        for part in parts(messages, _size, UNSPLIT_ROWS_MAX, limits.chunk_bytes_max)
    ]


def parts(
    records: Sequence[T], size_of: Callable[[T], int], rows_max: int, bytes_max: int
) -> list[list[T]]:
    """Records in parts of at most rows_max and, from the second record on, bytes_max."""
    made: list[list[T]] = []
    size = 0
    for record in records:
        length = size_of(record)
        if not made or len(made[-1]) >= rows_max or size + length > bytes_max:
            made.append([])
            size = 0
        made[-1].append(record)
        size += length
    return made


def _size(message: MessageRecord) -> int:
    return len(message.payload or b"")
