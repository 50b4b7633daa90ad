"""Consumer URLs: what is accepted, in one canonical form, and the start of their requests.

The grammar is narrower than RFC 3986 on purpose. Whatever two parsers could read in two ways
(credentials, backslashes, blanks, odd numbers as hosts) is refused instead of being repaired,
so that the host which was checked is the host that is called.
"""

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from notify import __version__
from notify.domain.errors import InvalidInput
from notify.domain.ports import Endpoint, Identity
from notify_core.headers import HEADERS_BYTES_MAX, RESERVED_OF_CONSUMERS, find_flaw

URL_CHARS_MAX = 2048

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_CHARS_MAX = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
# RFC 3986 path and query, and the square brackets that query strings use everywhere.
_TARGET = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]")
# IDNA 2003 (Python's codec) and 2008 (browsers) make different domains of these.
_IDNA_DEVIATIONS = re.compile("[\u00df\u03c2\u200c\u200d\u1e9e]")


def parse_endpoint(url: str, identity: Identity | None = None) -> Endpoint:
    """The endpoint of an absolute http or https URL. Raises InvalidInput: what to correct."""
    if len(url) > URL_CHARS_MAX:
        raise InvalidInput(f"the URL is longer than {URL_CHARS_MAX} characters")
    if _CONTROL.search(url):
        raise InvalidInput("the URL contains a blank or a control character")
    if "\\" in url:
        raise InvalidInput("the URL contains a backslash; write /")
    if "#" in url:
        raise InvalidInput("the URL has a fragment (#…), which is never sent; leave it out")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS:
        raise InvalidInput("the URL must start with http:// or https://")
    authority, path, query = _split(rest)
    if "@" in authority:
        raise InvalidInput("the URL carries credentials; set a header of the consumer instead")
    host, port = parse_authority(authority, _DEFAULT_PORTS[scheme])
    target = (path or "/") + query
    if not _TARGET.fullmatch(target):
        raise InvalidInput("the URL's path or query has a character that must be percent-encoded")
    return Endpoint(scheme == "https", host, port, identity, target)


def parse_authority(authority: str, default_port: int) -> tuple[str, int]:
    """Host and port of `host[:port]`. Raises InvalidInput: what to correct in the URL."""
    host_text, port_text = _split_port(authority)
    return _host(host_text), default_port if port_text is None else _port(port_text)


def host_header(endpoint: Endpoint) -> str:
    """The value of `host:`; a default port is left out, as RFC 9110 section 7.2 wants."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    default = _DEFAULT_PORTS["https" if endpoint.tls else "http"]
    return host if endpoint.port == default else f"{host}:{endpoint.port}"


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse a consumer's static headers that could break a request. Raises InvalidInput."""
    flaw = find_flaw(headers, RESERVED_OF_CONSUMERS, HEADERS_BYTES_MAX)
    if flaw is not None:
        raise InvalidInput(flaw)


def request_prefix(endpoint: Endpoint, static_headers: Mapping[str, str]) -> bytes:
    """Request line, host, user-agent and the consumer's headers, each line ended with CRLF.

    The Sender adds the headers of the delivery and the blank line. A consumer may set its own
    user-agent. Raises InvalidInput as check_headers does.
    """
    check_headers(static_headers)
    lines = [f"POST {endpoint.target} HTTP/1.1", f"host: {host_header(endpoint)}"]
    if "user-agent" not in {name.lower() for name in static_headers}:
        lines.append(f"user-agent: notify/{__version__}")
    lines += [f"{name.lower()}: {value}" for name, value in static_headers.items()]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _split(rest: str) -> tuple[str, str, str]:
    """Authority, path ("" or from its slash on), query ("" or from its question mark on)."""
    before, question, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    return authority, slash + path, question + query


def _split_port(authority: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        host, bracket, after = authority.partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise InvalidInput("the URL's host must be written [address] or [address]:port")
        return host + bracket, after[1:] if after else None
    host, colon, port = authority.partition(":")
    if ":" in port:
        raise InvalidInput("an IPv6 address in a URL is written in square brackets")
    return host, port if colon else None


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise InvalidInput(f"the URL's port must be 1 to 65535, not {text!r}")
    return int(text)


def _host(text: str) -> str:
    if text.startswith("["):
        return _ipv6(text[1:-1])
    # IDNA maps full-width digits and dots to plain ones: every later check sees its result.
    host = _ascii_host(text).lower().removesuffix(".")
    if not host:
        raise InvalidInput("the URL has no host")
    labels = host.split(".")
    # The rule of the WHATWG URL standard: a host whose last label is a number is an address.
    # Resolvers read 0x7f.1, 2130706433 and 0177.0.0.1 as 127.0.0.1.
    if _NUMBER_LABEL.fullmatch(labels[-1]):
        return _ipv4(host)
    if len(host) > _HOST_CHARS_MAX:
        raise InvalidInput(f"the URL's host is longer than {_HOST_CHARS_MAX} characters")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise InvalidInput(f"{text!r} is not a host name")
    return host


def _ascii_host(text: str) -> str:
    if text.isascii():
        return text
    if _IDNA_DEVIATIONS.search(text):
        raise InvalidInput(f"the host {text!r} is ambiguous; write it in punycode (xn--…)")
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidInput(f"the host {text!r} is not a valid international name") from None


def _ipv4(host: str) -> str:
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        raise InvalidInput(
            f"the host {host!r} is a number; write an IPv4 address as four decimal numbers"
        ) from None


def _ipv6(text: str) -> str:
    if "%" in text:
        raise InvalidInput("an IPv6 address in a URL cannot carry a scope id (%…)")
    try:
        return str(IPv6Address(text))
    except AddressValueError:
        raise InvalidInput(f"[{text}] is not an IPv6 address") from None
