"""The HTTP delivery client: endpoints, the address guard, and requests within strict bounds."""

from notify.transport.address import AddressGuard
from notify.transport.client import HttpTransport
from notify.transport.endpoint import check_headers, host_header, parse_endpoint, request_prefix
from notify.transport.post import post

__all__ = [
    "AddressGuard",
    "HttpTransport",
    "check_headers",
    "host_header",
    "parse_endpoint",
    "post",
    "request_prefix",
]
