"""A request whose answer somebody waits for: tokens and consent, not deliveries."""

import asyncio

from notify.domain.errors import TransportError
from notify.domain.ports import Answer, Endpoint, Transport


async def ask(
    transport: Transport, endpoint: Endpoint, head: bytes, body: bytes, timeout_ms: int, kept: int
) -> Answer:
    """The answer, up to `kept` bytes of its body. Raises TransportError."""
    waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(answer: Answer | None, error: TransportError | None) -> None:
        if waiting.done():
            return
        if answer is not None:
            waiting.set_result(answer)
        else:
            waiting.set_exception(error or TransportError("closed", "there was no answer"))

    exchange = transport.send(endpoint, head, body, timeout_ms, kept, done)
    try:
        return await waiting
    except asyncio.CancelledError:
        exchange.cancel()
        raise
