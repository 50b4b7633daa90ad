"""Route of the account of every subscription."""

from notify.api.context import Context
from notify.api.routing import Call, Route
from notify.api.shapes import Stats, SubscriptionStats
from notify.api.subscriptions import EVERYTHING
from notify.domain.model import Directory, LedgerRow
from notify_core.records import UNMATCHED_SUB


async def stats(context: Context, call: Call) -> Stats:  # noqa: ARG001 - every handler takes both
    """Show the account of all subscriptions: live ones, and deleted ones that matched."""
    await context.directory.refresh()
    rows = {
        row.subscription_id: row
        for row in await context.storage.ledger()
        if row.subscription_id != UNMATCHED_SUB
    }
    for subscription_id in context.directory.live_subscriptions:
        rows.setdefault(subscription_id, LedgerRow(subscription_id=subscription_id))
    directory = context.directory.current
    return Stats(subscriptions=[_shown(rows[number], directory) for number in sorted(rows)])


def _shown(row: LedgerRow, directory: Directory) -> SubscriptionStats:
    subscription = directory.subscriptions.get(row.subscription_id)
    producer = directory.producers.get(subscription.producer_id) if subscription else None
    consumer = directory.consumers.get(subscription.consumer_id) if subscription else None
    return SubscriptionStats(
        id=row.subscription_id,
        producer_id=subscription.producer_id if subscription else None,
        producer=producer.name if producer else None,
        consumer_id=subscription.consumer_id if subscription else None,
        consumer=consumer.name if consumer else None,
        types=(subscription.types or EVERYTHING) if subscription else (),
        status=subscription.status.value if subscription else "unknown",
        deleted=subscription is None or subscription.deleted_ms > 0,
        matched=row.matched,
        delivered=row.delivered,
        dropped=row.dropped,
        queued=row.queued,
        pending=row.pending,
        difference=row.difference,
    )


ROUTES = (
    Route("GET", "/v1/stats", "getStats", "The account of every subscription: matched ="
          " delivered + dropped + queued + pending", "stats", stats, Stats),
)  # fmt: skip
