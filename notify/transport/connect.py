"""From an endpoint to a connected, checked and (over TLS) verified connection.

The socket leads to the endpoint or to the proxy of its identity; TLS is with the endpoint.
"""

import asyncio
import socket
import ssl
from time import monotonic
from typing import cast

from notify.domain.errors import InvalidInput, TransportError
from notify.domain.ports import Endpoint, Identity
from notify.transport.address import AddressGuard
from notify.transport.connection import Connection, reason_of
from notify.transport.identity import context_of
from notify.transport.proxy import Proxy, open_tunnel, parse_proxy
from notify.transport.resolve import Resolver


class Dialer:
    """Opens connections. The socket goes to the very address that the guard has checked."""

    def __init__(
        self,
        guard: AddressGuard,
        resolver: Resolver,
        context: ssl.SSLContext,
        connect_timeout_ms: int,
    ) -> None:
        self._guard = guard
        self._resolver = resolver
        self._context = context
        self._connect_timeout_ms = connect_timeout_ms

    async def dial(
        self, endpoint: Endpoint, connection: Connection, deadline: float, timeout_ms: int
    ) -> None:
        """Connect `connection` before `deadline` (monotonic seconds) and the time-out.

        timeout_ms: of the whole try, for the error's text. Raises TransportError of the stage
        address, dns, connect, tls or timeout.
        """
        start = monotonic()
        limit_s = min(deadline, start + self._connect_timeout_ms / 1000) - start
        proxy = self._proxy(endpoint)
        hop = proxy or endpoint
        stage = _Stage(f"looking up {hop.host}")
        try:
            async with asyncio.timeout(max(0.0, limit_s)):
                sock = await self._connected(hop, start + limit_s, stage)
                try:
                    if proxy is not None:
                        stage.text = f"waiting for {proxy} to connect to {endpoint.host}"
                        await open_tunnel(sock, proxy, endpoint)
                    if endpoint.tls:
                        stage.text = f"connected, in the TLS handshake with {endpoint.host}"
                    await self._attach(endpoint, connection, sock)
                except BaseException:
                    sock.close()
                    raise
        except TimeoutError:
            self._resolver.forget(hop.host)
            limit_ms = min(timeout_ms, self._connect_timeout_ms)
            raise TransportError(
                "timeout", f"not connected within {limit_ms} ms ({stage.text})"
            ) from None

    def _proxy(self, endpoint: Endpoint) -> Proxy | None:
        """The proxy to go through, where it may be asked for this endpoint."""
        if endpoint.identity is None or not endpoint.identity.proxy:
            return None
        refusal = self._guard.refusal_of_name(endpoint.host)
        if refusal is not None:
            raise TransportError("address", refusal)
        try:
            return parse_proxy(endpoint.identity.proxy)
        except InvalidInput as error:
            raise TransportError("connect", str(error)) from None

    def _checked(self, addresses: list[str], of_proxy: str) -> list[str]:
        allowed = []
        refusals = []
        for address in addresses:
            refusal = self._guard.refusal(address)
            if refusal is None:
                allowed.append(address)
            else:
                refusals.append(refusal)
        if not allowed:
            raise TransportError("address", of_proxy + "; ".join(refusals))
        return allowed

    async def _connected(
        self, hop: Endpoint | Proxy, deadline: float, stage: "_Stage"
    ) -> socket.socket:
        """The first address that accepts; each gets an equal share of what time is left."""
        of_proxy = "the proxy at " if isinstance(hop, Proxy) else ""
        found = await self._resolver.addresses(hop.host, hop.port)
        addresses = self._checked(found, of_proxy)
        problem = ""
        for position, address in enumerate(addresses):
            stage.text = f"connecting to {address} port {hop.port}"
            left_s = max(0.0, deadline - monotonic())
            try:
                async with asyncio.timeout(left_s / (len(addresses) - position)):
                    return await _connect(address, hop.port)
            except TimeoutError:
                if position == len(addresses) - 1:
                    raise
                problem = f"{address} port {hop.port} does not answer"
            except OSError as error:
                problem = f"{address} port {hop.port}: {reason_of(error)}"
        self._resolver.forget(hop.host)
        tried = f" (the last of {len(addresses)} addresses)" if len(addresses) > 1 else ""
        raise TransportError("connect", f"no connection to {of_proxy}{problem}{tried}")

    async def _attach(
        self, endpoint: Endpoint, connection: Connection, sock: socket.socket
    ) -> None:
        loop = asyncio.get_running_loop()
        # Compiled, it can be no subclass of asyncio.Protocol, it only behaves as one.
        protocol = cast("asyncio.Protocol", connection)
        if not endpoint.tls:
            await loop.create_connection(lambda: protocol, sock=sock)
            return
        try:
            await loop.create_connection(
                lambda: protocol,
                sock=sock,
                ssl=await self._context_for(endpoint.identity),
                server_hostname=endpoint.host,
                # The dial's own time-out comes first; this only lifts the loop's default.
                ssl_handshake_timeout=self._connect_timeout_ms / 1000 + 1,
            )
        except ssl.SSLCertVerificationError as error:
            raise TransportError(
                "tls", f"the certificate of {endpoint.host} is refused: {error.verify_message}"
            ) from error
        except ssl.SSLError as error:
            raise TransportError(
                "tls", f"no TLS with {endpoint.host}: {reason_of(error)}"
            ) from error
        except OSError as error:
            raise TransportError(
                "tls",
                f"{endpoint.host} ended the TLS handshake: {reason_of(error)}",
            ) from error

    async def _context_for(self, identity: Identity | None) -> ssl.SSLContext:
        if identity is None or not (identity.ca or identity.certificate):
            return self._context
        try:
            return await asyncio.to_thread(context_of, identity)
        except InvalidInput as error:
            raise TransportError("tls", str(error)) from None


class _Stage:
    """How far a dial has come, for the text of its time-out."""

    def __init__(self, text: str) -> None:
        self.text = text


async def _connect(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock
