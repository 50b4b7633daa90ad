import pytest

from notify.transport import AddressGuard

EVERYTHING = ("0.0.0.0/0", "::/0")

NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "::",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "fe80::1",
    "febf::1",
    "fe80::1%eth0",
    "::1%lo",
    "8.8.8.8%1",
    "ff02::1",
    "ff0e::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:a9fe:a9fe",
    "::ffff:0:127.0.0.1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::2",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::7f00:1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2a00::5efe:7f00:1",
    "2a00::200:5efe:a00:1",
    "localhost",
    "127.1",
    "0177.0.0.1",
    "0x7f000001",
    "2130706433",
    "",
    " 8.8.8.8",
]
PRIVATE = [
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    "::1",
    "fc00::1",
    "fdff:ffff::1",
    "fec0::1",
    "2001:1::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "4000::1",
]
GLOBAL = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2a00::1",
    "2a00::100:5efe:7f00:1",
]


@pytest.mark.parametrize("address", NEVER)
def test_never_called_whatever_the_operator_allows(address: str) -> None:
    assert AddressGuard(EVERYTHING).refusal(address) is not None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_only_where_allowed(address: str) -> None:
    refusal = AddressGuard(()).refusal(address)
    assert refusal is not None
    assert "sender.allow_cidrs" in refusal
    assert AddressGuard(EVERYTHING).refusal(address) is None


@pytest.mark.parametrize("address", GLOBAL)
def test_global_always(address: str) -> None:
    assert AddressGuard(()).refusal(address) is None


def test_a_cidr_opens_its_own_network_only() -> None:
    guard = AddressGuard(("10.1.0.0/16", "fd12::/16"))
    assert guard.refusal("10.1.2.3") is None
    assert guard.refusal("fd12::1") is None
    assert guard.refusal("10.2.0.1") is not None
    assert guard.refusal("127.0.0.1") is not None
    assert guard.refusal("::ffff:10.1.2.3") is not None


@pytest.mark.parametrize("host", ["hook.example", "8.8.8.8", "2606:4700::1111", "notlocalhost"])
def test_a_proxy_may_be_asked_for_names_and_global_addresses(host: str) -> None:
    assert AddressGuard(()).refusal_of_name(host) is None


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "::1", "10.0.0.1"])
def test_a_proxy_is_asked_for_what_is_private_by_name_only_where_allowed(host: str) -> None:
    refusal = AddressGuard(()).refusal_of_name(host)
    assert refusal is not None
    assert "sender.allow_cidrs" in refusal
    assert AddressGuard(EVERYTHING).refusal_of_name(host) is None


@pytest.mark.parametrize("host", ["169.254.169.254", "::", "metadata", "metadata.google.internal"])
def test_a_proxy_is_never_asked_for_metadata(host: str) -> None:
    assert AddressGuard(EVERYTHING).refusal_of_name(host) is not None
