"""The way through an HTTP proxy: CONNECT, for https and http endpoints alike.

The proxy is given the endpoint's name and resolves it: what address it calls is not seen from
here, so the address guard holds for the proxy itself, for literal addresses and for the names
of this host and of metadata services (`AddressGuard.refusal_of_name`). Keeping it from calling
inside is the proxy's own configuration.
"""

import asyncio
import re
import socket
from base64 import b64encode
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from notify import __version__
from notify.domain.errors import InvalidInput, TransportError
from notify.domain.ports import Endpoint
from notify.transport.endpoint import parse_authority

ANSWER_BYTES_MAX = 16_384
URL_CHARS_MAX = 2048
REASON_CHARS_MAX = 100

_USERINFO = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*", re.ASCII)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]*))?\r\n")
_END = b"\r\n\r\n"


class Proxy(NamedTuple):
    """A parsed proxy URL. authorization: the header line of its credentials, "" for none."""

    host: str
    port: int
    authorization: str

    def __str__(self) -> str:
        return f"the proxy {_authority(self.host, self.port)}"

    def __repr__(self) -> str:
        return str(self)


@lru_cache(maxsize=1024)
def parse_proxy(url: str) -> Proxy:
    """The proxy of http://[user:password@]host:port. Raises InvalidInput, without secrets."""
    scheme, separator, rest = url.partition("://")
    if len(url) > URL_CHARS_MAX or scheme.lower() != "http" or not separator:
        raise InvalidInput("the proxy must be given as http://[user:password@]host:port")
    authority = rest.removesuffix("/")
    if re.search(r"[/\\?#\x00-\x20\x7f-\xa0]", authority):
        raise InvalidInput(
            "the proxy's URL ends after its port; write / ? # and blanks of a password as %xx"
        )
    userinfo, at, location = authority.rpartition("@")
    user, colon, password = userinfo.partition(":")
    if at and not (user and colon and _USERINFO.fullmatch(userinfo)):
        raise InvalidInput(
            "the proxy's credentials must be written user:password@, other characters as %xx"
        )
    try:
        host, port = parse_authority(location, 0)
    except InvalidInput:
        port = 0  # its text repeats what may be a password with its @ forgotten
    if not port:
        raise InvalidInput("the proxy's URL must end in host:port, a name or an address and a port")
    if not at:
        return Proxy(host, port, "")
    name = unquote_to_bytes(user)
    if b":" in name:
        raise InvalidInput("the proxy's user has a colon, which Basic credentials cannot carry")
    credentials = b64encode(name + b":" + unquote_to_bytes(password)).decode()
    return Proxy(host, port, f"proxy-authorization: Basic {credentials}\r\n")


async def open_tunnel(sock: socket.socket, proxy: Proxy, endpoint: Endpoint) -> None:
    """Have the proxy connect `sock` to the endpoint. Raises TransportError of the stage connect."""
    loop = asyncio.get_running_loop()
    goal = _authority(endpoint.host, endpoint.port)
    request = (
        f"CONNECT {goal} HTTP/1.1\r\nhost: {goal}\r\nuser-agent: notify/{__version__}\r\n"
        f"{proxy.authorization}\r\n"
    )
    answer = bytearray()
    try:
        await loop.sock_sendall(sock, request.encode("ascii"))
        while (end := answer.find(_END)) < 0:
            if len(answer) >= ANSWER_BYTES_MAX:
                raise TransportError(
                    "connect", f"{proxy} answers with more than {ANSWER_BYTES_MAX} bytes of headers"
                )
            piece = await loop.sock_recv(sock, ANSWER_BYTES_MAX)
            if not piece:
                raise TransportError("connect", f"{proxy} closed the connection without an answer")
            answer += piece
    except OSError as error:
        reason = error.strerror or str(error)
        raise TransportError("connect", f"{proxy} ended the connection: {reason}") from error
    refusal = _refusal(bytes(answer), goal)
    if refusal is None and len(answer) > end + len(_END):
        # TLS and HTTP servers wait for the client: whoever speaks first is not the endpoint.
        refusal = "sent more than its answer to CONNECT"
    if refusal is not None:
        raise TransportError("connect", f"{proxy} {refusal}")


def _refusal(answer: bytes, goal: str) -> str | None:
    status = _STATUS.match(answer)
    if status is None:
        return "does not answer CONNECT in HTTP/1.1; is this the address of an HTTP proxy?"
    code = int(status[1])
    if 200 <= code < 300:
        return None
    if code == 407:
        return "demands credentials (407); correct user and password in the consumer's proxy URL"
    reason = "".join(filter(str.isprintable, (status[2] or b"").decode("ascii", "replace")))
    return f"does not connect to {goal}: it answered {code} {reason[:REASON_CHARS_MAX]}".rstrip()


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
