"""TLS as a client: whom we trust at an endpoint and which certificate we show there."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from tempfile import TemporaryFile
from threading import Lock

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

from notify.domain.errors import InvalidInput
from notify.domain.ports import Identity
from notify.transport.proxy import parse_proxy

PEM_CHARS_MAX = 65_536
# A context over the system's authorities holds about a megabyte.
CONTEXTS_MAX = 128

_making = Lock()


def default_context(ca: str = "") -> ssl.SSLContext:
    """Certificates verified by `ca` or else the system's authorities, TLS 1.2 or newer, HTTP/1.1.

    ca: PEM text of one or more certificates.
    """
    # Bundles carry remarks in many languages between their certificates; ssl wants ASCII.
    context = ssl.create_default_context(cadata=ca.encode("ascii", "replace").decode() or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def context_of(identity: Identity) -> ssl.SSLContext:
    """The context of an identity, remembered by its three PEM texts. Raises InvalidInput.

    Blocks: 40 ms for the system's authorities the first time. Callers of one identity that
    come together make it once.
    """
    with _making:
        return _context(identity.ca, identity.certificate, identity.key)


def check_identity(identity: Identity) -> tuple[str, ...]:
    """Refuse an identity that no connection can be made with. Raises InvalidInput: what to do.

    Answers sentences of what is usable now or soon but looks wrong: certificates out of date.
    """
    if identity.proxy:
        parse_proxy(identity.proxy)
    warnings = []
    if identity.ca:
        warnings += _dates(_certificates(identity.ca, "the CA"), "a certificate of the CA")
    if bool(identity.certificate) != bool(identity.key):
        missing = "key" if identity.certificate else "certificate"
        raise InvalidInput(f"the client certificate has no {missing}; set both, or neither")
    if identity.certificate:
        chain = _certificates(identity.certificate, "the client certificate")
        _check_key(identity.key, chain[0])
        warnings += _dates(chain, "the client certificate")
    # OpenSSL has the last word: it also refuses keys and digests that are too weak.
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _equip(_trusting(identity.ca) if identity.ca else bare, identity.certificate, identity.key)
    return tuple(warnings)


@lru_cache(maxsize=CONTEXTS_MAX)
def _context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    context = _trusting(ca)
    _equip(context, certificate, key)
    return context


def _trusting(ca: str) -> ssl.SSLContext:
    try:
        return default_context(ca)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInput(f"the CA cannot be used: {_reason(error)}") from None


def _equip(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Have the context show the certificate where one is asked for."""
    if not certificate:
        return
    try:
        with _file_of(certificate) as certificate_path, _file_of(key) as key_path:
            # The empty password keeps OpenSSL from asking for one at the terminal.
            context.load_cert_chain(certificate_path, key_path, password="")
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInput(f"the client certificate cannot be used: {_reason(error)}") from None


@contextmanager
def _file_of(text: str) -> Iterator[str]:
    """A path to `text` for OpenSSL, which reads keys from files only; without a name on disk."""
    memory = hasattr(os, "memfd_create")
    with os.fdopen(os.memfd_create("pem"), "w+b") if memory else TemporaryFile() as file:
        file.write(text.encode("ascii", "replace"))
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _certificates(text: str, what: str) -> list[Certificate]:
    if len(text) > PEM_CHARS_MAX:
        raise InvalidInput(f"{what} is longer than {PEM_CHARS_MAX} characters")
    try:
        return load_pem_x509_certificates(text.encode())
    except ValueError:
        raise InvalidInput(
            f"{what} is not readable; give PEM text (-----BEGIN CERTIFICATE----- …)"
        ) from None


def _check_key(text: str, certificate: Certificate) -> None:
    if len(text) > PEM_CHARS_MAX:
        raise InvalidInput(
            f"the client certificate's key is longer than {PEM_CHARS_MAX} characters"
        )
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise InvalidInput(
            "the client certificate's key is encrypted; give it without a passphrase"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput(
            "the client certificate's key is not readable; give PEM text (-----BEGIN PRIVATE KEY…)"
        ) from None
    if key.public_key() != certificate.public_key():
        raise InvalidInput(
            "the key does not belong to the client certificate; where a chain is given, our own "
            "certificate must come first"
        )


def _dates(certificates: list[Certificate], what: str) -> list[str]:
    # The wall clock and not a Clock that is handed in: OpenSSL goes by it too.
    now = datetime.now(UTC)
    warnings = []
    for certificate in certificates:
        name = certificate.subject.rfc4514_string()
        if certificate.not_valid_after_utc < now:
            warnings.append(
                f"{what} ({name}) expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
            )
        elif certificate.not_valid_before_utc > now:
            since = certificate.not_valid_before_utc
            warnings.append(f"{what} ({name}) is not valid before {since:%Y-%m-%d %H:%M} UTC")
    return warnings


def _reason(error: Exception) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else None) or str(error)
