"""How a subscription wants to be delivered to, beside when a try is repeated (retry.py)."""

import math
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from notify.domain.errors import InvalidInput

GONE: Final = 410
PERMANENT_DEFAULT: Final = (GONE,)
CODE_LEAST: Final = 300
CODE_MAX: Final = 599
CODES_MAX: Final = 50
CLASSES: Final = ("3xx", "4xx", "5xx")
# "Later" and "slow down", not "never": a class does not mean them, whoever does names them.
TEMPORARY_CODES: Final = frozenset({408, 425, 429})

RATE_LEAST: Final = 0.01
RATE_MAX: Final = 100_000
BATCH_SIZE_LEAST: Final = 2
BATCH_SIZE_MAX: Final = 1000
BATCH_WAIT_MS_MAX: Final = 60_000
BATCH_BYTES_LEAST: Final = 1024
BATCH_BYTES_MAX: Final = 16 << 20
BATCH_BYTES_DEFAULT: Final = 1 << 20


class Ordering(StrEnum):
    """What has to be finished before a delivery is tried: nothing, its key's, or all before it."""

    NONE = "none"
    KEY = "key"
    STRICT = "strict"


class BatchFormat(StrEnum):
    """How several deliveries are written into one request."""

    JSON = "json"
    NDJSON = "ndjson"


class Batch(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Several deliveries in one request.

    size_max: deliveries of one request, 2 to 1000. format: a JSON array, or a line for each.
    wait_ms: how long a request that is not full waits for more, 0 to 60000. bytes_max: of the
    payloads together, 1 KiB to 16 MiB; a payload larger than that goes alone.
    """

    size_max: int
    format: BatchFormat
    wait_ms: int = 0
    bytes_max: int = BATCH_BYTES_DEFAULT


def check_batch(batch: Batch) -> Batch:
    """The batch policy itself. Raises InvalidInput where it is out of bounds."""
    for name, value, least, most in (
        ("size_max", batch.size_max, BATCH_SIZE_LEAST, BATCH_SIZE_MAX),
        ("wait_ms", batch.wait_ms, 0, BATCH_WAIT_MS_MAX),
        ("bytes_max", batch.bytes_max, BATCH_BYTES_LEAST, BATCH_BYTES_MAX),
    ):
        if not least <= value <= most:
            raise InvalidInput(f"batch.{name} must be {least} to {most}")
    return batch


def check_rate(rate_per_s: float | None, rate_burst: int | None) -> None:
    """Raises InvalidInput where a rate limit is out of bounds, or a burst has no rate."""
    if rate_per_s is not None and not RATE_LEAST <= rate_per_s <= RATE_MAX:
        raise InvalidInput(f"rate_per_s must be {RATE_LEAST} to {RATE_MAX}")
    if rate_burst is None:
        return
    if rate_per_s is None:
        raise InvalidInput("rate_burst needs rate_per_s: give both, or set rate_burst to null")
    if not 1 <= rate_burst <= RATE_MAX:
        raise InvalidInput(f"rate_burst must be 1 to {RATE_MAX}")


def burst_of(rate_per_s: float, rate_burst: int | None) -> int:
    """How many tries may begin at once after a silence: as configured, or a second's worth."""
    return rate_burst or max(1, math.ceil(rate_per_s))


def check_permanent_codes(codes: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The codes themselves. Raises InvalidInput where one is no failure's code or class."""
    if len(codes) > CODES_MAX:
        raise InvalidInput(f"permanent_codes holds at most {CODES_MAX} codes")
    for code in codes:
        known = code in CLASSES if isinstance(code, str) else CODE_LEAST <= code <= CODE_MAX
        if not known:
            raise InvalidInput(
                f"permanent_codes: {code!r} is not one of {CODE_LEAST} to {CODE_MAX}, "
                + ", ".join(f'"{name}"' for name in CLASSES)
            )
    return codes


@lru_cache(maxsize=1024)
def permanent_set(codes: tuple[int | str, ...]) -> frozenset[int]:
    """Every status code that these codes and classes mean."""
    return frozenset(number for code in codes for number in _meant(code))


def _meant(code: int | str) -> Iterable[int]:
    if isinstance(code, int):
        return (code,)
    first = int(code[0]) * 100
    return frozenset(range(first, first + 100)) - TEMPORARY_CODES
