"""Routes that show what became of messages: one message, and lists of deliveries."""

import base64
import re
from typing import Final

import msgspec

from notify.api.context import Context
from notify.api.moments import read, shown, shown_or_none
from notify.api.routing import PAGING, Access, Call, Parameter, Route
from notify.api.shapes import (
    AttemptShown,
    DeliveryShown,
    DeliveryTraced,
    Listed,
    MessageShown,
)
from notify.domain.errors import InvalidInput, NotFound
from notify.domain.model import Attempt, Delivery, DeliveryStatus, Message, Reason
from notify.domain.ports import DeliveryFilter
from notify_core import ids
from notify_core.body import JSON, MSGPACK, check_json
from notify_core.errors import BodyError

_CURSOR: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)
_STATUSES: Final = {status.name.lower(): status for status in DeliveryStatus}


async def get_message(context: Context, call: Call) -> MessageShown:
    """Show a message with its deliveries and tries: any to the operator, its own to a producer."""
    keys = context.keys
    owner_id = None
    if not keys.is_admin(call.authorization):
        owner_id = (await keys.producer(call.authorization)).id
    message_id = call.id()
    message = await context.storage.message(message_id)
    if message is None or owner_id not in (None, message.producer_id):
        raise NotFound(f"there is no message {message_id}")
    deliveries = await context.storage.deliveries(message_id)
    logs: dict[int, list[AttemptShown]] = {}
    for attempt in await context.storage.attempts(message_id):
        logs.setdefault(attempt.subscription_id, []).append(_attempt(attempt))
    encoding, payload = _payload(message)
    return MessageShown(
        id=str(message.id),
        producer_id=message.producer_id,
        type=message.type,
        key=message.key or None,
        ordering_key=message.ordering_key or None,
        content_type=message.content_type or "application/json",
        headers=message.headers,
        accepted_at=shown(ids.id_ms(message.id)),
        deliver_at=shown_or_none(message.deliver_ms),
        expires_at=shown_or_none(message.expires_ms),
        payload_encoding=encoding,
        payload=payload,
        deliveries=[
            DeliveryTraced(
                **msgspec.structs.asdict(show_delivery(delivery)),
                log=logs.get(delivery.subscription_id, []),
            )
            for delivery in deliveries
        ],
    )


async def list_deliveries(context: Context, call: Call) -> Listed[DeliveryShown]:
    """Show deliveries, newest message first."""
    limit = call.limit()
    wanted = DeliveryFilter(
        subscription_id=call.integer("subscription_id"),
        status=_status(call.query.get("status")),
        since_ms=_moment(call, "since"),
        until_ms=_moment(call, "until"),
    )
    after = read_cursor(call.query.get("after"))
    items = await context.storage.list_deliveries(wanted, after, limit + 1)
    part = items[:limit]
    last = cursor(part[-1]) if len(items) > limit else None
    return Listed(items=[show_delivery(item) for item in part], next=last)


def cursor(delivery: Delivery) -> str:
    """Where the part of a list that begins behind this delivery begins."""
    return f"{delivery.message_id}-{delivery.subscription_id}"


def read_cursor(text: str | None) -> tuple[int, int] | None:
    """Message and subscription behind which to go on. Raises InvalidInput."""
    if text is None:
        return None
    found = _CURSOR.fullmatch(text)
    if not found:
        raise InvalidInput("after must be the `next` of the previous part")
    return int(found[1]), int(found[2])


def _payload(message: Message) -> tuple[str, msgspec.Raw]:
    """The payload for embedding: JSON as it is, anything else as base64 text."""
    is_json = message.content_type == JSON
    if not is_json and message.content_type != MSGPACK:
        try:
            check_json(message.payload)
            is_json = True
        except BodyError:
            pass
    if is_json:
        return "json", msgspec.Raw(message.payload)
    return "base64", msgspec.Raw(b'"%s"' % base64.b64encode(message.payload))


def show_delivery(delivery: Delivery) -> DeliveryShown:
    """What callers see of a delivery; of an earlier run only the log tells."""
    dropped = delivery.status == DeliveryStatus.DROPPED
    return DeliveryShown(
        message_id=str(delivery.message_id),
        subscription_id=delivery.subscription_id,
        status=DeliveryStatus(delivery.status).name.lower(),
        attempts=delivery.attempts,
        reason=Reason(delivery.reason).name.lower() if dropped else None,
        due_at=shown_or_none(delivery.due_ms),
        updated_at=shown(delivery.updated_ms),
    )


def _attempt(attempt: Attempt) -> AttemptShown:
    return AttemptShown(
        attempt=attempt.attempt,
        at=shown(attempt.at_ms),
        latency_ms=attempt.latency_ms,
        code=attempt.code or None,
        error=attempt.error or None,
        response=attempt.response.decode("utf-8", "replace"),
    )


def _status(text: str | None) -> DeliveryStatus | None:
    if text is None:
        return None
    if text not in _STATUSES:
        raise InvalidInput(f"status must be one of {', '.join(_STATUSES)}")
    return _STATUSES[text]


def _moment(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    return None if text is None else read(text, name)


_MOMENT: Final = {"type": "string", "format": "date-time"}
_FILTER: Final = (
    Parameter("subscription_id", "Only those of this subscription", {"type": "integer"}),
    Parameter("status", "Only those that stand so", {"type": "string", "enum": list(_STATUSES)}),
    Parameter("since", "Only of messages accepted at or after this moment", _MOMENT),
    Parameter("until", "Only of messages accepted before this moment", _MOMENT),
)
ROUTES = (
    Route("GET", "/v1/messages/{id}", "getMessage", "Show a message, its deliveries and their"
          " tries; a producer sees its own", "messages", get_message, MessageShown,
          access=Access.EITHER, errors=(404,)),
    Route("GET", "/v1/deliveries", "listDeliveries", "List deliveries, newest message first",
          "deliveries", list_deliveries, Listed[DeliveryShown], query=(*PAGING, *_FILTER)),
)  # fmt: skip
