"""One request to be awaited, for callers that have a task of their own for each."""

import asyncio

from notify.domain.errors import TransportError
from notify.domain.ports import Answer, Endpoint, Transport


async def post(
    transport: Transport,
    endpoint: Endpoint,
    head: bytes,
    body: bytes,
    timeout_ms: int,
    kept_bytes: int,
) -> Answer:
    """Send a request whose head is complete. Raises TransportError; to cancel closes."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(answer: Answer | None, error: TransportError | None) -> None:
        if future.done():
            return
        if answer is not None:
            future.set_result(answer)
        elif error is not None:
            future.set_exception(error)

    exchange = transport.send(endpoint, head, body, timeout_ms, kept_bytes, done)
    try:
        return await future
    finally:
        exchange.cancel()
