"""Sets of keys as one JSON parameter, read in SQL with json_each."""

from collections.abc import Iterable

import msgspec

_encode = msgspec.json.Encoder().encode


def json_set(keys: Iterable[int | str | tuple[int | str, ...]]) -> str:
    """The JSON text of keys: plain ids or texts, or arrays of several parts."""
    return _encode(list(keys)).decode()
