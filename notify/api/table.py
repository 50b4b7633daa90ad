"""The one list of routes: the application and the OpenAPI document are both made from it."""

from typing import Final

from notify.api import consumers, health, producers, replays, stats, subscriptions, traces
from notify.api.intake import PATH
from notify.api.routing import Access, Route
from notify.api.shapes import Accepted
from notify_core.body import Item

OPENAPI_PATH: Final = "/openapi.json"

ACCEPT: Final = Route(
    "POST",
    PATH,
    "acceptMessages",
    "Store messages durably, all or nothing; 202 says they are committed",
    "messages",
    None,
    Accepted,
    202,
    Access.PRODUCER,
    body=Item,
    request_media={
        "application/json": "one or many",
        "application/x-ndjson": None,
        "application/msgpack": "many",
    },
)
ROUTES: Final = (
    ACCEPT,
    *traces.ROUTES,
    *replays.ROUTES,
    *producers.ROUTES,
    *consumers.ROUTES,
    *subscriptions.ROUTES,
    *stats.ROUTES,
    *health.ROUTES,
)
