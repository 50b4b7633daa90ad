"""MariaDB: batches through the compiled core against what one writes first, and the ceiling.

600 B payloads, durable commits (innodb_flush_log_at_trx_commit=1), one connection, one private
server. Each group is one job; its rows are the ways to do it, so ratios can be read off one run.
"""

import asyncio
import contextlib
import itertools
import tempfile
from pathlib import Path

import pymysql
import pytest

from notify.storage.mysql import MysqlStorage
from notify_core import chunk, fanout, ids, receive
from notify_core.body import Limits
from notify_core.records import DELIVERED, OutcomeRecord
from tests.servers import mariadb

DATABASE = "nt_bench"
NOW_MS = 1_800_000_000_000
PAYLOAD = b'{"order_id":10001,"status":"paid","note":"%s"}' % (b"x" * 555)
ROWS = (100, 1000, 2000)
SINGLE_ROWS = 200
SUB = 1
NAMED = receive.COLUMNS.split(",")
MESSAGE = f"({receive.COLUMNS}) VALUES ({','.join(['%s'] * len(NAMED))})"
MARK = (
    "UPDATE receive_msg SET status=2,attempts=1,reason=0,due_ms=0,updated_ms=%s"
    " WHERE msg_id=%s AND sub_id=%s AND status IN (0,1)"
)
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server():
    made = mariadb.Mariadb(("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G",
                            "--local-infile=1"))  # fmt: skip
    made.create()
    made.new_database(DATABASE)
    yield made
    made.remove()


@pytest.fixture
def db(server):
    made = pymysql.connect(
        unix_socket=server.socket, user="root", database=DATABASE, autocommit=True,
        local_infile=True, ssl_disabled=True,
    )  # fmt: skip
    with made, made.cursor() as cursor:
        yield cursor


@pytest.fixture
def storage(server):
    made = MysqlStorage(server.options(DATABASE, "&connections_max=1"))
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(made.open())
        made.run = loop.run_until_complete
        yield made
        loop.run_until_complete(made.close())


def rising(rows):
    first = ids.id_floor(NOW_MS + next(numbers) * 1000)
    return [first + number * 64 for number in range(rows)]


def batch(rows, stamped=None):
    body = b"[%s]" % b",".join([b'{"type":"order.paid","payload":%s}' % PAYLOAD] * rows)
    made = receive.parse(body, "application/json", Limits(items_max=rows))
    made.stamp(12, stamped or rising(rows))
    return made


def split(message_ids, subs=(SUB,)):
    table = fanout.Table([(sub, 12, []) for sub in subs])
    ingest = batch(len(message_ids), message_ids).chunk(1, 0)
    return fanout.split(table, [ingest], {}, NOW_MS, 0, (), 100, 1 << 20)


def outcomes(message_ids):
    made = [
        OutcomeRecord(id_, SUB, DELIVERED, 1, NOW_MS + 5, 0, 12, 200, 0, "", b"")
        for id_ in message_ids
    ]
    return [chunk.pack_outcomes(made[start : start + 100]) for start in range(0, len(made), 100)]


def measure(benchmark, group, rows, function, setup, rounds=15):
    benchmark.group = group
    benchmark.extra_info["rows"] = rows
    benchmark.pedantic(function, setup=lambda: ((setup(),), {}), rounds=rounds, warmup_rounds=2)
    benchmark.extra_info["rows/s"] = round(rows / benchmark.stats.stats.median)


@pytest.mark.parametrize("rows", ROWS)
class TestIngest:
    def group(self, rows):
        return f"ingest, {rows} messages a commit"

    def test_storage(self, benchmark, storage, rows):
        measure(
            benchmark, self.group(rows), rows,
            lambda made: storage.run(storage.insert_messages(made, NOW_MS)), lambda: batch(rows),
        )  # fmt: skip

    def test_storage_with_keys(self, benchmark, storage, rows):
        def made():
            one = batch(rows)
            keyed = b",".join(
                b'{"type":"order.paid","key":"%d","payload":%s}' % (id_, PAYLOAD) for id_ in one.ids
            )
            parsed = receive.parse(b"[%s]" % keyed, "application/json", Limits(items_max=rows))
            parsed.stamp(12, one.ids)
            return parsed

        measure(
            benchmark, self.group(rows), rows,
            lambda one: storage.run(storage.insert_messages(one, NOW_MS)), made,
        )  # fmt: skip

    def test_executemany(self, benchmark, db, rows):
        measure(
            benchmark, self.group(rows), rows,
            lambda made: db.executemany(f"INSERT INTO biz_msg {MESSAGE}", made),
            lambda: batch(rows).rows(),
        )  # fmt: skip

    def test_load_data(self, benchmark, db, rows):
        file = Path(tempfile.mkstemp(dir="/dev/shm")[1])

        def write():
            lines = ("\t".join(_plain(value) for value in row) for row in batch(rows).rows())
            file.write_text("\n".join(lines) + "\n")

        def load(_):
            db.execute(
                f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE biz_msg CHARACTER SET binary"
                f" ({receive.COLUMNS})"
            )

        measure(benchmark, self.group(rows), rows, load, write)
        file.unlink()


def _plain(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def test_ingest_one_by_one(benchmark, db):
    def each(rows):
        for row in rows:
            db.execute(f"INSERT INTO biz_msg {MESSAGE}", row)

    measure(
        benchmark, "ingest, one message a commit", SINGLE_ROWS, each,
        lambda: batch(SINGLE_ROWS).rows(), rounds=5,
    )  # fmt: skip


def test_ingest_one_by_one_through_the_storage(benchmark, storage):
    async def each(batches):
        for one in batches:
            await storage.insert_messages(one, NOW_MS)

    measure(
        benchmark, "ingest, one message a commit", SINGLE_ROWS,
        lambda batches: storage.run(each(batches)),
        lambda: [batch(1) for _ in range(SINGLE_ROWS)], rounds=5,
    )  # fmt: skip


@pytest.mark.parametrize("rows", ROWS)
class TestFanOut:
    def group(self, rows):
        return f"delivery rows, {rows} a commit"

    def test_storage(self, benchmark, storage, rows):
        measure(
            benchmark, self.group(rows), rows,
            lambda made: storage.run(storage.insert_deliveries(made)), lambda: split(rising(rows)),
        )  # fmt: skip

    def test_statements_alone(self, benchmark, db, rows):
        def send(made):
            for text in made.insert_sql(2000, 1_000_000):
                db.execute(text)

        measure(benchmark, self.group(rows), rows, send, lambda: split(rising(rows)))

    def test_executemany(self, benchmark, db, rows):
        text = f"INSERT INTO receive_msg ({fanout.COLUMNS}) VALUES (%s,%s,%s,%s,%s,%s,%s)"
        measure(
            benchmark, self.group(rows), rows,
            lambda made: db.executemany(text, made), lambda: split(rising(rows)).rows,
        )  # fmt: skip


@pytest.mark.parametrize("rows", [100, 1000, 5000])
class TestMark:
    def group(self, rows):
        return f"mark, {rows} deliveries a commit"

    def queued(self, storage, rows):
        message_ids = rising(rows)
        storage.run(storage.insert_deliveries(split(message_ids)))
        return message_ids

    def test_storage(self, benchmark, storage, rows):
        measure(
            benchmark, self.group(rows), rows,
            lambda made: storage.run(storage.mark(made)),
            lambda: outcomes(self.queued(storage, rows)),
        )  # fmt: skip

    def test_statements_alone(self, benchmark, storage, db, rows):
        from notify_core import mark

        def send(made):
            for text in mark.group(made, ()).finals_sql(1000):
                db.execute(text)

        measure(
            benchmark, self.group(rows), rows, send, lambda: outcomes(self.queued(storage, rows))
        )

    def test_executemany(self, benchmark, storage, db, rows):
        def send(message_ids):
            db.execute("START TRANSACTION")
            db.executemany(MARK, [(NOW_MS, id_, SUB) for id_ in message_ids])
            db.execute("COMMIT")

        measure(
            benchmark, self.group(rows), rows, send, lambda: self.queued(storage, rows), rounds=3
        )


def test_mark_one_by_one(benchmark, storage, db):
    def each(message_ids):
        for id_ in message_ids:
            db.execute(MARK, (NOW_MS, id_, SUB))

    def queued():
        message_ids = rising(SINGLE_ROWS)
        storage.run(storage.insert_deliveries(split(message_ids)))
        return message_ids

    measure(benchmark, "mark, one delivery a commit", SINGLE_ROWS, each, queued, rounds=5)
