"""The compiled core against its pure twins: chunk, fanout, mark.

Each group is one job on one batch; the two rows in it are the twins, so their ratio can be
read off one run. 600 B payloads, fan-out 5, chunks of 100.
"""

import importlib

import pytest

from notify_core.pure import chunk
from notify_core.records import DELIVERED, QUEUED, DeliveryRecord, MessageRecord, OutcomeRecord

CORE, PURE = "notify_core", "notify_core.pure"
BATCHES = (100, 500, 1000)
NOW_MS = 1_800_000_000_000
CHUNK_ROWS = 100
PAYLOAD = b'{"order_id":10001,"status":"paid","note":"%s"}' % (b"x" * 555)
# Five subscriptions match; as many more of the producer and of others do not.
SUBSCRIPTIONS = [
    *[(sub_id, 12, ["order.*"]) for sub_id in range(1, 6)],
    *[(sub_id, 12, ["stock.*", "*.late"]) for sub_id in range(6, 11)],
    *[(sub_id, 13, []) for sub_id in range(11, 60)],
]

twins = pytest.mark.parametrize("twin", [CORE, PURE])
batches = pytest.mark.parametrize("rows", BATCHES)


def module(twin, name):
    return importlib.import_module(f"{twin}.{name}")


def messages(rows):
    return [
        MessageRecord(
            (7031 << 40) + number * 64, 12, f"order.event{number % 7}", "", b"", "", 0, 0, PAYLOAD
        )
        for number in range(rows)
    ]


def ingest(rows):
    made = messages(rows)
    return [
        chunk.pack_messages(1, made[start : start + CHUNK_ROWS])
        for start in range(0, rows, CHUNK_ROWS)
    ]


def outcomes(rows, failing):
    """Ten subscriptions; one of `failing` outcomes is a failed try, 0: none."""
    made = []
    for number in range(rows):
        key = ((7031 << 40) + number * 64, number % 10 + 1)
        at_ms = NOW_MS + number
        if failing and number % failing == 0:
            made.append(
                OutcomeRecord(*key, QUEUED, 1, at_ms, at_ms + 5000, 30, 500, 0, "status 500", b"x")
            )
        else:
            made.append(OutcomeRecord(*key, DELIVERED, 1, at_ms, 0, 12, 200, 0, "", b"ok"))
    return made


def marked(rows, failing):
    made = outcomes(rows, failing)
    return [
        chunk.pack_outcomes(made[start : start + CHUNK_ROWS])
        for start in range(0, rows, CHUNK_ROWS)
    ]


def measure(benchmark, group, rows, function, *arguments):
    benchmark.group = f"{group} {rows}"
    benchmark.extra_info["rows"] = rows
    benchmark(function, *arguments)


@batches
@twins
def test_pack_deliveries(benchmark, twin, rows):
    deliveries = [DeliveryRecord(0, message) for message in messages(rows)]
    measure(
        benchmark, "pack deliveries", rows, module(twin, "chunk").pack_deliveries, 1, deliveries
    )


@batches
@twins
def test_unpack_deliveries(benchmark, twin, rows):
    data = chunk.pack_deliveries(1, [DeliveryRecord(0, message) for message in messages(rows)])
    measure(benchmark, "unpack deliveries", rows, module(twin, "chunk").unpack_deliveries, data)


@batches
@twins
def test_pack_outcomes(benchmark, twin, rows):
    records = outcomes(rows, failing=20)
    measure(benchmark, "pack outcomes", rows, module(twin, "chunk").pack_outcomes, records)


@batches
@twins
def test_fan_out_and_rows(benchmark, twin, rows):
    fanout = module(twin, "fanout")
    table, chunks = fanout.Table(SUBSCRIPTIONS), ingest(rows)

    def fan_out():
        split = fanout.split(table, chunks, {}, NOW_MS, 60_000, (), CHUNK_ROWS, 1 << 20)
        assert len(split.queued) == 5 * len(chunks)
        return split.insert_sql(2000, 1 << 20)

    measure(benchmark, "fan out and INSERT text", rows, fan_out)


@batches
@twins
@pytest.mark.parametrize("failing", [0, 20], ids=["all delivered", "one of 20 fails"])
def test_mark(benchmark, twin, rows, failing):
    mark, chunks = module(twin, "mark"), marked(rows, failing)

    def group():
        marks = mark.group(chunks, ())
        return marks.finals_sql(1000), marks.attempts_sql(1000, 1 << 20)

    measure(benchmark, f"mark, {failing=}", rows, group)
