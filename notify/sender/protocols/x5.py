"""X5 to a consumer (DESIGN section 7): one form field with a base64 JSON that carries the sign."""

import hashlib
from base64 import b64encode
from typing import Any, ClassVar, Final

import msgspec

from notify.domain.dialect import X5Account
from notify.domain.errors import InvalidInput
from notify.domain.model import Consumer
from notify.domain.ports import Answer
from notify.sender.protocols.target import SingleTarget
from notify_core.records import MessageRecord

FORM: Final = "application/x-www-form-urlencoded"
SUCCESS: Final = "200"
_CHARS_SHOWN: Final = 200


class X5Target(SingleTarget):
    """Sends the payload as the body of an X5 request; `method` is the event type."""

    # Its verdict is in the answer's body, whatever else the consumer put there.
    kept_bytes: ClassVar[int] = 65_536

    def __init__(self, consumer: Consumer, origin: str) -> None:
        super().__init__(consumer, origin)
        if consumer.x5 is None:
            raise InvalidInput("the consumer speaks X5 but has no appid and appkey: set its x5")
        self._account = consumer.x5

    def request(
        self,
        message: MessageRecord,
        body: bytes,
        sub_id: int,
        attempt: int,
        now_ms: int,
        extra: bytes = b"",
    ) -> tuple[bytes, bytes]:
        """Head and body of one try; a Standard Webhooks signature is of the body as sent."""
        form = x5_form(self._account, message.type, body)
        wrapped = message._replace(content_type=FORM)
        return super().request(wrapped, form, sub_id, attempt, now_ms, extra)

    def refusal(self, answer: Answer) -> str | None:
        """Why the X5 reply says no, or is none."""
        try:
            header = msgspec.json.decode(answer.body, type=_Reply).header
        except msgspec.DecodeError:
            return "the answer is not an X5 reply: a JSON object whose header has a code"
        if str(header.code) == SUCCESS:
            return None
        return f"X5 code {header.code}: {header.desc}"[:_CHARS_SHOWN]


class _ReplyHeader(msgspec.Struct):
    # A string by the protocol, a number from those who did not read it.
    code: str | int
    desc: Any = ""


class _Reply(msgspec.Struct):
    header: _ReplyHeader


def x5_sign(account: X5Account, body: bytes) -> str:
    """The `sign` of a body: MD5 of appid, body and appkey, in upper-case hex."""
    signed = account.appid.encode() + body + account.appkey.encode()
    # The protocol's own choice; it proves no more than that the sender knows the key.
    return hashlib.md5(signed, usedforsecurity=False).hexdigest().upper()


def x5_form(account: X5Account, method: str, body: bytes) -> bytes:
    """The body of an X5 request. Raises InvalidInput where the payload is not text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidInput("the payload is not UTF-8 text, and X5 carries only text") from None
    header = {"appid": account.appid, "sign": x5_sign(account, body), "method": method}
    packed = b64encode(msgspec.json.encode({"header": header, "body": text}))
    # What of base64 is not unreserved in a form (RFC 3986 section 2.3).
    for byte, escaped in ((b"+", b"%2B"), (b"/", b"%2F"), (b"=", b"%3D")):
        packed = packed.replace(byte, escaped)
    return b"data=" + packed
