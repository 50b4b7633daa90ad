"""Moments on the wire: RFC 3339 in UTC with milliseconds."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from notify.domain.errors import InvalidInput

Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def shown(ms: int) -> str:
    """Unix ms as `2024-01-31T08:00:00.000Z`."""
    moment = (_EPOCH + ms * _MS).isoformat(timespec="milliseconds")
    return moment.removesuffix("+00:00") + "Z"


def shown_or_none(ms: int) -> str | None:
    """Unix ms; None for 0, which stands for no moment."""
    return shown(ms) if ms else None


def read(text: str, name: str) -> int:
    """RFC 3339 as unix ms. Raises InvalidInput, naming the field."""
    try:
        # A plus sign that nobody escaped arrives as a space.
        moment: datetime = msgspec.convert(
            text.replace(" ", "+"), Annotated[datetime, msgspec.Meta(tz=True)]
        )
    except msgspec.ValidationError:
        raise InvalidInput(f"{name} must be a moment like 2024-01-31T08:00:00Z") from None
    return (moment - _EPOCH) // _MS
