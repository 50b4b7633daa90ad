"""The delivery client. Implements ports.Transport over pooled, bounded HTTP/1.1 connections."""

import asyncio
import logging
import ssl
from time import monotonic

from notify.config import SenderConfig
from notify.domain.errors import TransportError
from notify.domain.ports import Endpoint
from notify.transport.address import AddressGuard
from notify.transport.connect import Dialer
from notify.transport.exchange import Done, Exchange
from notify.transport.identity import default_context
from notify.transport.lookup import Lookup, system_lookup
from notify.transport.pool import STOPPING, Pools
from notify.transport.resolve import Resolver

log = logging.getLogger(__name__)


class HttpTransport:
    """One request at a time and connection, over at most connections_max connections.

    Must be made and used inside one running loop. ssl_context None: the system's authorities,
    TLS 1.2 or newer. `requests_in_flight` and `connections_open` are there as metrics.
    """

    def __init__(
        self,
        config: SenderConfig,
        ssl_context: ssl.SSLContext | None = None,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._resolver = Resolver(lookup)
        dialer = Dialer(
            AddressGuard(config.allow_cidrs),
            self._resolver,
            ssl_context or default_context(),
            config.connect_timeout_ms,
        )
        self._pools = Pools(config, dialer.dial)
        self._loop = asyncio.get_running_loop()
        self._dials: set[asyncio.Task[None]] = set()
        self.requests_in_flight = 0

    @property
    def connections_open(self) -> int:
        """Connections being opened, busy or idle."""
        return self._pools.open

    def send(
        self,
        endpoint: Endpoint,
        head: bytes,
        body: bytes,
        timeout_ms: int,
        kept_bytes: int,
        done: Done,
    ) -> Exchange:
        """Begin a request whose head is complete; done is called once, never from within.

        Written at once where an idle connection is there. A kept connection that the endpoint
        had closed is replaced once by a fresh one, as long as not a byte of an answer had come.
        """
        deadline = monotonic() + timeout_ms / 1000
        exchange = Exchange(self, endpoint, head, body, timeout_ms, deadline, kept_bytes, done)
        self.requests_in_flight += 1
        connection = self._pools.take(endpoint)
        if connection is None:
            self.dial(exchange)
        elif not connection.begin(exchange):
            exchange.replace()
        return exchange

    def dial(self, exchange: Exchange) -> None:
        """Begin the exchange on a fresh connection as soon as there is one."""
        task = self._loop.create_task(self._dial(exchange))
        exchange.task = task
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def close(self) -> None:
        """Close every connection. Requests under way fail with the stage "closed"."""
        dials = list(self._dials)
        for task in dials:
            task.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        await self._pools.close()
        await self._resolver.close()

    async def _dial(self, exchange: Exchange) -> None:
        error: TransportError | None = None
        try:
            connection = await self._pools.connect(
                exchange.endpoint, exchange.timeout_ms, exchange.deadline
            )
        except TransportError as told:
            error = told
        except asyncio.CancelledError:
            exchange.end(None, TransportError("closed", STOPPING))
            raise
        except Exception:
            log.exception("connecting to %s failed", exchange.endpoint.host)
            error = TransportError(
                "connect", "connecting failed inside Notify, see the Sender's log"
            )
        exchange.task = None
        if error is not None:
            exchange.end(None, error)
        elif exchange.over:
            # Cancelled in the very moment in which the connection was there.
            connection.give_up()
        elif not connection.begin(exchange):
            exchange.replace()
