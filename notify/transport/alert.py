"""What a TLS alert of an endpoint means to the person on call."""

import re
import ssl

_OLD = "it speaks no TLS newer than 1.1"
_DEMANDED = "the endpoint demands a client certificate; set the consumer's certificate and key"
_REFUSED = "the endpoint refuses our client certificate, or that there is none"
# Up to TLS 1.2 a server has no alert of its own for a certificate that was not shown.
_PERHAPS = "the endpoint ends the handshake; it may demand a client certificate, or other ciphers"
_MEANINGS = {
    "ACCESS_DENIED": _REFUSED,
    "BAD_CERTIFICATE": _REFUSED,
    "CERTIFICATE_EXPIRED": _REFUSED,
    "CERTIFICATE_REQUIRED": _DEMANDED,
    "CERTIFICATE_REVOKED": _REFUSED,
    "CERTIFICATE_UNKNOWN": _REFUSED,
    "HANDSHAKE_FAILURE": _PERHAPS,
    "PROTOCOL_VERSION": _OLD,
    "UNKNOWN_CA": _REFUSED,
    "UNSUPPORTED_CERTIFICATE": _REFUSED,
}
_ALERT = re.compile(r"[A-Z0-9]+_ALERT_([A-Z_]+)", re.ASCII)


def tls_reason(error: ssl.SSLError) -> str:
    """What went wrong in TLS, in words where it is an alert that somebody can act on."""
    alert = _ALERT.fullmatch(error.reason or "")
    meaning = _MEANINGS.get(alert[1]) if alert else None
    if alert and meaning:
        return f"{meaning} ({alert[1].replace('_', ' ').lower()})"
    return error.reason or str(error)
