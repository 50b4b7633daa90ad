"""Own authority, client certificate and proxy: what is refused before a connection is tried."""

import os
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from notify.domain.errors import InvalidInput
from notify.domain.ports import Identity
from notify.transport.identity import CONTEXTS_MAX, _context, check_identity, context_of
from notify.transport.proxy import Proxy, parse_proxy
from tests.support.authority import DAY, Authority

AUTHORITY = Authority()
OURS = AUTHORITY.issue("notify.example")
OTHER = AUTHORITY.issue("other.example")
LOCKED = AUTHORITY.issue("notify.example", passphrase="open sesame")
GARBLED = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "identity",
    [
        Identity(),
        Identity(ca=AUTHORITY.pem),
        Identity(ca="# Főtanúsítvány\n" + AUTHORITY.pem + Authority().pem),
        Identity(certificate=OURS.certificate, key=OURS.key),
        Identity(certificate=OURS.certificate + AUTHORITY.pem, key=OURS.key),
        Identity(AUTHORITY.pem, OURS.certificate, OURS.key, "http://proxy.example:3128"),
    ],
)
def test_usable(identity: Identity) -> None:
    assert check_identity(identity) == ()
    context = context_of(identity)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("identity", "text"),
    [
        (Identity(ca="an authority"), "the CA is not readable; give PEM text"),
        (Identity(ca=GARBLED), "the CA is not readable"),
        (Identity(ca=OURS.key), "the CA is not readable"),
        (Identity(ca="x" * 70_000), "the CA is longer than 65536"),
        (Identity(certificate=OURS.certificate), "has no key"),
        (Identity(key=OURS.key), "has no certificate"),
        (Identity(certificate=GARBLED, key=OURS.key), "the client certificate is not readable"),
        (Identity(certificate=OURS.key, key=OURS.key), "the client certificate is not readable"),
        (Identity(certificate=OURS.certificate, key="a key"), "key is not readable"),
        (Identity(certificate=OURS.certificate, key="x" * 70_000), "longer than 65536"),
        (Identity(certificate=OURS.certificate, key=OURS.certificate), "key is not readable"),
        (Identity(certificate=OURS.certificate, key=OTHER.key), "does not belong"),
        (
            Identity(certificate=AUTHORITY.pem + OURS.certificate, key=OURS.key),
            "our own certificate must come first",
        ),
        (Identity(certificate=LOCKED.certificate, key=LOCKED.key), "without a passphrase"),
        (Identity(proxy="proxy.example:3128"), "the proxy must be given as http://"),
    ],
)
def test_refused_with_what_to_do(identity: Identity, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        check_identity(identity)


def test_certificates_out_of_date_are_told_and_usable() -> None:
    expired = AUTHORITY.issue("late.example", since=-2 * DAY, until=-DAY)
    early = AUTHORITY.issue("early.example", since=DAY)
    ca = Authority().pem + expired.certificate
    warnings = check_identity(Identity(ca, early.certificate, early.key))
    assert len(warnings) == 2
    assert "a certificate of the CA (CN=late.example) expired on 2" in warnings[0]
    assert "the client certificate (CN=early.example) is not valid before" in warnings[1]
    assert (
        check_identity(Identity(ca=AUTHORITY.issue("x", until=timedelta(hours=1)).certificate))
        == ()
    )


def test_a_context_is_made_once_for_the_same_three_texts_and_the_number_is_bounded() -> None:
    identity = Identity(ca=AUTHORITY.pem)
    assert context_of(identity) is context_of(identity._replace(proxy="http://p.example:1"))
    assert context_of(identity) is not context_of(Identity(ca=Authority().pem))
    assert _context.cache_info().maxsize == CONTEXTS_MAX


def test_an_unusable_identity_has_no_context() -> None:
    with pytest.raises(InvalidInput, match="the CA cannot be used"):
        context_of(Identity(ca=GARBLED))
    with pytest.raises(InvalidInput, match="the client certificate cannot be used"):
        context_of(Identity(ca=AUTHORITY.pem, certificate=OURS.certificate, key=OTHER.key))
    with pytest.raises(InvalidInput, match="the client certificate cannot be used"):
        context_of(Identity(AUTHORITY.pem, LOCKED.certificate, LOCKED.key))  # does not ask


def test_no_file_outlives_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for without_memfd in (False, True):
        if without_memfd:
            monkeypatch.delattr(os, "memfd_create")
        before = set(Path("/dev/fd").iterdir())
        check_identity(Identity(certificate=OURS.certificate, key=OURS.key))
        assert set(Path("/dev/fd").iterdir()) == before
        assert list(tmp_path.iterdir()) == []


def test_secrets_are_not_in_the_repr() -> None:
    identity = Identity(AUTHORITY.pem, OURS.certificate, OURS.key, "http://u:secret@p.example:1")
    assert repr(identity) == "Identity(ca, certificate, key, proxy)"
    assert "u:secret" not in repr(parse_proxy(identity.proxy))
    assert "secret" not in f"{parse_proxy(identity.proxy)}"


BASIC = "proxy-authorization: Basic {}\r\n".format


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.example:3128", Proxy("proxy.example", 3128, "")),
        ("HTTP://PROXY.example.:80/", Proxy("proxy.example", 80, "")),
        ("http://10.0.0.1:3128", Proxy("10.0.0.1", 3128, "")),
        ("http://[2001:db8::1]:3128", Proxy("2001:db8::1", 3128, "")),
        ("http://u:p@proxy.example:1", Proxy("proxy.example", 1, BASIC("dTpw"))),
        ("http://u:@proxy.example:1", Proxy("proxy.example", 1, BASIC("dTo="))),
        ("http://u:a:b@proxy.example:1", Proxy("proxy.example", 1, BASIC("dTphOmI="))),
        ("http://u:%40%2F%C3%BC@proxy.example:1", Proxy("proxy.example", 1, BASIC("dTpAL8O8"))),
    ],
)
def test_proxies(url: str, proxy: Proxy) -> None:
    assert parse_proxy(url) == proxy


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "must be given as http"),
        ("https://proxy.example:443", "must be given as http"),
        ("socks5://proxy.example:1080", "must be given as http"),
        ("http://proxy.example" + "x" * 2048 + ":1", "must be given as http"),
        ("http://", "must end in host:port"),
        ("http://proxy.example", "must end in host:port"),
        ("http://proxy.example:0", "must end in host:port"),
        ("http://proxy.example:70000", "must end in host:port"),
        ("http://0x7f.1:3128", "must end in host:port"),
        ("http://user:secret", "must end in host:port"),
        ("http://proxy.example:1/path", "ends after its port"),
        ("http://proxy.example:1?x", "ends after its port"),
        ("http://u:secret#1@proxy.example:1", "ends after its port"),
        ("http://u:secret\r\nx@proxy.example:1", "ends after its port"),
        ("http://user@proxy.example:1", "credentials must be written"),
        ("http://:secret@proxy.example:1", "credentials must be written"),
        ("http://u:secret@1@proxy.example:1", "credentials must be written"),
        ("http://u:secret%1@proxy.example:1", "credentials must be written"),
        ("http://a%3Ab:secret@proxy.example:1", "a colon"),
    ],
)
def test_proxies_that_are_refused(url: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_proxy(url)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
