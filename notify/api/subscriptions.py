"""Routes of subscriptions."""

import msgspec
from msgspec import UNSET

from notify.api.context import Context
from notify.api.moments import shown
from notify.api.paging import page
from notify.api.policies import check_policy
from notify.api.routing import PAGING, Call, Handler, Parameter, Route
from notify.api.shapes import (
    Listed,
    StatusChange,
    SubscriptionChange,
    SubscriptionNew,
    SubscriptionShown,
)
from notify.domain.errors import InvalidInput, NotFound
from notify.domain.model import Subscription, SubscriptionStatus
from notify.domain.policy import PERMANENT_DEFAULT, Ordering

EVERYTHING = ("*",)
# What may be given of a subscription, and what null stands for.
_FIELDS: dict[str, object] = {
    "types": (),
    "retry": None,
    "concurrency_max": None,
    "rate_per_s": None,
    "rate_burst": None,
    "permanent_codes": PERMANENT_DEFAULT,
    "ordering": Ordering.NONE,
    "batch": None,
}


def show(subscription: Subscription) -> SubscriptionShown:
    """What callers see of a subscription."""
    return SubscriptionShown(
        id=subscription.id,
        producer_id=subscription.producer_id,
        consumer_id=subscription.consumer_id,
        types=subscription.types or EVERYTHING,
        status=subscription.status.value,
        status_reason=subscription.status_reason,
        retry=subscription.retry,
        concurrency_max=subscription.concurrency_max,
        rate_per_s=subscription.rate_per_s,
        rate_burst=subscription.rate_burst,
        permanent_codes=subscription.permanent_codes,
        ordering=subscription.ordering,
        batch=subscription.batch,
        created_at=shown(subscription.created_ms),
        updated_at=shown(subscription.updated_ms),
    )


def existing(context: Context, subscription_id: int) -> Subscription:
    """The subscription. Raises NotFound."""
    subscription = context.directory.live_subscriptions.get(subscription_id)
    if subscription is None:
        raise NotFound(f"there is no subscription {subscription_id}")
    return subscription


async def create(context: Context, call: Call) -> SubscriptionShown:
    """Subscribe a consumer to a producer, from the next message on."""
    new: SubscriptionNew = call.body
    now_ms = context.clock.now_ms()
    async with context.changing:
        await context.directory.refresh()
        current = context.directory.current
        for kind, ids, number in (
            ("producer", current.producers, new.producer_id),
            ("consumer", current.consumers, new.consumer_id),
        ):
            if number not in ids or ids[number].deleted_ms:
                raise InvalidInput(f"{kind}_id: there is no {kind} {number}")
        blank = Subscription(
            id=0,
            created_ms=now_ms,
            updated_ms=now_ms,
            producer_id=new.producer_id,
            consumer_id=new.consumer_id,
        )
        subscription = msgspec.structs.replace(blank, **_given(new))
        check_policy(subscription, current.consumers[new.consumer_id])
        stored = await context.storage.add_subscription(subscription)
        await context.changed()
    return show(stored)


def _given(asked: SubscriptionNew | SubscriptionChange) -> dict[str, object]:
    """The fields that a caller gave, with what null stands for."""
    given = {name: getattr(asked, name) for name in _FIELDS}
    return {
        name: _FIELDS[name] if value is None else value
        for name, value in given.items()
        if value is not UNSET
    }


async def list_all(context: Context, call: Call) -> Listed[SubscriptionShown]:
    """Show subscriptions, of one producer or consumer where asked."""
    producer_id, consumer_id = call.integer("producer_id"), call.integer("consumer_id")
    await context.directory.refresh()
    wanted = (
        subscription
        for subscription in context.directory.live_subscriptions.values()
        if producer_id in (None, subscription.producer_id)
        and consumer_id in (None, subscription.consumer_id)
    )
    return page(call, wanted, show)


async def get(context: Context, call: Call) -> SubscriptionShown:
    """Show one subscription."""
    await context.directory.refresh()
    return show(existing(context, call.id()))


async def change(context: Context, call: Call) -> SubscriptionShown:
    """Change filter or policy of a subscription."""
    changes = _given(call.body)
    async with context.changing:
        await context.directory.refresh()
        subscription = existing(context, call.id())
        if changes:
            changed = msgspec.structs.replace(subscription, **changes)
            check_policy(changed, context.directory.current.consumers[changed.consumer_id])
            subscription = await _store(context, subscription, **changes)
        return show(subscription)


async def delete(context: Context, call: Call) -> None:
    """Delete a subscription; what still waits for it is dropped."""
    async with context.changing:
        await context.directory.refresh()
        subscription = existing(context, call.id())
        await _store(context, subscription, deleted_ms=context.clock.now_ms())


def _to(status: SubscriptionStatus) -> Handler:
    async def set_status(context: Context, call: Call) -> SubscriptionShown:
        asked = call.body or StatusChange()
        async with context.changing:
            await context.directory.refresh()
            subscription = existing(context, call.id())
            reason = "" if status is SubscriptionStatus.NORMAL else asked.reason
            stored = await context.storage.set_subscription_status(
                subscription.id, status, reason, context.clock.now_ms()
            )
            await context.changed()
        return show(stored)

    return set_status


async def _store(context: Context, subscription: Subscription, **changes: object) -> Subscription:
    changed = msgspec.structs.replace(subscription, updated_ms=context.clock.now_ms(), **changes)
    await context.storage.update_subscription(changed)
    await context.changed()
    return changed


_ONE = "/v1/subscriptions/{id}"
_OF = (
    Parameter("producer_id", "Only those of this producer", {"type": "integer"}),
    Parameter("consumer_id", "Only those of this consumer", {"type": "integer"}),
)
ROUTES = (
    Route("POST", "/v1/subscriptions", "createSubscription", "Subscribe a consumer to a producer",
          "subscriptions", create, SubscriptionShown, 201, body=SubscriptionNew),
    Route("GET", "/v1/subscriptions", "listSubscriptions", "List subscriptions", "subscriptions",
          list_all, Listed[SubscriptionShown], query=(*PAGING, *_OF)),
    Route("GET", _ONE, "getSubscription", "Show a subscription", "subscriptions", get,
          SubscriptionShown, errors=(404,)),
    Route("PATCH", _ONE, "changeSubscription", "Change filter or policy", "subscriptions", change,
          SubscriptionShown, body=SubscriptionChange, errors=(404,)),
    Route("DELETE", _ONE, "deleteSubscription", "Delete a subscription; what waits for it is"
          " dropped", "subscriptions", delete, status=204, errors=(404,)),
    Route("POST", _ONE + "/pause", "pauseSubscription", "Store what matches, deliver it after"
          " resume", "subscriptions", _to(SubscriptionStatus.PAUSED), SubscriptionShown,
          body=StatusChange, body_optional=True, errors=(404,)),
    Route("POST", _ONE + "/resume", "resumeSubscription", "Deliver, what was held back too",
          "subscriptions", _to(SubscriptionStatus.NORMAL), SubscriptionShown, body=StatusChange,
          body_optional=True, errors=(404,)),
    Route("POST", _ONE + "/discard", "discardSubscription", "Record what matches as dropped,"
          " deliver nothing", "subscriptions", _to(SubscriptionStatus.DISCARDED),
          SubscriptionShown, body=StatusChange, body_optional=True, errors=(404,)),
)  # fmt: skip
