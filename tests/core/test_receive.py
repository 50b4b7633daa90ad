"""What a body becomes; what is refused, and how, is in test_receive_errors.py."""

import importlib
import json
import os

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_core.body import Limits
from notify_core.errors import BodyError
from notify_core.pure import chunk as chunks
from notify_core.records import MessageRecord

pure = importlib.import_module("notify_core.pure.receive")
core = (
    pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.receive")
)
both = pytest.mark.parametrize("receive", list(dict.fromkeys([core, pure])))

LIMITS = Limits()
JSON, NDJSON, MSGPACK = "application/json", "application/x-ndjson", "application/msgpack"
FULL = {
    "type": "order.paid",
    "payload": {"order_id": 10001},
    "key": "ключ-1",
    "ordering_key": "order-10001",
    "deliver_at": "2026-01-31T12:00:00.5+02:00",
    "expires_at": "2026-02-01T00:00:00Z",
    "headers": {"X-Trace": "abc", "Content-Type": "application/vnd.shop+json"},
}
COLUMN_NAMES = (
    "ids", "biz_ids", "types", "content_types", "headers", "keys", "ordering_keys",
    "deliver_ms", "expires_ms", "payloads",
)  # fmt: skip


def columns(batch):
    return {name: getattr(batch, name) for name in COLUMN_NAMES}


@both
def test_a_full_message_in_columns(receive):
    batch = receive.parse(json.dumps(FULL).encode(), JSON, LIMITS)
    batch.stamp(7, [7031])
    assert columns(batch) == {
        "ids": [7031],
        "biz_ids": [7],
        "types": ["order.paid"],
        "content_types": ["application/vnd.shop+json"],
        "headers": [b'{"x-trace":"abc"}'],
        "keys": ["ключ-1"],
        "ordering_keys": ["order-10001"],
        "deliver_ms": [1769853600500],
        "expires_ms": [1769904000000],
        "payloads": [b'{"order_id": 10001}'],
    }


@both
def test_a_short_message_leaves_the_rest_empty(receive):
    batch = receive.parse(b'{"type":"a","payload":null,"key":null,"headers":{}}', JSON, LIMITS)
    assert len(batch) == 1
    assert columns(batch) | {"ids": None} == {
        "ids": None, "biz_ids": [], "types": ["a"], "content_types": [""], "headers": [b""],
        "keys": [""], "ordering_keys": [""], "deliver_ms": [0], "expires_ms": [0],
        "payloads": [b"null"],
    }  # fmt: skip


@both
@pytest.mark.parametrize(
    "payload",
    [
        '{ "b" : 1,\n\t"a" : [ ] }',
        "123456789012345678901234567890.000",
        "1e999",
        '{"a":1,"a":2}',
        '"\\u00e9 é \\ud83d\\ude00 🚀 \\/"',
        "-0",
    ],
)
@pytest.mark.parametrize("kind", ["object", "array", "lines", "bin"])
def test_payload_bytes_stay_as_they_are(receive, payload, kind):
    item = '{"type":"a","payload":' + payload + "}"
    body, content_type = {
        "object": (item.encode(), JSON),
        "array": (f" [ {item} , {item} ] ".encode(), JSON),
        "lines": (f"{item.replace(chr(10), ' ')}\r\n\r\n".encode(), NDJSON),
        "bin": (msgpack.packb([{"type": "a", "payload": payload.encode()}]), MSGPACK),
    }[kind]
    batch = receive.parse(body, content_type, LIMITS)
    wanted = payload.replace("\n", " ") if kind == "lines" else payload
    assert set(batch.payloads) == {wanted.encode()}
    assert set(batch.content_types) == {""}


@both
@pytest.mark.parametrize("payload", [{"a": [1, b"x"]}, "text", None, 7, msgpack.ExtType(5, b"x")])
def test_a_native_msgpack_payload_is_delivered_as_msgpack(receive, payload):
    body = msgpack.packb([{"type": "a", "payload": payload}])
    batch = receive.parse(body, MSGPACK, LIMITS)
    assert batch.content_types == ["application/msgpack"]
    assert batch.payloads == [msgpack.packb(payload)]


@both
def test_a_batch_is_kept_when_its_body_is_gone(receive):
    body = bytearray(b'{"type":"a","payload":"here"}')
    batch = receive.parse(bytes(body), JSON, LIMITS)
    del body
    assert type(batch.payloads[0]) is bytes
    assert batch.payloads == [b'"here"']


@both
def test_brackets_in_strings_are_no_nesting(receive):
    payload = json.dumps("[" * 500 + '\\"' + "{" * 500).encode()
    body = b'{"type":"a","payload":%s}' % payload
    assert receive.parse(body, JSON, LIMITS).payloads == [payload]


@both
@pytest.mark.parametrize("depth_max", [0, 1, 3, 100])
def test_depth_up_to_the_limit(receive, depth_max):
    limits = LIMITS._replace(depth_max=depth_max)

    def body(depth):
        half = b'[{"a":' * (depth // 2) + b"[" * (depth % 2)
        return b'{"type":"a","payload":%s}' % (
            half + b'"]"' + b"]" * (depth % 2) + b"}]" * (depth // 2)
        )

    assert len(receive.parse(body(depth_max), JSON, limits)) == 1
    with pytest.raises(BodyError, match=f"nested deeper than {depth_max} levels"):
        receive.parse(body(depth_max + 1), JSON, limits)


def _stamped(receive, n=3, biz_id=7):
    body = b"\n".join(
        b'{"type":"t%d","payload":"it\'s \\"%d\\"","key":"k%d"}' % (i, i, i) for i in range(n)
    )
    batch = receive.parse(body, NDJSON, LIMITS)
    batch.stamp(biz_id, list(range(100, 100 + n)))
    return batch


@both
def test_rows_of_biz_msg(receive):
    batch = _stamped(receive, 1)
    assert receive.COLUMNS.count(",") == len(batch.rows()[0]) - 1
    assert batch.rows() == [(100, 7, "t0", "", b"", "k0", "", 0, 0, b'"it\'s \\"0\\""')]
    assert batch.insert_sql(False, 10, 1000) == [
        b"INSERT INTO biz_msg (%s) VALUES " % receive.COLUMNS.encode()
        + b"(100,7,'t0','',_binary'','k0','',0,0,_binary'\\\"it\\'s \\\\\\\"0\\\\\\\"\\\"')"
    ]


@both
def test_a_retry_ignores_rows_that_are_there(receive):
    (statement,) = _stamped(receive).insert_sql(True, 10, 10_000)
    assert statement.startswith(b"INSERT IGNORE INTO biz_msg (")


@both
def test_inserts_keep_both_limits(receive):
    batch = _stamped(receive, 10)
    assert len(batch.insert_sql(False, 4, 10_000)) == 3
    statements = batch.insert_sql(False, 100, 400)
    assert len(statements) > 1
    assert max(map(len, statements)) <= 400


@both
def test_a_chunk_leaves_large_payloads_behind(receive):
    batch = _stamped(receive)
    version, records = chunks.unpack_messages(batch.chunk(5, len(batch.payloads[0])))
    assert version == 5
    assert records == batch.records(1000)
    assert records[0] == MessageRecord(100, 7, "t0", "", b"", "", 0, 0, b'"it\'s \\"0\\""')
    _, records = chunks.unpack_messages(batch.chunk(5, len(batch.payloads[0]) - 1))
    assert [record.payload for record in records] == [None] * 3


@both
def test_batches_are_joined_and_picked_from(receive):
    batch = _stamped(receive)
    other = _stamped(receive, 2, biz_id=8)
    joined = receive.Batch()
    joined.extend(batch)
    joined.extend(other)
    assert joined.biz_ids == [7, 7, 7, 8, 8]
    picked = joined.take([4, 0])
    assert picked.rows() == [other.rows()[1], batch.rows()[0]]
    assert len(joined.take([])) == 0
    with pytest.raises(IndexError):
        joined.take([5])


@both
def test_a_batch_without_ids_is_not_stored(receive):
    batch = receive.parse(b'{"type":"a","payload":1}', JSON, LIMITS)
    assert batch.take([0]).payloads == [b"1"]
    for use in (
        batch.rows,
        lambda: batch.records(10),
        lambda: batch.chunk(1, 10),
        lambda: batch.insert_sql(False, 10, 1000),
    ):
        with pytest.raises(ValueError, match="not stamped"):
            use()
    with pytest.raises(ValueError, match="do not mix"):
        _stamped(receive).extend(batch)


@both
def test_a_stamp_must_fit(receive):
    batch = _stamped(receive, 2)
    with pytest.raises(ValueError, match="one id for each message"):
        batch.stamp(7, [1])
    for biz_id, ids in ((7, [1, 1 << 63]), (7, [1, -1]), (1 << 63, [1, 2]), (-1, [1, 2])):
        with pytest.raises(ValueError, match="63 bits"):
            batch.stamp(biz_id, ids)
    assert batch.ids == [100, 101]


texts = st.text(max_size=8) | st.text("abK\u212a-_: \t\x7f\x00é", max_size=8)
payloads = st.recursive(
    st.none() | st.integers() | texts | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
moments = st.datetimes().map(lambda moment: moment.isoformat() + "Z") | texts
names = texts | st.sampled_from(["Host", "content-type", "X-A", "x-a", "Webhook-Id", "User-Agent"])
items = st.fixed_dictionaries(
    {"type": st.sampled_from(["order.paid", "a", "ü", ""]), "payload": payloads},
    optional={
        "key": st.none() | texts,
        "ordering_key": st.none() | texts,
        "deliver_at": st.none() | moments,
        "expires_at": st.none() | moments,
        "headers": st.none() | st.dictionaries(names, texts, max_size=3),
    },
)
small = st.builds(
    Limits, st.integers(1, 3), st.integers(0, 40), st.integers(0, 3), st.integers(0, 20)
)


def _parsed(receive, body, content_type, limits):
    try:
        batch = receive.parse(body, content_type, limits)
    except BodyError as error:
        return error.kind, error.reason, error.index
    batch.stamp(7, list(range(1 << 40, (1 << 40) + len(batch))))
    return columns(batch), batch.rows(), batch.chunk(3, 20), batch.insert_sql(True, 2, 300)


def _encoded(batch, content_type):
    if content_type == JSON:
        return json.dumps(batch).encode()
    if content_type == NDJSON:
        return "\n".join(json.dumps(item, ensure_ascii=False) for item in batch).encode()
    packed = [item | {"payload": json.dumps(item["payload"]).encode()} for item in batch]
    return msgpack.packb(packed)


@given(
    st.lists(items, min_size=1, max_size=3),
    st.sampled_from([JSON, NDJSON, MSGPACK]),
    small | st.just(LIMITS),
)
def test_the_twins_take_the_same_bodies(batch, content_type, limits):
    body = _encoded(batch, content_type)
    found = _parsed(core, body, content_type, limits)
    assert found == _parsed(pure, body, content_type, limits)


@given(
    st.lists(items, min_size=1, max_size=2),
    st.sampled_from([JSON, NDJSON, MSGPACK]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.binary(max_size=3)), max_size=3),
)
def test_the_twins_agree_on_damaged_bodies(batch, content_type, damages):
    body = bytearray(_encoded(batch, content_type))
    for position, removed, inserted in damages:
        start = position % (len(body) + 1)
        body[start : start + removed] = inserted
    found = _parsed(core, bytes(body), content_type, LIMITS)
    assert found == _parsed(pure, bytes(body), content_type, LIMITS)


@given(
    st.lists(st.sampled_from(b"a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xdf\xe0\xed\xef\xf0\xf4\xf5"))
)
def test_the_twins_agree_on_what_is_utf8(text):
    body = b'{"type":"a","payload":"' + bytes(text) + b'"}'
    assert _parsed(core, body, JSON, LIMITS) == _parsed(pure, body, JSON, LIMITS)


@both
def test_messages_that_come_one_by_one_share_a_batch(receive):
    shared = receive.Batch()
    bodies = [json.dumps(FULL).encode(), b'{"type":"b","payload":[]}']
    for producer, body in enumerate(bodies, 7):
        assert receive.append(shared, producer, body, LIMITS) is True
    alone = [receive.parse(body, JSON, LIMITS) for body in bodies]
    for one, producer in zip(alone, (7, 8), strict=True):
        one.set_producer(producer)
    merged = receive.Batch()
    for one in alone:
        merged.extend(one)
    for each in (shared, merged):
        each.set_ids([1, 2])
    assert columns(shared) == columns(merged)
    assert shared.chunk(1, 100) == merged.chunk(1, 100)


@both
def test_what_cannot_share_a_batch_changes_nothing(receive):
    shared = receive.Batch()
    assert receive.append(shared, 7, b'{"type":"a","payload":1}', LIMITS) is True
    before = columns(shared)
    assert receive.append(shared, 7, b'[{"type":"a","payload":1}]', LIMITS) is False
    assert receive.append(shared, 7, b' {"type":"a","payload":1}', LIMITS) is False
    assert receive.append(shared, 7, b"", LIMITS) is False
    for body in (
        b"{",
        b'{"type":"a"}',
        b'{"type":" ","payload":1}',
        b'{"type":"a","payload":"\xff"}',
    ):
        with pytest.raises(BodyError) as shared_error:
            receive.append(shared, 7, body, LIMITS)
        with pytest.raises(BodyError) as alone_error:
            receive.parse(body, JSON, LIMITS)
        assert str(shared_error.value) == str(alone_error.value)
        assert shared_error.value.index == alone_error.value.index
    for producer in (-1, 1 << 63):
        with pytest.raises(ValueError, match="63 bits"):
            receive.append(shared, producer, b'{"type":"a","payload":1}', LIMITS)
    assert columns(shared) == {name: list(column) for name, column in before.items()}
    shared.set_ids([1])
    with pytest.raises(ValueError, match="with ids"):
        receive.append(shared, 7, b'{"type":"a","payload":1}', LIMITS)
    with pytest.raises(ValueError, match="without producers"):
        receive.append(receive.parse(b'{"type":"a","payload":1}', JSON, LIMITS), 7, b"{}", LIMITS)


@both
def test_the_last_message_can_be_forgotten(receive):
    batch = receive.Batch()
    for n in range(3):
        receive.append(batch, n, b'{"type":"a","payload":%d}' % n, LIMITS)
    batch.drop_last()
    assert batch.payloads == [b"0", b"1"]
    assert batch.biz_ids == [0, 1]
    assert {len(column) for column in columns(batch).values()} == {0, 2}  # no ids yet
    batch.set_ids([5, 6])
    batch.drop_last()
    assert columns(batch) == columns(batch.take([0]))
    batch.drop_last()
    with pytest.raises(IndexError):
        batch.drop_last()


@both
def test_half_a_stamp_is_none(receive):
    batch = receive.parse(b'{"type":"a","payload":1}', JSON, LIMITS)
    batch.set_ids([1])
    with pytest.raises(ValueError, match="not stamped"):
        batch.rows()
    batch.set_producer(7)
    assert batch.rows()[0][:2] == (1, 7)
    for wrong in (-1, 1 << 63):
        with pytest.raises(ValueError, match="63 bits"):
            batch.set_producer(wrong)
