import importlib
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_core.errors import ChunkError
from notify_core.pure import chunk
from notify_core.records import (
    DELIVERED,
    DROPPED,
    PENDING,
    QUEUED,
    REASON_EXHAUSTED,
    REASON_REFUSED,
    OutcomeRecord,
)

pure = importlib.import_module("notify_core.pure.mark")
core = pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.mark")
both = pytest.mark.parametrize("mark", list(dict.fromkeys([core, pure])))

INT_MAX = (1 << 63) - 1
AT_MS = 30_000_000 * 60_000
DONE = OutcomeRecord(7031, 1, DELIVERED, 1, AT_MS, 0, 12, 200, 0, "", b"ok")
FAILED = OutcomeRecord(7031, 1, QUEUED, 1, AT_MS, AT_MS + 5000, 30, 500, 0, "status 500", b"oops")


def group(mark, *chunks, skip=()):
    return mark.group([chunk.pack_outcomes(outcomes) for outcomes in chunks], skip)


@both
def test_equal_outcomes_of_a_subscription_become_one_update(mark):
    outcomes = [DONE._replace(msg_id=number, at_ms=AT_MS + number) for number in (9, 7, 8)]
    marks = group(mark, outcomes[:2], outcomes[2:])
    assert marks.finals == [(1, DELIVERED, 1, 0, AT_MS + 9, [7, 8, 9])]
    assert marks.finals_sql(100) == [
        (
            b"UPDATE receive_msg SET status=2,attempts=1,reason=0,due_ms=0,"
            b"updated_ms=1800000000009 WHERE sub_id=1 AND msg_id IN (7,8,9) AND status IN (0,1)"
        )
    ]
    assert marks.retries == marks.attempts == []


@both
def test_every_combination_of_values_is_a_group_of_its_own(mark):
    dropped = DONE._replace(status=DROPPED, code=410, reason=REASON_REFUSED)
    marks = group(mark, [
        DONE._replace(msg_id=1, sub_id=2), DONE._replace(msg_id=2), DONE._replace(msg_id=1),
        DONE._replace(msg_id=3, attempts=2), dropped._replace(msg_id=4),
        dropped._replace(msg_id=5, reason=REASON_EXHAUSTED),
    ])  # fmt: skip
    assert marks.finals == [
        (1, DELIVERED, 1, 0, AT_MS, [1, 2]),
        (1, DELIVERED, 2, 0, AT_MS, [3]),
        (1, DROPPED, 1, REASON_REFUSED, AT_MS, [4]),
        (1, DROPPED, 1, REASON_EXHAUSTED, AT_MS, [5]),
        (2, DELIVERED, 1, 0, AT_MS, [1]),
    ]


@both
def test_an_update_holds_at_most_in_max_ids(mark):
    marks = group(mark, [DONE._replace(msg_id=number) for number in range(1, 8)])
    statements = marks.finals_sql(3)
    assert [text.split(b"IN (")[1].split(b")")[0] for text in statements] == [
        b"1,2,3", b"4,5,6", b"7"
    ]  # fmt: skip
    assert len(marks.finals_sql(1 << 80)) == 1
    for in_max in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            marks.finals_sql(in_max)


@both
def test_a_retry_keeps_the_outcome_with_the_most_attempts(mark):
    later = FAILED._replace(attempts=2, at_ms=AT_MS + 5, due_ms=AT_MS + 90)
    marks = group(mark, [FAILED, later, FAILED], [FAILED._replace(msg_id=6, status=PENDING)])
    assert marks.retries == [
        (6, 1, PENDING, 1, 0, FAILED.due_ms, AT_MS),
        (7031, 1, QUEUED, 2, 0, AT_MS + 90, AT_MS + 5),
    ]
    assert marks.finals == []


@both
def test_of_retries_with_as_many_attempts_the_latest_is_kept(mark):
    put_off = FAILED._replace(code=0, error="", at_ms=AT_MS + 5, due_ms=AT_MS + 90, status=PENDING)
    for order in ([FAILED, put_off], [put_off, FAILED]):
        for parts in ([order], [[one] for one in order]):
            marks = group(mark, *parts)
            assert marks.retries == [(7031, 1, PENDING, 1, 0, AT_MS + 90, AT_MS + 5)]
            assert len(marks.attempts) == 1


@both
def test_the_first_final_outcome_of_a_delivery_counts(mark):
    dropped = DONE._replace(status=DROPPED, attempts=3, reason=REASON_EXHAUSTED)
    marks = group(mark, [FAILED, DONE._replace(attempts=2)], [dropped, FAILED])
    assert marks.finals == [(1, DELIVERED, 2, 0, AT_MS, [7031])]
    assert marks.retries == []
    assert len(marks.attempts) == 2
    assert marks.minutes.tolist() == [[1, AT_MS // 60_000, 1, 0, 1, 42]]


@both
def test_skipped_deliveries_count_nowhere(mark):
    outcomes = [DONE, FAILED._replace(msg_id=5), FAILED._replace(msg_id=6)]
    for skip in ({(7031, 1), (5, 1)}, [(7031, 1), (5, 1)]):
        marks = group(mark, outcomes, skip=skip)
        assert marks.finals == []
        assert [retry[0] for retry in marks.retries] == [6]
        assert marks.minutes[:, 4].tolist() == [1]


@both
def test_attempt_rows_are_for_tries_that_tell_more_than_the_delivery_does(mark):
    silent = OutcomeRecord(1, 1, DROPPED, 0, AT_MS, 0, 0, 0, 1, "", b"")  # no HTTP try at all
    refused = OutcomeRecord(2, 1, QUEUED, 1, AT_MS, 9, 3, 0, 0, "connection refused", b"")
    marks = group(mark, [DONE, silent, refused, DONE._replace(msg_id=3, attempts=2)])
    assert marks.attempts == [
        (2, 1, 1, AT_MS, 3, 0, "connection refused", b""),
        (3, 1, 2, AT_MS, 12, 200, "", b"ok"),
    ]


@both
def test_attempts_text_is_escaped_and_limited(mark):
    marks = group(mark, [FAILED._replace(error="it's 'caf\xe9'", response=b'\0\n"\xff\\')] * 3)
    statements = marks.attempts_sql(2, 1 << 20)
    row = b"(7031,1,1,1800000000000,30,500,'it\\'s \\'caf\xc3\xa9\\'',_binary'\\0\\n\\\"\xff\\\\')"
    head = (
        b"INSERT IGNORE INTO receive_attempt "
        b"(msg_id,sub_id,attempt,at_ms,latency_ms,code,error,response) VALUES "
    )
    assert statements == [head + row + b"," + row, head + row]
    whole = len(head) + 3 * len(row) + 2
    assert len(marks.attempts_sql(10, whole)) == 1
    assert [text.count(row) for text in marks.attempts_sql(10, whole - 1)] == [2, 1]
    assert len(marks.attempts_sql(10, 1)) == 3


@both
def test_minutes_are_counted_by_subscription_and_minute(mark):
    marks = group(mark, [
        DONE._replace(msg_id=1, sub_id=2),
        DONE._replace(msg_id=2, at_ms=AT_MS + 59_999),
        DONE._replace(msg_id=3, at_ms=AT_MS + 60_000, status=DROPPED, code=500, latency_ms=7),
        FAILED._replace(msg_id=4),
        DONE._replace(msg_id=5, status=DROPPED, code=0, latency_ms=0),
    ])  # fmt: skip
    minute = AT_MS // 60_000
    assert marks.minutes.dtype == np.int64
    assert marks.minutes.tolist() == [
        [1, minute, 1, 1, 1, 42],
        [1, minute + 1, 0, 1, 1, 7],
        [2, minute, 1, 0, 0, 12],
    ]
    marks.minutes[0, 2] += 1  # the array is the caller's own


@both
def test_nothing_gives_nothing(mark):
    for marks in (mark.Marks(), mark.group([], ()), group(mark, [])):
        assert marks.finals == marks.retries == marks.attempts == []
        assert marks.finals_sql(5) == marks.attempts_sql(5, 5) == []
        assert marks.minutes.shape == (0, 6)


@both
def test_a_damaged_chunk_groups_nothing(mark):
    good = chunk.pack_outcomes([DONE])
    for bad in (good[:-1], good + b"\xc0", chunk.pack_messages(1, []), b""):
        with pytest.raises(ChunkError):
            mark.group([good, bad], ())


numbers = st.integers(0, 3) | st.integers(0, INT_MAX)
outcomes = st.builds(
    OutcomeRecord, st.integers(0, 4), st.integers(0, 2) | numbers, st.integers(0, 4), numbers,
    st.sampled_from([0, AT_MS, AT_MS + 1, AT_MS + 60_000]) | numbers, numbers,
    numbers, st.sampled_from([0, 200, 500]) | numbers, numbers,
    st.sampled_from(["", "it's", "caf\xe9"]), st.binary(max_size=4),
)  # fmt: skip


@given(
    st.lists(st.lists(outcomes, max_size=12), max_size=4),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=3),
    st.integers(1, 5),
    st.integers(-1, 300),
)
def test_twins_group_alike(parts, skip, rows_max, bytes_max):
    first, second = (group(mark, *parts, skip=skip) for mark in (core, pure))
    for name in ("finals", "retries", "attempts"):
        assert getattr(first, name) == getattr(second, name)
    assert first.minutes.dtype == second.minutes.dtype
    assert first.minutes.tolist() == second.minutes.tolist()
    assert first.finals_sql(rows_max) == second.finals_sql(rows_max)
    assert first.attempts_sql(rows_max, bytes_max) == second.attempts_sql(rows_max, bytes_max)


@given(st.integers(0, 300), st.binary(max_size=3), st.integers(0, 3))
def test_twins_agree_on_damaged_chunks(position, inserted, removed):
    data = chunk.pack_outcomes([DONE, FAILED])
    position %= len(data)
    damaged = data[:position] + inserted + data[position + removed :]
    answers = []
    for mark in (core, pure):
        try:
            marks = mark.group([damaged], ())
        except ChunkError:
            answers.append(ChunkError)
        else:
            answers.append((marks.finals, marks.retries, marks.attempts, marks.minutes.tolist()))
    assert answers[0] == answers[1]
