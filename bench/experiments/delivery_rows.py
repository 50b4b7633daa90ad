"""What a delivery row costs, and where that goes: `python -m bench.experiments.delivery_rows`.

Inserts of new deliveries (fan-out 5, 2000 rows a commit) into tables that differ from receive_msg
in one thing each; then the update that marks them as delivered, of those that have all columns.
"""

from bench.experiments.server import BINLOG, NOW_MS, ROWS, Job, Server, compare, server, show
from notify_core import sqltext

FAN_OUT = 5
COLUMNS = "msg_id,sub_id,status,attempts,reason,due_ms,updated_ms"
# Columns that are written, and the values that make a queued row complete.
ALL = (COLUMNS, (1, 0, 0, 0, NOW_MS))
FEW = ("msg_id,sub_id,status,updated_ms", (1, NOW_MS))
LEAST = ("msg_id,sub_id,updated_ms", (NOW_MS,))
DEFAULTS = "".join(
    f", ALTER COLUMN {name} SET DEFAULT 0" for name in ("attempts", "reason", "due_ms")
)
# Of each table: how it is made of receive_msg, and which columns are written.
TABLES = {
    "as it is": ("ENGINE=InnoDB", ALL),
    "three constant columns left to defaults": (f"ENGINE=InnoDB{DEFAULTS}", FEW),
    "the status, too": (f"ENGINE=InnoDB{DEFAULTS}, ALTER COLUMN status SET DEFAULT 1", LEAST),
    "no second index": ("DROP INDEX receive_msg_sub", ALL),
    "an index on (status, sub_id, msg_id) more": ("ADD INDEX more (status, sub_id, msg_id)", ALL),
    "sub_id INT, due_ms and updated_ms in 4 bytes": (
        "MODIFY sub_id INT NOT NULL, MODIFY due_ms INT NOT NULL, MODIFY updated_ms INT NOT NULL",
        (COLUMNS, (1, 0, 0, 0, NOW_MS // 1000)),
    ),
    "without due_ms": (
        "DROP COLUMN due_ms",
        ("msg_id,sub_id,status,attempts,reason,updated_ms", (1, 0, 0, NOW_MS)),
    ),
}


def inserts(one: Server, table: str, columns: str, rest: tuple[int, ...]) -> list[Job]:
    keys = ((id_, sub) for id_ in one.rising(ROWS // FAN_OUT) for sub in range(1, FAN_OUT + 1))
    head = f"INSERT INTO {table} ({columns}) VALUES ".encode()
    return [sqltext.insert(head, (key + rest for key in keys), b"", 2000, 1_000_000, False)]


def updates(one: Server, table: str) -> list[Job]:
    """Marks rows that are inserted here, before the time is taken."""
    ids = one.rising(ROWS // FAN_OUT)
    rows = ((id_, sub, *ALL[1]) for id_ in ids for sub in range(1, FAN_OUT + 1))
    head = f"INSERT INTO {table} ({COLUMNS}) VALUES ".encode()
    for text in sqltext.insert(head, rows, b"", 2000, 1_000_000, False):
        one.sql(text.decode())
    return [
        [
            f"UPDATE {table} SET status=2,attempts=1,reason=0,due_ms=0,updated_ms={NOW_MS + 9}"
            f" WHERE sub_id={sub} AND msg_id IN ({','.join(map(str, ids[at : at + 999]))})"
            " AND status=1 AND reason<=0".encode()
            for at in range(0, len(ids), 999)
            for sub in range(1, FAN_OUT + 1)
        ]
    ]


def main() -> None:
    with server(*BINLOG) as one:
        ways = {}
        for number, (name, (change, written)) in enumerate(TABLES.items()):
            one.sql(f"CREATE TABLE t{number} LIKE receive_msg", f"ALTER TABLE t{number} {change}")
            ways[name] = one.way(inserts, f"t{number}", *written)
        show(compare(ways), "inserted rows")
        marked = {
            name: one.way(updates, f"t{number}")
            for number, name in enumerate(TABLES)
            if number in (0, 4)
        }
        show(compare(marked), "updated rows")


if __name__ == "__main__":
    main()
