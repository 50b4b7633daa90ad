"""Certificates made for one test: an authority and what it signs, as PEM text."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Issued(NamedTuple):
    """A certificate and its key."""

    certificate: str
    key: str


class Authority:
    """Signs for any name. pem: its own certificate, which somebody may trust."""

    def __init__(self, name: str = "an authority of the tests") -> None:
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(self._name, self._key, -DAY, 365 * DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.pem = _pem(made.sign(self._key, hashes.SHA256()))

    def issue(
        self,
        *names: str,
        since: timedelta = -DAY,
        until: timedelta = 30 * DAY,
        passphrase: str = "",
    ) -> Issued:
        """A certificate for DNS names and addresses; since and until: counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(_name(names[0]), key, since, until).add_extension(
            x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
        )
        lock = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        return Issued(_pem(made.sign(self._key, hashes.SHA256())), _text(key, lock))

    def self_issued(self, *names: str) -> Issued:
        """A certificate for its own key, which nobody else vouches for."""
        made = self._builder(self._name, self._key, -DAY, DAY).add_extension(
            x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
        )
        return Issued(_pem(made.sign(self._key, hashes.SHA256())), _text(self._key, NoEncryption()))

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        since: timedelta,
        until: timedelta,
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until)
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _text(key: ec.EllipticCurvePrivateKey, lock: KeySerializationEncryption) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
