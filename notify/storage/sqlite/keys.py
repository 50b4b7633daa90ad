"""Sets of keys as one JSON parameter, read in SQL with json_each."""

from collections.abc import Iterable

import msgspec

_encode = msgspec.json.Encoder().encode


def json_set(keys: Iterable[int | tuple[int | str, ...]]) -> str:
    """The JSON text of keys: plain ids, or arrays of several parts."""
    return _encode(list(keys)).decode()
