"""Routes that have dead letters delivered after all."""

from typing import Final

from notify.api.context import Context
from notify.api.moments import read
from notify.api.routing import Call, Route
from notify.api.shapes import DeliveryShown, ReplayAsked, Replayed
from notify.api.subscriptions import existing
from notify.api.traces import cursor, read_cursor, show_delivery
from notify.domain.errors import Conflict, NotFound
from notify.domain.model import Delivery, DeliveryStatus, Reason, Subscription, SubscriptionStatus
from notify.domain.ports import DeliveryFilter
from notify_core.records import UNMATCHED_SUB

# Of one statement, and of one request: what is replayed, and what is looked at.
STEP_ROWS: Final = 500
REPLAYED_MAX: Final = 10_000
READ_MAX: Final = 100_000


async def replay_one(context: Context, call: Call) -> DeliveryShown:
    """Deliver one dead letter after all."""
    message_id, sub_id = call.id("message"), call.id("subscription")
    delivery = await _delivery(context, message_id, sub_id)
    if sub_id == UNMATCHED_SUB:
        raise Conflict(f"message {message_id} matched no subscription: nobody would get it")
    await context.directory.refresh()
    subscription = context.directory.live_subscriptions.get(sub_id)
    if subscription is None:
        raise Conflict(f"subscription {sub_id} is deleted: nothing is delivered to it any more")
    _check_delivers(subscription)
    replayed = await context.storage.replay([(message_id, sub_id)], context.clock.now_ms())
    if not replayed:
        status = DeliveryStatus(delivery.status).name.lower()
        raise Conflict(f"the delivery is {status}, only a dropped one can be replayed")
    return show_delivery(await _delivery(context, message_id, sub_id))


async def replay_many(context: Context, call: Call) -> Replayed:
    """Deliver dead letters of a subscription after all, newest message first, up to a bound."""
    asked: ReplayAsked = call.body or ReplayAsked()
    wanted = DeliveryFilter(
        subscription_id=call.id(),
        status=DeliveryStatus.DROPPED,
        since_ms=None if asked.since is None else read(asked.since, "since"),
        until_ms=None if asked.until is None else read(asked.until, "until"),
    )
    reasons = set(Reason) if asked.reasons is None else {Reason[r.upper()] for r in asked.reasons}
    after = read_cursor(asked.after)
    await context.directory.refresh()
    _check_delivers(existing(context, call.id()))
    replayed = seen = 0
    while True:
        found = await context.storage.list_deliveries(wanted, after, STEP_ROWS)
        keys = [(one.message_id, one.subscription_id) for one in found if one.reason in reasons]
        if keys:
            replayed += await context.storage.replay(keys, context.clock.now_ms())
        if len(found) < STEP_ROWS:
            return Replayed(replayed=replayed, more=False, next=None)
        seen += len(found)
        if replayed + STEP_ROWS > REPLAYED_MAX or seen >= READ_MAX:
            return Replayed(replayed=replayed, more=True, next=cursor(found[-1]))
        after = (found[-1].message_id, found[-1].subscription_id)


async def _delivery(context: Context, message_id: int, sub_id: int) -> Delivery:
    for delivery in await context.storage.deliveries(message_id):
        if delivery.subscription_id == sub_id:
            return delivery
    raise NotFound(f"there is no delivery of message {message_id} to subscription {sub_id}")


def _check_delivers(subscription: Subscription) -> None:
    if subscription.status is SubscriptionStatus.DISCARDED:
        raise Conflict(
            f"subscription {subscription.id} discards what matches: resume or pause it first"
        )


ROUTES = (
    Route("POST", "/v1/deliveries/{message}/{subscription}/replay", "replayDelivery",
          "Deliver a dropped delivery after all", "deliveries", replay_one, DeliveryShown,
          errors=(404, 409)),
    Route("POST", "/v1/subscriptions/{id}/replay", "replaySubscription",
          "Deliver a subscription's dropped deliveries after all", "subscriptions", replay_many,
          Replayed, body=ReplayAsked, body_optional=True, errors=(404, 409)),
)  # fmt: skip
