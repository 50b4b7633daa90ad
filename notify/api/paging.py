"""Keyset paging over what is configured: stable while objects come and go."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from notify.api.routing import Call
from notify.api.shapes import Listed
from notify.domain.model import Record

R = TypeVar("R", bound=Record)
T = TypeVar("T")


def page(call: Call, records: Iterable[R], show: Callable[[R], T]) -> Listed[T]:
    """The existing records after the cursor, by rising id."""
    after = call.integer("after") or 0
    limit = call.limit()
    found = sorted(
        (record for record in records if not record.deleted_ms and record.id > after),
        key=lambda record: record.id,
    )
    part = found[:limit]
    more = len(found) > limit
    return Listed(items=[show(record) for record in part], next=str(part[-1].id) if more else None)
