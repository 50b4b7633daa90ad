"""5000 messages with payload read from MariaDB: PyMySQL beside a compiled decoder of its packets.

`python -m bench.experiments.core_rows`: in turn on one connection, CPU seconds of both sides.
"""

import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pymysql
from pymysql.connections import MySQLResult
from pymysql.constants import FIELD_TYPE

from bench.experiments.core_prototype import compiled
from bench.processes import cpu_s
from notify_core import receive
from tests.instructions.jobs import COMPILED, batch
from tests.servers.mariadb import Mariadb

ROWS = 5000
BATCH_ROWS = 1000
ROUNDS = 30
DATABASE = "nt_rows"
PROTOTYPE = Path(__file__).with_suffix(".pyx")
BINARY = 63
STATEMENTS = {
    "with payload": f"SELECT {receive.COLUMNS} FROM biz_msg",
    "four integers": "SELECT id, biz_id, deliver_ms, expires_ms FROM biz_msg",
}


def compiled_result(decoder: ModuleType) -> type[MySQLResult]:
    """PyMySQL's result, whose rows the prototype reads."""

    def kind(field: Any) -> int:
        if field.type_code == FIELD_TYPE.LONGLONG:
            return int(decoder.INTEGER)
        return int(decoder.BYTES if field.charsetnr == BINARY else decoder.TEXT)

    class Result(MySQLResult):
        def _read_rowdata_packet(self) -> None:
            kinds = [kind(field) for field in self.fields]
            self.rows = decoder.rows(self.connection._rfile.read1, kinds)
            self.affected_rows = len(self.rows)
            self.has_next, self.connection = False, None

    return Result


def main() -> None:
    """Fill a table, read it."""
    ways = {
        "PyMySQL": MySQLResult,
        "compiled decoder": compiled_result(compiled(PROTOTYPE)),
    }
    server = Mariadb()
    try:
        server.create()
        server.new_database(DATABASE)
        options = server.options(DATABASE)
        with pymysql.connect(charset="utf8mb4", autocommit=True, **options.connect) as db:
            for first in range(0, ROWS, BATCH_ROWS):
                made = batch(COMPILED, BATCH_ROWS)
                made.stamp(7, list(range(first, first + BATCH_ROWS)))
                for text in made.insert_sql(False, BATCH_ROWS, 1 << 20):
                    db.cursor().execute(text)
            for name, statement in STATEMENTS.items():
                read(ways, db, name, statement, server.pid)
    finally:
        server.remove()


def read(ways: dict[str, Any], db: Any, name: str, statement: str, server: int) -> None:
    """One statement, by each way in turn."""
    spent = {way: [0.0, 0.0, 0.0] for way in ways}
    found = set()
    for _ in range(ROUNDS):
        for way, result in ways.items():
            pymysql.connections.MySQLResult = result
            at = (time.process_time(), cpu_s(server), time.perf_counter())
            with db.cursor() as cursor:
                cursor.execute(statement)
                rows = cursor.fetchall()
            now = (time.process_time(), cpu_s(server), time.perf_counter())
            for i in range(3):
                spent[way][i] += now[i] - at[i]
            found.add(hash(rows))
    assert len(found) == 1, "the ways read something else"
    for way, (client_s, server_s, wall_s) in spent.items():
        rows_read = ROUNDS * ROWS
        print(
            f"{name:15}{way:18}{rows_read / wall_s:9.0f} rows/s, CPU s for 100 000: client "
            f"{1e5 * client_s / rows_read:.2f}, server {1e5 * server_s / rows_read:.2f}"
        )


if __name__ == "__main__":
    main()
