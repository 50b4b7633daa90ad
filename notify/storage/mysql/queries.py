"""The named statements of queries.sql, and putting values into them.

Values become literals in compiled code: every statement reaches the server as finished bytes,
so a sharding proxy sees the shard keys, and nothing is escaped row by row in Python.
"""

from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Final, TypeAlias, TypeVar, cast

from notify_core import sqltext

T = TypeVar("T")
Value: TypeAlias = int | str | bytes
Values: TypeAlias = Value | Sequence[int] | Sequence[bytes]
# Rows of one statement, ids of one IN list, and bytes of one statement. From 1000 ids on MariaDB
# makes a sub-query of the list (in_predicate_conversion_threshold): 134 000 instead of 214 000
# rows/s in the bulk update, and a worse plan in SELECT.
ROWS_MAX: Final = 2000
IDS_MAX: Final = 999
STATEMENT_BYTES: Final = 1_000_000

_MARK: Final = "-- name:"
_ROWS: Final = "?rows"
_ANY: Final = "?any"


def parse(text: str) -> dict[str, str]:
    """Statements by name, without comments. A section is `-- name: x`, comments, one statement.

    AssertionError where a name appears twice or a section lacks its description or statement.
    """
    queries: dict[str, str] = {}
    for section in text.split(_MARK)[1:]:
        name, *lines = section.strip().splitlines()
        name = name.strip()
        comments = [line for line in lines if line.startswith("--")]
        statement = "\n".join(line for line in lines if line and not line.startswith("--"))
        assert name not in queries, f"two queries named {name}"
        assert comments, f"query {name} has no description"
        assert statement.endswith(";"), f"query {name} has no statement"
        queries[name] = statement.removesuffix(";")
    return queries


QUERIES: Final = parse(resources.files(__package__).joinpath("queries.sql").read_text("utf-8"))
_PARTS: Final = {
    name: text.partition(_ANY)[0].encode().split(b"?") for name, text in QUERIES.items()
}
_REPEATED: Final = {
    name: text.partition(_ANY)[2].encode().split(b"?")
    for name, text in QUERIES.items()
    if _ANY in text
}
_AROUND: Final = {
    name: tuple(part.encode() for part in text.split(_ROWS))
    for name, text in QUERIES.items()
    if _ROWS in text
}


def statement(name: str, *values: Values) -> bytes:
    """A named statement with its values; a sequence of ints, or of bytes, is the list of an IN."""
    return _filled(name, _PARTS[name], values)


def any_of(name: str, values: Sequence[Values], alternatives: Iterable[Sequence[Values]]) -> bytes:
    """A named statement that ends with `?any(...)`: that once for each alternative, with OR."""
    ors = b" OR ".join([_filled(name, _REPEATED[name], one) for one in alternatives])
    return b"%s(%s)" % (statement(name, *values), ors)


def _filled(name: str, pieces: Sequence[bytes], values: Sequence[Values]) -> bytes:
    first, *rest = pieces
    assert len(values) == len(rest), f"query {name} takes {len(rest)} values"
    parts = [first]
    for value, part in zip(values, rest, strict=True):
        if isinstance(value, int | str | bytes):
            parts.append(sqltext.literal(value))
        elif isinstance(value[0], int):
            parts.append(sqltext.int_list(cast("Sequence[int]", value)))
        else:
            parts.append(b",".join([sqltext.literal(one) for one in value]))
        parts.append(part)
    return b"".join(parts)


def insert(name: str, rows: Iterable[Sequence[Value]], bytes_max: int) -> list[bytes]:
    """A named statement with rows, as many statements as the limits ask for."""
    head, tail = _AROUND[name]
    return sqltext.insert(head, rows, tail, ROWS_MAX, bytes_max, False)


def insert_grouped(name: str, rows: Iterable[Sequence[Value]], bytes_max: int) -> list[bytes]:
    """As insert, but rows with the same first value (a message's) are never taken apart."""
    head, tail = _AROUND[name]
    return sqltext.insert(head, rows, tail, ROWS_MAX, bytes_max, True)


def parts(ids: Sequence[T], size: int = IDS_MAX) -> Iterable[Sequence[T]]:
    """Ids, or other keys, in lists that fit an IN."""
    return (ids[start : start + size] for start in range(0, len(ids), size))
