import importlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_core.errors import ChunkError
from notify_core.pure import chunk
from notify_core.records import (
    DROPPED,
    PENDING,
    QUEUED,
    REASON_DISCARDED,
    REASON_EXPIRED,
    REASON_NONE,
    REASON_UNMATCHED,
    UNMATCHED_SUB,
    DeliveryRecord,
    MessageRecord,
)

pure = importlib.import_module("notify_core.pure.fanout")
core = (
    pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.fanout")
)
both = pytest.mark.parametrize("fanout", list(dict.fromkeys([core, pure])))

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
INT_MAX = (1 << 63) - 1
ALL = [(1, 12, [])]
MESSAGE = MessageRecord(7031, 12, "order.paid", "", b"", "", 0, 0, b'{"id":1}')


def split(
    fanout,
    messages,
    subscriptions=ALL,
    modes=None,
    skip=(),
    rows_max=100,
    bytes_max=1 << 20,
    now_ms=NOW_MS,
    horizon_ms=HOUR_MS,
):
    table = fanout.Table(subscriptions)
    ingest = [chunk.pack_messages(1, messages[:2]), chunk.pack_messages(1, messages[2:])]
    return fanout.split(table, ingest, modes or {}, now_ms, horizon_ms, skip, rows_max, bytes_max)


def queued(result):
    """What is in the queue chunks: (sub_id, deliveries) each."""
    found = []
    for sub_id, count, data in result.queued:
        assert chunk.unpack_deliveries(data)[0] == sub_id
        deliveries = chunk.unpack_deliveries(data)[1]
        assert len(deliveries) == count
        found.append((sub_id, deliveries))
    return found


def statuses(result):
    return [(row[1], row[2], row[4], row[5]) for row in result.rows]


@both
def test_a_message_goes_to_every_subscription_that_matches(fanout):
    subscriptions = [(3, 12, ["order.*"]), (1, 12, []), (2, 12, ["stock.*"]), (4, 99, [])]
    result = split(fanout, [MESSAGE], subscriptions)
    assert result.messages == 1
    assert result.rows == [
        (7031, 1, QUEUED, 0, REASON_NONE, 0, NOW_MS),
        (7031, 3, QUEUED, 0, REASON_NONE, 0, NOW_MS),
    ]
    assert queued(result) == [(1, [DeliveryRecord(0, MESSAGE)]), (3, [DeliveryRecord(0, MESSAGE)])]
    assert result.delayed == []


@both
@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("order.paid", ["order.paid"], ["order.paid.late", "order", "Order.paid"]),
        ("order.*", ["order.paid", "order.", "order.a.b"], ["order", "reorder.paid"]),
        ("*.paid", ["order.paid", ".paid"], ["order.paid.late"]),
        ("*", ["order.paid", "x"], []),
        ("a*b*c", ["abc", "a.b.c", "abbcc"], ["acb", "ab", "ac"]),
        ("ab*ba", ["abba", "ab.ba"], ["aba"]),
        ("a**b", ["ab", "a.b"], ["a"]),
        ("*x*x*", ["xx", "axbxc"], ["x"]),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}.*", ["caf\xe9.open"], ["cafe.open"]),
    ],
)
def test_a_star_stands_for_any_run(fanout, pattern, matching, other):
    table = fanout.Table([(1, 12, ["never", pattern])])
    assert [table.match(12, text) for text in matching] == [(1,)] * len(matching)
    assert [table.match(12, text) for text in other] == [()] * len(other)


@both
def test_a_message_that_matches_nobody_leaves_a_row_too(fanout):
    result = split(fanout, [MESSAGE], [(1, 99, [])])
    assert result.rows == [(7031, UNMATCHED_SUB, DROPPED, 0, REASON_UNMATCHED, 0, NOW_MS)]
    assert result.queued == []


@both
def test_rows_that_are_alike_are_counted(fanout):
    wanted = [MESSAGE._replace(id=id_) for id_ in (7, 8, 9)]
    result = split(fanout, wanted, [(2, 12, []), (1, 12, [])], {2: fanout.HOLD})
    assert result.row_count == 6
    assert result.counts(3) == [
        (1, 0, QUEUED, NOW_MS, 1),
        (1, 1, QUEUED, NOW_MS, 2),
        (2, 0, PENDING, NOW_MS, 1),
        (2, 1, PENDING, NOW_MS, 2),
    ]
    assert result.counts(63) == [(1, 0, QUEUED, NOW_MS, 3), (2, 0, PENDING, NOW_MS, 3)]
    for span_bits in (-1, 64):
        with pytest.raises(ValueError, match="span_bits"):
            result.counts(span_bits)


@both
def test_modes_hold_and_discard(fanout):
    subscriptions = [(1, 12, []), (2, 12, []), (3, 12, [])]
    result = split(fanout, [MESSAGE], subscriptions, {2: fanout.HOLD, 3: fanout.DISCARD})
    assert statuses(result) == [
        (1, QUEUED, REASON_NONE, 0),
        (2, PENDING, REASON_NONE, 0),
        (3, DROPPED, REASON_DISCARDED, 0),
    ]
    assert [sub_id for sub_id, _ in queued(result)] == [1]


@both
def test_a_deliver_time_delays_within_the_horizon_and_waits_in_the_database_beyond(fanout):
    soon = MESSAGE._replace(deliver_ms=NOW_MS + HOUR_MS)
    late = MESSAGE._replace(id=7032, deliver_ms=NOW_MS + HOUR_MS + 1)
    past = MESSAGE._replace(id=7033, deliver_ms=NOW_MS)
    result = split(fanout, [soon, late, past])
    assert statuses(result) == [
        (1, QUEUED, REASON_NONE, soon.deliver_ms),
        (1, PENDING, REASON_NONE, late.deliver_ms),
        (1, QUEUED, REASON_NONE, 0),
    ]
    ((sub_id, due_ms, data),) = result.delayed
    assert (sub_id, due_ms) == (1, soon.deliver_ms)
    assert chunk.unpack_deliveries(data) == (1, [DeliveryRecord(0, soon)])
    assert queued(result) == [(1, [DeliveryRecord(0, past)])]


@both
def test_an_expired_message_is_dropped_and_a_held_one_keeps_its_time(fanout):
    expired = MESSAGE._replace(expires_ms=NOW_MS)
    alive = MESSAGE._replace(id=7032, expires_ms=NOW_MS + 1)
    result = split(fanout, [expired, alive])
    assert statuses(result) == [(1, DROPPED, REASON_EXPIRED, 0), (1, QUEUED, REASON_NONE, 0)]
    later = MESSAGE._replace(deliver_ms=NOW_MS + 5)
    held = split(fanout, [later], modes={1: fanout.HOLD})
    assert statuses(held) == [(1, PENDING, REASON_NONE, NOW_MS + 5)]
    assert held.delayed == []


@both
def test_skipped_deliveries_are_left_out(fanout):
    messages = [MESSAGE._replace(id=number) for number in (1, 2)]
    subscriptions = [(5, 12, []), (6, 12, [])]
    for skip in ({(1, 5), (2, 6)}, [(1, 5), (2, 6)], {(1, 5): None, (2, 6): None}):
        result = split(fanout, messages, subscriptions, skip=skip)
        assert result.messages == 2
        assert [row[:2] for row in result.rows] == [(1, 6), (2, 5)]
        assert [(sub_id, count) for sub_id, count, _ in result.queued] == [(6, 1), (5, 1)]


@both
def test_that_nobody_matched_is_said_once(fanout):
    assert split(fanout, [MESSAGE], []).rows[0][1] == UNMATCHED_SUB
    assert split(fanout, [MESSAGE], [], skip={(MESSAGE.id, UNMATCHED_SUB)}).rows == []


@both
def test_a_message_that_comes_twice_is_split_once(fanout):
    copies = [MESSAGE._replace(id=number) for number in (4, 2, 4, 3, 2)]
    ingest = [chunk.pack_messages(1, copies), chunk.pack_messages(1, [copies[3]])]
    result = fanout.split(fanout.Table(ALL), ingest, {}, NOW_MS, 0, (), 10, 1 << 20)
    assert [row[0] for row in result.rows] == [4, 2, 3]
    assert result.messages == 3
    assert [count for _, count, _ in result.queued] == [3]


@both
def test_the_latest_config_version_is_told(fanout):
    ingest = [chunk.pack_messages(version, [MESSAGE]) for version in (3, 9, 4)]
    result = fanout.split(fanout.Table(ALL), ingest, {}, NOW_MS, 0, (), 10, 1 << 20)
    assert result.config_version == 9


@both
def test_chunks_are_limited_in_rows(fanout):
    messages = [MESSAGE._replace(id=number) for number in range(7)]
    result = split(fanout, messages, [(1, 12, []), (2, 12, [])], rows_max=3)
    assert [(sub_id, count) for sub_id, count, _ in result.queued] == [
        (1, 3), (1, 3), (1, 1), (2, 3), (2, 3), (2, 1)
    ]  # fmt: skip
    order = [delivery.message.id for _, part in queued(result)[:3] for delivery in part]
    assert order == list(range(7))


@both
def test_chunks_are_limited_in_bytes_but_hold_one_at_least(fanout):
    sizes = (1000, 2, 2, 1000)
    messages = [MESSAGE._replace(id=id_, payload=bytes(size)) for id_, size in enumerate(sizes)]
    result = split(fanout, messages, bytes_max=100)
    assert [count for _, count, _ in result.queued] == [1, 2, 1]


@both
def test_payload_and_odd_encodings_are_copied_not_written_anew(fanout):
    long_form = (
        b"\xdc\x00\x09\xd1\x00\x07\xcc\x0c\xd9\x01a\xa0\xc5\x00\x00\xa0\xd0\x00\x00\xc4\x02{}"
    )
    ingest = b"\x94\x01\x01\x00\x91" + long_form
    result = fanout.split(fanout.Table(ALL), [ingest], {}, NOW_MS, 0, (), 10, 1 << 20)
    assert result.queued == [(1, 1, b"\x94\x01\x02\x01\x91\x92\x00" + long_form)]


@both
def test_a_payload_that_stayed_behind_stays_behind(fanout):
    bare = MESSAGE._replace(payload=None)
    assert queued(split(fanout, [bare])) == [(1, [DeliveryRecord(0, bare)])]


@both
def test_insert_text(fanout):
    result = split(fanout, [MESSAGE], [(1, 12, []), (2, 12, [])], {2: fanout.DISCARD})
    assert result.insert_sql(10, 1 << 20) == [
        (
            b"INSERT IGNORE INTO receive_msg "
            b"(msg_id,sub_id,status,attempts,reason,due_ms,updated_ms) VALUES "
            b"(7031,1,1,0,0,0,1800000000000),(7031,2,3,0,2,0,1800000000000)"
        )
    ]


@both
def test_what_is_queued_at_once_leaves_the_rest_of_its_row_to_the_defaults(fanout):
    later = MESSAGE._replace(id=7032, deliver_ms=NOW_MS + 1)
    result = split(fanout, [MESSAGE, later, MESSAGE._replace(id=7033)], [(1, 12, []), (2, 12, [])])
    assert result.insert_sql(10, 1 << 20) == [
        (
            b"INSERT IGNORE INTO receive_msg (msg_id,sub_id,updated_ms) VALUES "
            b"(7031,1,1800000000000),(7031,2,1800000000000),"
            b"(7033,1,1800000000000),(7033,2,1800000000000)"
        ),
        (
            b"INSERT IGNORE INTO receive_msg "
            b"(msg_id,sub_id,status,attempts,reason,due_ms,updated_ms) VALUES "
            b"(7032,1,1,0,0,1800000000001,1800000000000),"
            b"(7032,2,1,0,0,1800000000001,1800000000000)"
        ),
    ]


@both
@pytest.mark.parametrize(("rows_max", "bytes_max"), [(4, 1 << 20), (1000, 150), (0, 0)])
def test_rows_of_one_message_are_never_split_over_statements(fanout, rows_max, bytes_max):
    messages = [MESSAGE._replace(id=number) for number in range(100, 110)]
    result = split(fanout, messages, [(sub_id, 12, []) for sub_id in (1, 2, 3)])
    statements = result.insert_sql(rows_max, bytes_max)
    assert len(statements) > 1
    assert sum(statement.count(b",1800000000000)") for statement in statements) == 30
    for number in range(100, 110):
        assert sum(b"(%d," % number in statement for statement in statements) == 1


@both
def test_nothing_gives_nothing(fanout):
    for result in (split(fanout, []), fanout.Split()):
        assert (result.messages, result.rows, result.queued, result.delayed) == (0, [], [], [])
        assert result.insert_sql(10, 10) == []


@both
def test_a_damaged_chunk_splits_nothing(fanout):
    good = chunk.pack_messages(1, [MESSAGE])
    for bad in (good[:-1], good + b"\xc0", chunk.pack_outcomes([]), b""):
        with pytest.raises(ChunkError):
            fanout.split(fanout.Table(ALL), [good, bad], {}, NOW_MS, 0, (), 10, 10)


@both
def test_an_error_of_the_caller_s_own_collections_comes_through(fanout):
    class Broken(dict):
        def get(self, key, default=None):
            raise LookupError(key)

    with pytest.raises(LookupError):
        split(fanout, [MESSAGE], modes=Broken({1: 0}))


times = st.sampled_from([0, 1, NOW_MS - 1, NOW_MS, NOW_MS + 1, NOW_MS + HOUR_MS + 1, INT_MAX])
types = st.sampled_from(["a", "a.b", "a.b.c", "b", "ab", "\xe9.b", ""])
patterns = st.text("ab.*\xe9", max_size=5)
messages = st.builds(
    MessageRecord, st.integers(0, 6) | st.integers(0, INT_MAX), st.integers(1, 3), types,
    st.text(max_size=3), st.binary(max_size=4), st.text(max_size=3), times, times,
    st.none() | st.binary(max_size=50),
)  # fmt: skip
subscriptions = st.lists(
    st.tuples(st.integers(1, 300), st.integers(1, 3), st.lists(patterns, max_size=3)), max_size=9
)


@given(
    st.lists(messages, max_size=12), subscriptions,
    st.dictionaries(st.integers(1, 300), st.integers(0, 3), max_size=9),
    st.sets(st.tuples(st.integers(0, 6), st.integers(0, 9))),
    st.integers(-1, 5), st.integers(-1, 200),
    st.sampled_from([0, 1, NOW_MS]), st.sampled_from([-1, 0, HOUR_MS, INT_MAX, 1 << 70]),
)  # fmt: skip
def test_twins_split_alike(records, subs, modes, skip, rows_max, bytes_max, now_ms, horizon_ms):
    first, second = (
        split(fanout, records, subs, modes, skip, rows_max, bytes_max, now_ms, horizon_ms)
        for fanout in (core, pure)
    )
    for name in ("messages", "config_version", "rows", "queued", "delayed"):
        assert getattr(first, name) == getattr(second, name)
    assert first.insert_sql(rows_max, bytes_max) == second.insert_sql(rows_max, bytes_max)
    for span_bits in (0, 2, 63):
        assert first.counts(span_bits) == second.counts(span_bits)
    assert first.insert_sql(1 << 80, 1 << 80) == second.insert_sql(1 << 80, 1 << 80)


@given(st.integers(0, 300), st.binary(max_size=3), st.integers(0, 3))
def test_twins_agree_on_damaged_chunks(position, inserted, removed):
    data = chunk.pack_messages(1, [MESSAGE, MESSAGE._replace(type="a", payload=None)])
    position %= len(data)
    damaged = data[:position] + inserted + data[position + removed :]
    answers = []
    for fanout in (core, pure):
        try:
            result = fanout.split(fanout.Table(ALL), [damaged], {}, NOW_MS, 0, (), 9, 999)
        except ChunkError:
            answers.append(ChunkError)
        else:
            answers.append((result.rows, result.queued))
    assert answers[0] == answers[1]
