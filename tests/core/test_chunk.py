import importlib
import os
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_core.errors import ChunkError
from notify_core.records import DELIVERED, DeliveryRecord, MessageRecord, OutcomeRecord

pure = importlib.import_module("notify_core.pure.chunk")
core = (
    pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.chunk")
)
both = pytest.mark.parametrize("chunk", list(dict.fromkeys([core, pure])))

INT_MAX = (1 << 63) - 1
KINDS = ("messages", "deliveries", "outcomes")
EDGES = [edge + step for edge in (1 << 7, 1 << 8, 1 << 16, 1 << 32) for step in (-1, 0)]
numbers = st.integers(0, INT_MAX) | st.integers(0, 300) | st.sampled_from([*EDGES, INT_MAX])
texts = st.text(max_size=40)
blobs = st.binary(max_size=40) | st.sampled_from([bytes(255), bytes(256), bytes(65536)])
messages = st.builds(
    MessageRecord, numbers, numbers, texts, texts, blobs, texts, numbers, numbers, st.none() | blobs
)
deliveries = st.builds(DeliveryRecord, numbers, messages)
outcomes = st.builds(OutcomeRecord, *[numbers] * 9, texts, blobs)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | texts
    | blobs,
    lambda inner: (
        st.lists(inner, max_size=11) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=20,
)
MESSAGE = MessageRecord(7031 << 40, 12, "order.paid", "", b'{"x-trace":"1"}', "", 0, 0, b'{"id":1}')
OUTCOME = OutcomeRecord(7031 << 40, 3, DELIVERED, 1, 1_800_000_000_000, 0, 12, 200, 0, "", b"ok")


def answer(function, *arguments):
    try:
        return function(*arguments)
    except ChunkError:
        return ChunkError


def packed(chunk=pure):
    """One chunk of each kind."""
    return {
        "messages": chunk.pack_messages(3, [MESSAGE, MESSAGE._replace(payload=None)]),
        "deliveries": chunk.pack_deliveries(5, [DeliveryRecord(2, MESSAGE)]),
        "outcomes": chunk.pack_outcomes([OUTCOME, OUTCOME._replace(error="timed out")]),
    }


def unpack_all(chunk, data):
    """The answers of all three readers."""
    return [answer(getattr(chunk, f"unpack_{kind}"), data) for kind in KINDS]


@both
def test_what_is_packed_comes_back(chunk):
    data = packed(chunk)
    assert chunk.unpack_messages(data["messages"]) == (3, [MESSAGE, MESSAGE._replace(payload=None)])
    assert chunk.unpack_deliveries(data["deliveries"]) == (5, [DeliveryRecord(2, MESSAGE)])
    assert chunk.unpack_outcomes(data["outcomes"])[1].error == "timed out"


@both
def test_records_come_back_as_named_tuples(chunk):
    _, (message, _) = chunk.unpack_messages(packed()["messages"])
    _, (delivery,) = chunk.unpack_deliveries(packed()["deliveries"])
    outcome, _ = chunk.unpack_outcomes(packed()["outcomes"])
    assert type(message) is type(delivery.message) is MessageRecord
    assert type(delivery) is DeliveryRecord
    assert type(outcome) is OutcomeRecord
    assert message.type == "order.paid"


@both
def test_a_chunk_is_msgpack(chunk):
    top = msgpack.unpackb(packed(chunk)["messages"])
    assert top[:3] == [chunk.VERSION, chunk.MESSAGES, 3]
    assert top[3][0] == list(MESSAGE)


@both
def test_another_version_is_named(chunk):
    with pytest.raises(ChunkError, match="version 2"):
        chunk.unpack_messages(msgpack.packb([2, 1, 0, []]))
    with pytest.raises(ChunkError, match="version 2"):
        chunk.unpack_messages(msgpack.packb([2, "new"]))


@both
def test_another_kind_is_named(chunk):
    with pytest.raises(ChunkError, match="of deliveries, expected messages"):
        chunk.unpack_messages(packed()["deliveries"])
    with pytest.raises(ChunkError, match="of 9, expected outcomes"):
        chunk.unpack_outcomes(msgpack.packb([1, 9, 0, []]))


@both
@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_is_noticed(chunk, kind):
    data = packed()[kind]
    unpack = getattr(chunk, f"unpack_{kind}")
    for end in range(len(data)):
        with pytest.raises(ChunkError):
            unpack(data[:end])
    with pytest.raises(ChunkError):
        unpack(data + b"\xc0")


@both
@pytest.mark.parametrize(
    "data",
    [
        b"\x94\x01\x01\x00\xdd\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff\x01",
        b"\x94\x01\x03\x00\x91\x9b" + b"\x01" * 9 + b"\xdb\xff\xff\xff\xff",
        b"\x94\x01\x03\x00\x91\x9b" + b"\x01" * 9 + b"\xa0\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\x81\x90\x01",
        b"",
    ],
)
def test_absurd_lengths_and_depths_cost_nothing(chunk, data):
    tracemalloc.start()
    try:
        assert unpack_all(chunk, data) == [ChunkError] * 3
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@both
@pytest.mark.parametrize("five", [b"\x05", *(
    bytes([tag]) + (5).to_bytes(width, "big")
    for tag, width in zip(range(0xCC, 0xD4), [1, 2, 4, 8] * 2, strict=True)
)])  # fmt: skip
def test_any_form_of_an_integer_is_read(chunk, five):
    assert chunk.unpack_messages(b"\x94\x01\x01" + five + b"\x90") == (5, [])
    long_way = b"\xdc\x00\x04" + five[:-1] + b"\x01" + five[:-1] + b"\x01\x00\xdd\x00\x00\x00\x00"
    assert chunk.unpack_messages(long_way) == (0, [])


@both
@pytest.mark.parametrize(
    "text", [b"\xa2ok", b"\xd9\x02ok", b"\xda\x00\x02ok", b"\xdb\x00\x00\x00\x02ok"]
)
@pytest.mark.parametrize("blob", [b"\xc4\x02ok", b"\xc5\x00\x02ok", b"\xc6\x00\x00\x00\x02ok"])
def test_any_form_of_texts_and_bytes_is_read(chunk, text, blob):
    data = b"\x94\x01\x03\x00\x91\xdc\x00\x0b" + b"\x07" * 9 + text + blob
    assert chunk.unpack_outcomes(data) == [OutcomeRecord(*[7] * 9, "ok", b"ok")]


@both
@pytest.mark.parametrize(
    "number", [b"\xff", b"\xd0\x80", b"\xd3" + b"\xff" * 8, b"\xcf" + b"\xff" * 8]
)
def test_integers_are_0_to_2_63(chunk, number):
    with pytest.raises(ChunkError):
        chunk.unpack_messages(b"\x94\x01\x01" + number + b"\x90")


@both
@given(text=st.binary(min_size=1, max_size=31) | st.sampled_from([
    b"\xc0\x80", b"\xed\xa0\x80", b"\xed\x9f\xbf", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80",
    b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"12345678\xe2\x82", "12345678\N{EURO SIGN}".encode(),
]))  # fmt: skip
def test_texts_are_utf8(chunk, text):
    data = (
        b"\x94\x01\x03\x00\x91\x9b" + b"\x07" * 9 + bytes([0xA0 | len(text)]) + text + b"\xc4\x00"
    )
    try:
        expected = text.decode()
    except UnicodeDecodeError:
        assert answer(chunk.unpack_outcomes, data) is ChunkError
    else:
        assert chunk.unpack_outcomes(data)[0].error == expected


@both
@pytest.mark.parametrize(
    "broken",
    [
        MESSAGE._replace(id=-1),
        MESSAGE._replace(id=1 << 63),
        MESSAGE._replace(biz_id=True),
        MESSAGE._replace(type=b"order.paid"),
        MESSAGE._replace(type="\ud800"),
        MESSAGE._replace(headers=None),
        MESSAGE._replace(payload="text"),
        MESSAGE[:8],
        None,
    ],
)
def test_what_no_reader_would_take_is_not_packed(chunk, broken):
    with pytest.raises(ChunkError):
        chunk.pack_messages(1, [broken])
    with pytest.raises(ChunkError):
        chunk.pack_deliveries(1, [(0, broken)])
    with pytest.raises(ChunkError):
        chunk.pack_deliveries(-1, [])


@given(numbers, st.lists(messages, max_size=20))
def test_twins_pack_messages_alike(version, records):
    data = core.pack_messages(version, records)
    assert data == pure.pack_messages(version, records)
    assert core.unpack_messages(data) == pure.unpack_messages(data) == (version, records)


@given(numbers, st.lists(deliveries, max_size=17))
def test_twins_pack_deliveries_alike(sub_id, records):
    data = core.pack_deliveries(sub_id, records)
    assert data == pure.pack_deliveries(sub_id, records)
    assert core.unpack_deliveries(data) == pure.unpack_deliveries(data) == (sub_id, records)


@given(st.lists(outcomes, max_size=17))
def test_twins_pack_outcomes_alike(records):
    data = core.pack_outcomes(records)
    assert data == pure.pack_outcomes(records)
    assert core.unpack_outcomes(data) == pure.unpack_outcomes(data) == records


@given(st.data(), anything | st.just("\udfff"))
def test_twins_refuse_the_same_records(data, strange):
    fields = list(data.draw(st.sampled_from([MESSAGE, OUTCOME])))
    fields[data.draw(st.integers(0, len(fields) - 1))] = strange
    record = tuple(fields)
    for pack, arguments in (
        ("pack_messages", (1, [record])),
        ("pack_messages", (strange, [])),
        ("pack_deliveries", (1, [(strange, MESSAGE), (1, record)])),
        ("pack_outcomes", ([record],)),
        ("pack_outcomes", ([strange],)),
    ):
        assert answer(getattr(core, pack), *arguments) == answer(getattr(pure, pack), *arguments)


@given(st.sampled_from(KINDS), st.integers(0, 500), st.binary(max_size=3), st.integers(0, 3))
def test_twins_agree_on_damaged_chunks(kind, position, inserted, removed):
    data = packed()[kind]
    position %= len(data)
    damaged = data[:position] + inserted + data[position + removed :]
    assert unpack_all(core, damaged) == unpack_all(pure, damaged)


@given(st.integers(0, 4), st.sampled_from([0, 7]) | anything, anything)
def test_twins_agree_on_any_msgpack(kind, ref, items):
    for top in ([1, kind, ref, items], [1, kind, ref, [items]], [1, kind, ref], items):
        data = msgpack.packb(top)
        assert unpack_all(core, data) == unpack_all(pure, data)


@given(st.binary(max_size=60))
def test_twins_agree_on_noise(data):
    for noise in (data, b"\x94\x01\x01\x00\x91\x99" + data, b"\x94\x01\x02\x00\x91\x92" + data):
        assert unpack_all(core, noise) == unpack_all(pure, noise)
