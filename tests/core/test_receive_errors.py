"""What producers are told about a body that is not accepted: kind, index, reason."""
# ruff: noqa: E501 - a case and what is said about it stand on one line

import importlib
import json
import os

import msgpack
import pytest

from notify_core.body import Limits
from notify_core.errors import BodyError
from notify_core.headers import HEADERS_BYTES_MAX, RESERVED_OF_MESSAGES, find_flaw

pure = importlib.import_module("notify_core.pure.receive")
core = (
    pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.receive")
)
both = pytest.mark.parametrize("receive", list(dict.fromkeys([core, pure])))

JSON, NDJSON, MSGPACK = "application/json", "application/x-ndjson", "application/msgpack"
GOOD = b'{"type":"a","payload":1}'


def refused(receive, body, content_type=JSON, limits=None):
    with pytest.raises(BodyError) as caught:
        receive.parse(body, content_type, limits or Limits())
    error = caught.value
    prefix = "" if error.index is None else f"message {error.index}: "
    assert str(error) == prefix + error.reason
    return error.kind, error.index, error.reason


@both
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        (b"[]", "the batch is empty"),
        (b"hello", "the body must be a JSON object or an array of messages"),
        (b"\xef\xbb\xbf" + GOOD, "the body begins with a byte order mark, which JSON has not"),
        (GOOD[:-1] + b"\xff}", "the body is not UTF-8 (byte 23)"),
        (GOOD[:-1], "the body is not valid JSON: it ends too early"),
        (GOOD + b"]", "the body is not valid JSON: trailing characters (byte 25)"),
        (b'{"type":\'a\'}', "the body is not valid JSON: invalid character (byte 8)"),
        (b'{"payload":NaN}', "the body is not valid JSON: JSON has no NaN and no Infinity (byte 11)"),
        (b'{"payload":-Infinity}', "the body is not valid JSON: JSON has no NaN and no Infinity (byte 12)"),
        (b'{"payload":"\\u12"}', "the body is not valid JSON: invalid character in unicode escape (byte 17)"),
        (b'{"payload":"\\u12', "the body is not valid JSON: it ends too early"),
        (b'{"payload":"\\ud83d', "the body is not valid JSON: it ends too early"),
        (b'{"payload":"\\ud83d\\ude', "the body is not valid JSON: it ends too early"),
        (b'{"payload":"\\ud800"}', "the body is not valid JSON: a surrogate escape without its pair (byte 12)"),
        (b'{"payload":"\\\\\\udc00 and more"}', "the body is not valid JSON: a surrogate escape without its pair (byte 14)"),
        (b'{"payload":"\\ud83d\\ude00\\ud83d\\u0041"}', "the body is not valid JSON: a surrogate escape without its pair (byte 24)"),
        (b'{"type":"\\ud800 and more","payload":1}', "the body is not valid JSON: a surrogate escape without its pair (byte 9)"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read(receive, body, reason):
    assert refused(receive, body) == ("malformed", None, reason)


KNOWN = "(known: type, payload, key, ordering_key, deliver_at, expires_at, headers)"
TIME = "an RFC 3339 time (like 2026-01-31T12:00:00Z)"
TYPE = "type must be 1 to 128 characters of A-Z a-z 0-9 _ . : / -"


@both
@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"7", "a message must be an object, not an integer"),
        (b"{}", "type is missing"),
        (b'{"type":"a"}', "payload is missing"),
        (b'{"type":null,"payload":1}', "type must be a string, not null"),
        (b'{"type":"","payload":1}', TYPE),
        (b'{"type":"caf\xc3\xa9","payload":1}', TYPE),
        (b'{"type":"%s","payload":1}' % (b"x" * 129), TYPE),
        (b'{"type":"a","payload":1,"tpye":1}', f'unknown field "tpye" {KNOWN}'),
        (b'{"type":"a","payload":1,"x` - at `$[9]":1}', f'unknown field "x` - at `$[9]" {KNOWN}'),
        (b'{"type":"a","payload":1,"%s":1}' % (b"y" * 10**5), f'unknown field "{"y" * 200}" {KNOWN}'),
        (b'{"type":"a","payload":1,"key":7}', "key must be a string, not an integer"),
        (b'{"type":"a","payload":1,"key":""}', "key must be 1 to 128 bytes without control characters"),
        (b'{"type":"a","payload":1,"ordering_key":"a\\u0000"}', "ordering_key must be 1 to 128 bytes without control characters"),
        (b'{"type":"a","payload":1,"key":"%s"}' % ("é" * 65).encode(), "key must be 1 to 128 bytes without control characters"),
        (b'{"type":"a","payload":1,"deliver_at":"2026-01-31T12:00:00"}', "deliver_at needs a time zone (like 2026-01-31T12:00:00Z)"),
        (b'{"type":"a","payload":1,"deliver_at":"soon"}', f"deliver_at must be {TIME}"),
        (b'{"type":"a","payload":1,"expires_at":1769860800}', f"expires_at must be {TIME}, not an integer"),
        (b'{"type":"a","payload":1,"deliver_at":"1969-12-31T00:00:00Z"}', "deliver_at and expires_at must be after 1970"),
        (b'{"type":"a","payload":1,"deliver_at":"2026-01-31T12:00:00Z","expires_at":"2026-01-31T12:00:00Z"}', "expires_at must be after deliver_at"),
        (b'{"type":"a","payload":1,"headers":[]}', "headers must be an object, not an array"),
        (b'{"type":"a","payload":1,"headers":{"a":1}}', "the value of a header must be a string, not an integer"),
        (b'{"type":"a","payload":1,"headers":{"a b":"c"}}', '"a b" is not the name of a header'),
        (b'{"type":"a","payload":1,"headers":{"\xe2\x84\xaa":"c"}}', '"\u212a" is not the name of a header'),
        (b'{"type":"a","payload":1,"headers":{"A":"b\\r\\nc: d"}}', "the value of header a must be printable ASCII, not empty and without spaces around it"),
        (b'{"type":"a","payload":1,"headers":{"A":" b"}}', "the value of header a must be printable ASCII, not empty and without spaces around it"),
        (b'{"type":"a","payload":1,"headers":{"Host":"b"}}', "header host is set by Notify or by HTTP itself"),
        (b'{"type":"a","payload":1,"headers":{"Webhook-Id":"b"}}', "header webhook-id is set by Notify or by HTTP itself"),
        (b'{"type":"a","payload":1,"headers":{"User-Agent":"b"}}', "header user-agent is set by Notify or by HTTP itself"),
        (b'{"type":"a","payload":1,"headers":{"HTTP2-Settings":"b"}}', "header http2-settings is set by Notify or by HTTP itself"),
        (b'{"type":"a","payload":1,"headers":{"Proxy-Connection":"b"}}', "header proxy-connection is set by Notify or by HTTP itself"),
        (b'{"type":"a","payload":1,"headers":{"X-A":"b","x-a":"b"}}', "header x-a appears twice"),
        (b'{"type":"a","payload":1,"headers":{"a":"%s"}}' % (b"v" * 4096), "the headers have 4097 bytes, the limit is 4096"),
        (b'{"type":"a","payload":1,"headers":{"content-type":"%s"}}' % (b"v" * 129), "content-type has at most 128 characters"),
        (b'{"type":"a","payload":1,"headers":{%s}}' % b",".join(b'"h%d":"v"' % i for i in range(33)), "at most 32 headers are allowed, not 33"),
        (b'{"type":"a","payload":"%s"}' % (b"x" * (1 << 20)), "the payload has 1048578 bytes, the limit is 1048576"),
        (b'{"type":"a","payload":%s}' % (b"[" * 101 + b"]" * 101), "the payload is nested deeper than 100 levels"),
    ],
)  # fmt: skip
def test_a_message_that_breaks_a_rule(receive, item, reason):
    assert refused(receive, b"[" + GOOD + b"," + item + b"]") == ("item", 1, reason)
    assert refused(receive, GOOD + b"\n\n" + item, NDJSON) == ("item", 1, reason)
    if item.startswith(b"{"):
        assert refused(receive, item) == ("item", 0, reason)


@both
@pytest.mark.parametrize("place", ["name", "inner", "outer"])
def test_every_character_of_a_header_is_judged_by_the_one_table(receive, place):
    for code in (*range(0x180), 0x2028, 0x212A, 0x1F600):
        letter = chr(code)
        headers = {
            "name": {f"a{letter}b": "c"},
            "inner": {"a": f"b{letter}c"},
            "outer": {"a": f"b{letter}"},
        }[place]
        body = json.dumps({"type": "a", "payload": 1, "headers": headers}).encode()
        flaw = find_flaw(headers, RESERVED_OF_MESSAGES, HEADERS_BYTES_MAX)
        if flaw is None:
            assert json.loads(receive.parse(body, JSON, Limits()).headers[0]) == {
                name.lower(): value for name, value in headers.items()
            }
        else:
            assert refused(receive, body) == ("item", 0, flaw)


@both
def test_a_hostile_depth_is_refused_not_suffered(receive):
    bodies = [b'{"type":"a","payload":%s}' % (b"[" * 3000 + b"]" * 3000), b'{"payload":' * 3000]
    for body in bodies:
        assert refused(receive, body) == ("item", 0, "the payload is nested too deeply")
        assert refused(receive, GOOD + b"\n" + body, NDJSON)[1] == 1
        assert refused(receive, b"[" + body + b"]")[0] == "item"
    packed = b"\x91\x82\xa4type\xa1a\xa7payload" + b"\x91" * 3000 + b"\x01"
    assert refused(receive, packed, MSGPACK) == ("item", None, "the payload is nested too deeply")


@both
def test_more_messages_than_a_batch_may_hold(receive):
    limits = Limits(items_max=2)
    assert len(receive.parse(b"[%s,%s]" % (GOOD, GOOD), JSON, limits)) == 2
    found = refused(receive, b"[%s,%s,%s]" % (GOOD, GOOD, GOOD), JSON, limits)
    assert found == ("limit", None, "a batch holds at most 2 messages, not 3")


@both
@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        (b"{bad", "malformed", "the line is not valid JSON: object keys must be strings (byte 1)"),
        (GOOD + GOOD, "malformed", "the line is not valid JSON: trailing characters (byte 25)"),
        (b'{"type":', "malformed", "the line is not valid JSON: it ends too early"),
        (b"[1]", "item", "a message must be an object, not an array"),
    ],
)
def test_a_bad_third_line(receive, line, kind, reason):
    body = GOOD + b"\r\n" + GOOD + b"\n \n" + line + b"\n" + GOOD
    assert refused(receive, body, NDJSON) == (kind, 2, reason)


def packed(*items):
    return msgpack.packb([{"type": "a", "payload": 1}, *items])


@both
@pytest.mark.parametrize(
    ("body", "kind", "index", "reason"),
    [
        (b"", "malformed", None, "the body is empty"),
        (b"\n", "malformed", None, "the body must be an array of messages"),
        (msgpack.packb({"type": "a"}), "malformed", None, "the body must be an array of messages"),
        (packed()[:-1], "malformed", None, "the body is not valid msgpack: it ends too early"),
        (packed() + b"\0", "malformed", None, "the body is not valid msgpack: trailing characters (byte 18)"),
        (b"\x91\xc1", "malformed", None, r"the body is not valid msgpack: invalid opcode '\xc1' (byte 1)"),
        (b"\x91\x81\xa4type\xa1\xff", "malformed", None, "the body is not valid msgpack: a text in it is not UTF-8"),
        (packed({"type": b"a", "payload": 1}), "item", 1, "type must be a string, not bytes"),
        (packed({"type": msgpack.ExtType(5, b"x"), "payload": 1}), "item", 1, "type must be a string, not an extension value"),
        (packed({1: 2}), "item", 1, "the name of a field must be a string, not an integer"),
        (packed({"type": "a", "payload": 1, "headers": {1: "a"}}), "item", 1, "the name of a header must be a string, not an integer"),
        (packed({"type": "a", "payload": b""}), "item", 1, "the payload is empty"),
        (packed({"type": "a", "payload": b"{"}), "item", 1, "the payload is not valid JSON: it ends too early"),
        (packed({"type": "a", "payload": b"1 2"}), "item", 1, "the payload is not valid JSON: trailing characters (byte 3)"),
        (packed({"type": "a", "payload": b"\xff"}), "item", 1, "the payload is not UTF-8 (byte 0)"),
        (packed({"type": "a", "payload": b'"\\ud800"'}), "item", 1, "the payload is not valid JSON: a surrogate escape without its pair (byte 1)"),
        (packed({"type": "a", "payload": b"[" * 101 + b"]" * 101}), "item", 1, "the payload is nested deeper than 100 levels"),
        (packed({"type": "a", "payload": b"[" * 3000 + b"]" * 3000}), "item", 1, "the payload is nested too deeply"),
    ],
)  # fmt: skip
def test_msgpack_that_is_not_accepted(receive, body, kind, index, reason):
    assert refused(receive, body, MSGPACK) == (kind, index, reason)
