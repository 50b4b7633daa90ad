"""The streams that belong to no subscription; each has one partition so far."""

from typing import Final

from notify.domain.ports import Stream, StreamKind

INGEST: Final = Stream(StreamKind.INGEST, 0)
MARK: Final = Stream(StreamKind.MARK, 0)
