"""Which connected addresses a Sender may call: the guard against requests into our own network.

The check runs on the address that the socket is about to be connected to, after the name was
resolved, so a name that changes its mind (DNS rebinding) gains nothing. The tables are written
out (IANA special-purpose registries, RFC 6890) and do not lean on `ipaddress.is_global`, whose
answers differ between patch releases of Python.
"""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class _Range(NamedTuple):
    network: Network
    what: str


def _table(text: str) -> tuple[_Range, ...]:
    rows = (line.split(None, 1) for line in text.strip().splitlines())
    return tuple(_Range(ip_network(network), what) for network, what in rows)


# No operator setting opens these: metadata services hand out the host's own credentials, and
# an address that embeds another one would carry a refused address past the tables below.
_NEVER = _table(
    """
    0.0.0.0/8           an unspecified address
    169.254.0.0/16      link-local, where cloud metadata services live
    168.63.129.16/32    the metadata address of Azure
    100.100.100.200/32  the metadata address of Alibaba Cloud
    192.0.0.192/32      the metadata address of Oracle Cloud
    192.88.99.0/24      the 6to4 relay range
    224.0.0.0/4         multicast
    255.255.255.255/32  broadcast
    ::/128              an unspecified address
    fd00:ec2::/32       the metadata range of AWS
    fd20:ce::254/128    the metadata address of Google Cloud
    fd00:42::42/128     the metadata address of Scaleway
    fe80::/10           link-local
    ff00::/8            multicast
    ::ffff:0:0/96       an IPv4 address written as IPv6
    ::ffff:0:0:0/96     a translated IPv4 address
    64:ff9b::/96        a NAT64 address
    64:ff9b:1::/48      a local NAT64 address
    2001::/32           a Teredo tunnel address
    2002::/16           a 6to4 tunnel address
    """
)
# Names under which the same services are found: looked at where another one resolves them.
_NEVER_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)
# Callable where the operator's CIDR list names them.
_PRIVATE = _table(
    """
    10.0.0.0/8          a private address
    100.64.0.0/10       a carrier-grade NAT address
    127.0.0.0/8         a loopback address
    172.16.0.0/12       a private address
    192.0.0.0/24        an address of a protocol registry
    192.0.2.0/24        a documentation address
    192.168.0.0/16      a private address
    198.18.0.0/15       a benchmarking address
    198.51.100.0/24     a documentation address
    203.0.113.0/24      a documentation address
    240.0.0.0/4         a reserved address
    ::1/128             a loopback address
    fc00::/7            a private address
    fec0::/10           a site-local address
    2001::/23           an address of a protocol registry
    2001:db8::/32       a documentation address
    3fff::/20           a documentation address
    """
)
# The compatible form embeds an IPv4 address too; ::1 is the one address in it with a use.
_COMPATIBLE = IPv6Network("::/96")
_LOOPBACK_6 = IPv6Address("::1")
# ISATAP (RFC 5214) embeds one in the lower half of any prefix, behind 0000:5efe or 0200:5efe.
_ISATAP, _ISATAP_MASK = 0x5EFE, 0xFDFFFFFF
# Everything that IANA has handed out for the public internet.
_GLOBAL_6 = IPv6Network("2000::/3")


class AddressGuard:
    """Decides by the tables above and the operator's CIDR list (`sender.allow_cidrs`)."""

    def __init__(self, allow_cidrs: Iterable[str]) -> None:
        self._allowed: tuple[Network, ...] = tuple(ip_network(cidr) for cidr in allow_cidrs)

    def refusal(self, text: str) -> str | None:
        """Why `text`, an address as the resolver gives it, must not be called; None: it may."""
        if "%" in text:
            return f"{text} carries a scope id, which names an interface of this host"
        try:
            address = ip_address(text)
        except ValueError:
            return f"{text!r} is not an address"
        for network, what in _NEVER:
            if address in network:
                return f"{text} is {what}, which is never called"
        if address in _COMPATIBLE and address != _LOOPBACK_6:
            return f"{text} is an IPv4 address written as IPv6, which is never called"
        if address.version == 6 and int(address) >> 32 & _ISATAP_MASK == _ISATAP:
            return f"{text} is an ISATAP tunnel address, which is never called"
        private = _not_global(address)
        if private is None or any(address in network for network in self._allowed):
            return None
        return f"{text} is {private}; list its network in sender.allow_cidrs to allow it"

    def refusal_of_name(self, host: str) -> str | None:
        """Why a proxy must not be asked for `host`, a name or an address; None: it may.

        Weaker than `refusal`: which address the proxy finds for a name is not seen from here.
        """
        if host in _NEVER_NAMES:
            return f"{host} is a name of cloud metadata services, which are never called"
        if host == "localhost" or host.endswith(".localhost"):
            return self.refusal("127.0.0.1")
        return self.refusal(host) if is_address(host) else None


def is_address(host: str) -> bool:
    """Whether `host` is a literal address and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _not_global(address: Address) -> str | None:
    for network, what in _PRIVATE:
        if address in network:
            return what
    if isinstance(address, IPv6Address) and address not in _GLOBAL_6:
        return "a reserved address"
    return None
