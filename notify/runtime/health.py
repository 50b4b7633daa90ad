"""What a process tells whoever watches it: alive, ready, metrics."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from notify.domain.errors import QueueError, StorageError
from notify.domain.ports import Queue, Storage

# A probe must answer before whoever probes gives up.
PROBE_WAIT_S: Final = 2.0
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def missing(storage: Storage, queue: Queue) -> list[str]:
    """What of database and queue does not do its part at the moment, as sentences."""
    found = await asyncio.gather(_of_storage(storage), _of_queue(queue))
    return [reason for reason in found if reason is not None]


async def _of_storage(storage: Storage) -> str | None:
    try:
        async with asyncio.timeout(PROBE_WAIT_S):
            await storage.config_version()
    except (StorageError, TimeoutError):
        return "the database does not answer"
    return None


async def _of_queue(queue: Queue) -> str | None:
    try:
        async with asyncio.timeout(PROBE_WAIT_S):
            epoch = await queue.epoch()
    except (QueueError, TimeoutError):
        return "the queue does not answer"
    return None if epoch is not None else "the queue is being rebuilt"


class HealthApp:
    """/healthz, /readyz and /metrics of a process that has no other routes (ASGI).

    not_ready: asked at each look, answers what is missing, nothing when ready.
    """

    def __init__(
        self, registry: CollectorRegistry, not_ready: Callable[[], Awaitable[list[str]]]
    ) -> None:
        self._registry = registry
        self._not_ready = not_ready

    async def __call__(self, scope: dict[str, Any], _: object, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, b"only GET is answered here\n", "text/plain")
        elif scope["path"] == "/healthz":
            await _answer_json(send, 200, {"status": "alive"})
        elif scope["path"] == "/readyz":
            reasons = await self._not_ready()
            if reasons:
                await _answer_json(send, 503, {"status": "not ready", "reasons": reasons})
            else:
                await _answer_json(send, 200, {"status": "ready"})
        elif scope["path"] == "/metrics":
            await _answer(send, 200, generate_latest(self._registry), CONTENT_TYPE_LATEST)
        else:
            text = b"there are /healthz, /readyz and /metrics\n"
            await _answer(send, 404, text, "text/plain")


async def _answer_json(send: Send, status: int, body: dict[str, Any]) -> None:
    await _answer(send, status, json.dumps(body).encode(), "application/json")


async def _answer(send: Send, status: int, body: bytes, content_type: str) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
