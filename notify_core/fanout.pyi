from collections.abc import Collection, Mapping, Sequence
from typing import Final, final

QUEUE: Final = 0
HOLD: Final = 1
DISCARD: Final = 2

COLUMNS: Final = "msg_id,sub_id,status,attempts,reason,due_ms,updated_ms"
COLUMNS_QUEUED: Final = "msg_id,sub_id,updated_ms"

@final
class Table:
    def __init__(self, subscriptions: Sequence[tuple[int, int, Sequence[str]]]) -> None: ...
    def match(self, biz_id: int, event_type: str) -> tuple[int, ...]: ...

@final
class Split:
    def __init__(self) -> None: ...
    @property
    def messages(self) -> int: ...
    @property
    def config_version(self) -> int: ...
    @property
    def rows(self) -> list[tuple[int, int, int, int, int, int, int]]: ...
    @property
    def queued(self) -> list[tuple[int, int, bytes]]: ...
    @property
    def delayed(self) -> list[tuple[int, int, bytes]]: ...
    @property
    def row_count(self) -> int: ...
    def counts(self, span_bits: int) -> list[tuple[int, int, int, int, int]]: ...
    def insert_sql(self, rows_max: int, bytes_max: int) -> list[bytes]: ...

def split(
    table: Table,
    ingest: Sequence[bytes],
    modes: Mapping[int, int],
    now_ms: int,
    horizon_ms: int,
    skip: Collection[tuple[int, int]],
    chunk_rows_max: int,
    chunk_bytes_max: int,
) -> Split: ...
