from collections.abc import Iterable, Sequence
from typing import TypeAlias

Value: TypeAlias = int | str | bytes

def literal(value: Value) -> bytes: ...
def insert(
    head: bytes,
    rows: Iterable[Sequence[Value]],
    tail: bytes,
    rows_max: int,
    bytes_max: int,
    group: bool,
) -> list[bytes]: ...
def int_list(values: Iterable[int]) -> bytes: ...
