"""Routes for whoever watches this process: alive, ready, metrics."""

import asyncio
import logging

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from notify.api.context import Context
from notify.api.problems import NotReady
from notify.api.routing import Access, Call, Plain, Route
from notify.api.shapes import Health
from notify.domain.errors import Busy, StorageError
from notify.runtime.health import PROBE_WAIT_S, missing
from notify_core.records import UNMATCHED_SUB

_log = logging.getLogger(__name__)


async def alive(context: Context, call: Call) -> Health:  # noqa: ARG001 - every handler takes both
    """The event loop turns: that is all this says."""
    return Health(status="alive")


async def ready(context: Context, call: Call) -> Health:  # noqa: ARG001 - every handler takes both
    """Messages can be accepted and will be delivered. Raises NotReady."""
    reasons = await missing(context.storage, context.queue)
    try:
        context.message_ids.make(0)
    except Busy as error:
        reasons.append(str(error))
    if reasons:
        raise NotReady(reasons)
    return Health(status="ready")


async def metrics(context: Context, call: Call) -> Plain:  # noqa: ARG001 - every handler takes both
    """Everything counted in this process; the ledger is read from the database first."""
    counted = context.metrics
    try:
        async with asyncio.timeout(PROBE_WAIT_S):
            rows = await context.storage.ledger()
        counted.ledger.rows = [row for row in rows if row.subscription_id != UNMATCHED_SUB]
        counted.ledger_up.set(1)
    except (StorageError, TimeoutError) as error:
        _log.warning("the ledger cannot be read for the metrics: %s", error or "no answer")
        counted.ledger.rows = []
        counted.ledger_up.set(0)
    return Plain(generate_latest(counted.registry), CONTENT_TYPE_LATEST)


ROUTES = (
    Route("GET", "/healthz", "alive", "Whether this process lives", "health", alive, Health,
          access=Access.ANYONE),
    Route("GET", "/readyz", "ready", "Whether messages can be accepted: database, queue and ids"
          " are there", "health", ready, Health, access=Access.ANYONE, errors=(503,)),
    Route("GET", "/metrics", "metrics", "Metrics for Prometheus", "health", metrics, str,
          access=Access.ANYONE, media="text/plain"),
)  # fmt: skip
