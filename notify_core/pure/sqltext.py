r"""Values as MySQL literals, rows as multi-row INSERT statements (pure twin of sqltext.pyx).

Backslash escapes are assumed: a connection under NO_BACKSLASH_ESCAPES must be refused by its
owner. Bytes carry the `_binary` introducer, so that no character set conversion touches them.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from notify_core.errors import SqlTextError

Value: TypeAlias = int | str | bytes

_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1


def literal(value: Value) -> bytes:
    """One value as a literal: a signed 64-bit int, a text or bytes.

    Raises SqlTextError for any other type, an int out of range, or a text with lone surrogates.
    """
    if type(value) is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise SqlTextError("an integer outside 64 bits has no literal")
        return b"%d" % value
    if type(value) is str:
        try:
            return b"'" + _escaped(value.encode()) + b"'"
        except UnicodeEncodeError:
            raise SqlTextError("a text with a lone surrogate has no literal") from None
    if type(value) is bytes:
        return b"_binary'" + _escaped(value) + b"'"
    raise SqlTextError(f"{type(value).__name__} has no literal")


def insert(
    head: bytes,
    rows: Iterable[Sequence[Value]],
    tail: bytes,
    rows_max: int,
    bytes_max: int,
    group: bool,
) -> list[bytes]:
    """Rows as one or several statements `head (…),(…) tail`, each within both limits.

    head: `INSERT INTO t (a,b) VALUES `. bytes_max counts the whole statement, head and tail
    too. group: rows whose first value is equal stay in one statement (a message's fan-out is
    never split), even beyond a limit; a row too large for bytes_max goes alone. No rows give
    no statement. Raises SqlTextError.
    """
    statements: list[bytes] = []
    values: list[bytes] = []
    around = len(head) + len(tail)
    size = around
    previous: Value | None = None
    for row in rows:
        text = b"(" + b",".join([literal(value) for value in row]) + b")"
        full = len(values) >= rows_max or size + len(text) > bytes_max
        if values and full and not (group and row[0] == previous):
            statements.append(head + b",".join(values) + tail)
            values, size = [], around
        values.append(text)
        size += len(text) + 1  # the comma before the next row
        previous = row[0]
    if values:
        statements.append(head + b",".join(values) + tail)
    return statements


def int_list(values: Iterable[int]) -> bytes:
    """Integers as `1,2,3`, for an IN list (which must not be empty).

    Raises SqlTextError for anything but signed 64-bit ints.
    """
    texts = []
    for value in values:
        if type(value) is not int:
            raise SqlTextError(f"{type(value).__name__} is not an integer")
        texts.append(literal(value))
    return b",".join(texts)


def _escaped(text: bytes) -> bytes:
    # UTF-8 needs no decoding: none of these bytes is ever part of a longer character.
    return (
        text.replace(b"\\", b"\\\\")
        .replace(b"\0", b"\\0")
        .replace(b"\n", b"\\n")
        .replace(b"\r", b"\\r")
        .replace(b"\x1a", b"\\Z")
        .replace(b"'", b"\\'")
        .replace(b'"', b'\\"')
    )
