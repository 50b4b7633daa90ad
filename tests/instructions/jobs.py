"""What the compiled core does all day, job by job: counted here, timed by the benchmarks.

A job is the same for both twins. Its input is made by the pure one, so that nothing which is
measured makes what it is measured with.
"""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from notify_core.body import Limits
from notify_core.pure import chunk as pure_chunk
from notify_core.pure import fanout as pure_fanout
from notify_core.records import DELIVERED, QUEUED, DeliveryRecord, MessageRecord, OutcomeRecord

COMPILED: Final = "notify_core"
PURE: Final = "notify_core.pure"

NOW_MS: Final = 1_800_000_000_000
FIRST_ID: Final = 7031 << 40
CHUNK_ROWS: Final = 100
ROWS_MAX: Final = 2000
BYTES_MAX: Final = 1 << 20
ORDER: Final = {
    "order_id": 7031000000000001,
    "status": "paid",
    "customer": {"id": 555, "city": "Łódź", "note": 'ring "twice"'},
    "lines": [{"sku": f"SKU-{i:05}", "n": i, "price": "19.90"} for i in range(10)],
}
PAYLOAD: Final = json.dumps(ORDER, ensure_ascii=False).encode().ljust(600)
# Five subscriptions match; as many more of the producer and of others do not.
SUBSCRIPTIONS: Final = [
    *[(sub_id, 12, ["order.*"]) for sub_id in range(1, 6)],
    *[(sub_id, 12, ["stock.*", "*.late"]) for sub_id in range(6, 11)],
    *[(sub_id, 13, []) for sub_id in range(11, 60)],
]
PREFIX: Final = b"POST /hooks/orders HTTP/1.1\r\nhost: shop.internal:8080\r\nuser-agent: notify\r\n"
REQUEST_LINE: Final = b"POST /v1/messages HTTP/1.1\r\n"
REQUEST: Final = REQUEST_LINE + (
    b"host: notify.internal:8470\r\nuser-agent: shop/7.2\r\naccept: */*\r\n"
    b"authorization: Bearer nk_0123456789abcdefghijklmnopqrstuvwxyz\r\n"
    b"content-type: application/json\r\ncontent-length: 650\r\n\r\n"
)
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nserver: nginx\r\ndate: Fri, 15 Jan 2027 08:00:00 GMT\r\n"
    b"content-type: text/plain\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok"
)

Call = Callable[[], object]


@dataclass(frozen=True)
class Job:
    """One hot function. unit: what its batch consists of; make(twin, rows): a call of it."""

    name: str
    unit: str
    make: Callable[[str, int], Call]


def module(twin: str, name: str) -> Any:
    """One twin of a module of the core."""
    return importlib.import_module(f"{twin}.{name}")


def messages(rows: int) -> list[MessageRecord]:
    """Accepted messages of one producer, of seven types in turn."""
    return [
        MessageRecord(
            FIRST_ID + number * 64, 12, f"order.event{number % 7}", "", b"", "", 0, 0, PAYLOAD
        )
        for number in range(rows)
    ]


def outcomes(rows: int) -> list[OutcomeRecord]:
    """Outcomes of ten subscriptions; one of twenty is a failed try."""
    made = []
    for number in range(rows):
        key = (FIRST_ID + number * 64, number % 10 + 1)
        at_ms = NOW_MS + number
        if number % 20 == 0:
            made.append(
                OutcomeRecord(*key, QUEUED, 1, at_ms, at_ms + 5000, 30, 500, 0, "status 500", b"x")
            )
        else:
            made.append(OutcomeRecord(*key, DELIVERED, 1, at_ms, 0, 12, 200, 0, "", b"ok"))
    return made


def _parse(twin: str, rows: int) -> Call:
    items = [
        b'{"type":"order.paid","key":"order-%d","payload":%s}' % (number, PAYLOAD)
        for number in range(rows)
    ]
    body, parse, limits = b"[" + b",".join(items) + b"]", module(twin, "receive").parse, Limits()
    return lambda: parse(body, "application/json", limits)


def batch(twin: str, rows: int) -> Any:
    """Accepted messages as columns, stamped."""
    made: Any = _parse(twin, rows)()
    made.stamp(7, [FIRST_ID + number * 64 for number in range(rows)])
    return made


def _receive_rows(twin: str, rows: int) -> Call:
    made = batch(twin, rows)
    return lambda: made.insert_sql(False, ROWS_MAX, BYTES_MAX)


def _receive_chunk(twin: str, rows: int) -> Call:
    made = batch(twin, rows)
    return lambda: made.chunk(3, 65_536)


def _splitting(twin: str, rows: int) -> Call:
    fanout, made = module(twin, "fanout"), messages(rows)
    table = fanout.Table(SUBSCRIPTIONS)
    ingest = [
        pure_chunk.pack_messages(1, made[start : start + CHUNK_ROWS])
        for start in range(0, rows, CHUNK_ROWS)
    ]
    return lambda: fanout.split(table, ingest, {}, NOW_MS, 60_000, (), CHUNK_ROWS, BYTES_MAX)


def _split_rows(twin: str, rows: int) -> Call:
    split: Any = _splitting(twin, rows)()
    return lambda: split.insert_sql(ROWS_MAX, BYTES_MAX)


def _split_and_rows(twin: str, rows: int) -> Call:
    splitting: Any = _splitting(twin, rows)
    return lambda: splitting().insert_sql(ROWS_MAX, BYTES_MAX)


def _pack_pushes(twin: str, rows: int) -> Call:
    push = module(twin, "push")
    split = pure_fanout.split(
        pure_fanout.Table(SUBSCRIPTIONS),
        [pure_chunk.pack_messages(1, messages(rows))],
        {}, NOW_MS, 60_000, (), 1, BYTES_MAX,
    )  # fmt: skip
    groups = [
        ([b"{n}q:%d" % sub_id, b"{n}d:%d" % sub_id], [(sub_id, chunk, count, 0, NOW_MS)])
        for sub_id, count, chunk in split.queued
    ]
    return lambda: push.pack_pushes(b"push", groups, (7, NOW_MS))


def _scan(twin: str, rows: int) -> Call:
    scan, answer = module(twin, "push").scan, b"*3\r\n:1\r\n$4\r\n1-12\r\n+OK\r\n" * rows
    return lambda: scan(answer, 0, rows)


def _marked(rows: int) -> list[bytes]:
    made = outcomes(rows)
    return [
        pure_chunk.pack_outcomes(made[start : start + CHUNK_ROWS])
        for start in range(0, rows, CHUNK_ROWS)
    ]


def _group(twin: str, rows: int) -> Call:
    mark, chunks = module(twin, "mark"), _marked(rows)
    return lambda: mark.group(chunks, ())


def _mark_texts(twin: str, rows: int) -> Call:
    marks = module(twin, "mark").group(_marked(rows), ())
    return lambda: (marks.finals_sql(1000), marks.attempts_sql(1000, BYTES_MAX))


def _group_and_texts(twin: str, rows: int) -> Call:
    mark, chunks = module(twin, "mark"), _marked(rows)

    def marked() -> object:
        marks = mark.group(chunks, ())
        return marks.finals_sql(1000), marks.attempts_sql(1000, BYTES_MAX)

    return marked


def _pack_deliveries(twin: str, rows: int) -> Call:
    deliveries = [DeliveryRecord(0, message) for message in messages(rows)]
    pack = module(twin, "chunk").pack_deliveries
    return lambda: pack(1, deliveries)


def _unpack_deliveries(twin: str, rows: int) -> Call:
    made = pure_chunk.pack_deliveries(1, [DeliveryRecord(0, one) for one in messages(rows)])
    unpack = module(twin, "chunk").unpack_deliveries
    return lambda: unpack(made)


def _pack_outcomes(twin: str, rows: int) -> Call:
    made, pack = outcomes(rows), module(twin, "chunk").pack_outcomes
    return lambda: pack(made)


def _unpack_outcomes(twin: str, rows: int) -> Call:
    made, unpack = pure_chunk.pack_outcomes(outcomes(rows)), module(twin, "chunk").unpack_outcomes
    return lambda: unpack(made)


def _ids(twin: str, rows: int) -> Call:
    maker = module(twin, "ids").IdMaker(3, seed=1)
    return lambda: maker.make_many(NOW_MS, rows)


def _int_list(twin: str, rows: int) -> Call:
    sqltext, numbers = module(twin, "sqltext"), [FIRST_ID + number * 64 for number in range(rows)]
    return lambda: sqltext.int_list(numbers)


def _heads(twin: str, rows: int) -> Call:
    sign = module(twin, "sign")
    signer, request_head = sign.Signer([b"k" * 32]), sign.request_head
    texts = [str(FIRST_ID + number * 64) for number in range(rows)]
    at_s = NOW_MS // 1000

    def heads() -> object:
        head = b""
        for text in texts:
            head = request_head(PREFIX, signer, text, at_s, "order.paid", "", 17, 1, b"", PAYLOAD)
        return head

    return heads


def _requests(twin: str, rows: int) -> Call:
    scan = module(twin, "request").scan

    def scanned() -> object:
        found = None
        for _ in range(rows):
            found = scan(REQUEST, REQUEST_LINE, 65_536)
        return found

    return scanned


def _answers(twin: str, rows: int) -> Call:
    parser = module(twin, "answer").Parser(16_384, 65_536)

    def answers() -> object:
        for _ in range(rows):
            parser.begin(1024)
            parser.feed(ANSWER)
        return parser.code

    return answers


JOBS: Final = (
    Job("request: scan of a plain head", "requests", _requests),
    Job("receive: parse and check a JSON array", "messages", _parse),
    Job("receive: rows as INSERT text", "messages", _receive_rows),
    Job("receive: ingest chunk", "messages", _receive_chunk),
    Job("fan-out to 5: chunks", "messages", _splitting),
    Job("fan-out to 5: rows as INSERT text", "messages", _split_rows),
    Job("push: pipeline of pushes, 5 a message", "messages", _pack_pushes),
    Job("push: scan of replies", "replies", _scan),
    Job("mark: group outcomes", "outcomes", _group),
    Job("mark: UPDATE and INSERT text", "outcomes", _mark_texts),
    Job("chunk: pack deliveries", "deliveries", _pack_deliveries),
    Job("chunk: unpack deliveries", "deliveries", _unpack_deliveries),
    Job("chunk: pack outcomes", "outcomes", _pack_outcomes),
    Job("chunk: unpack outcomes", "outcomes", _unpack_outcomes),
    Job("ids: make many", "ids", _ids),
    Job("sqltext: list of ids", "ids", _int_list),
    Job("sign: request head and signature", "requests", _heads),
    Job("answer: read", "answers", _answers),
)
# What a service does in one go, for the benchmarks: the parts are counted above.
FLOWS: Final = (
    Job("fan-out to 5: chunks and INSERT text", "messages", _split_and_rows),
    Job("mark: group outcomes, UPDATE and INSERT text", "outcomes", _group_and_texts),
)
