"""The delivery client. Implements ports.Transport over pooled, bounded HTTP/1.1 connections."""

import ssl
from time import monotonic

from notify.config import SenderConfig
from notify.domain.errors import TransportError
from notify.domain.ports import Answer, Endpoint
from notify.transport.address import AddressGuard
from notify.transport.connect import Dialer
from notify.transport.connection import StaleConnection
from notify.transport.identity import default_context
from notify.transport.lookup import Lookup, system_lookup
from notify.transport.pool import Pools
from notify.transport.resolve import Resolver


class HttpTransport:
    """One request at a time and connection, over at most in_flight_max connections.

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
        self.requests_in_flight = 0

    @property
    def connections_open(self) -> int:
        """Connections being opened, busy or idle."""
        return self._pools.open

    async def post(self, endpoint: Endpoint, head: bytes, body: bytes, timeout_ms: int) -> Answer:
        """Send a request whose head is complete. Raises TransportError, names its stage.

        A kept connection that the endpoint had closed is replaced once by a fresh one, as long
        as not a byte of an answer had come. Cancelling closes the connection.
        """
        deadline = monotonic() + timeout_ms / 1000
        pools = self._pools
        self.requests_in_flight += 1
        connection = pools.take(endpoint)
        try:
            if connection is not None:
                try:
                    return await connection.exchange(head, body, timeout_ms, deadline)
                except StaleConnection:
                    connection = None
            connection = await pools.connect(endpoint, timeout_ms, deadline)
            try:
                return await connection.exchange(head, body, timeout_ms, deadline)
            except StaleConnection:
                raise TransportError(
                    "closed", "the endpoint closed the connection as soon as it was made"
                ) from None
        finally:
            self.requests_in_flight -= 1
            if connection is not None:
                pools.give_back(connection)

    async def close(self) -> None:
        """Close every connection. Requests under way fail with the stage "closed"."""
        await self._pools.close()
        await self._resolver.close()
