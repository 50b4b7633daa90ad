"""One write instead of two for what succeeds at once: `python -m bench.experiments.one_write`.

Of a delivery, fan-out 5. Two writes: its row by the Maker, then its update by the Marker, as it is.
One write: no row before the outcome. A row a message: the Maker writes one row with the
subscriptions that matched, and the row of a delivery is written with its outcome.
"""

from bench.experiments.delivery_rows import COLUMNS, FAN_OUT, inserts, updates
from bench.experiments.server import BINLOG, NOW_MS, ROWS, Cost, Job, Server, compare, server, show
from notify_core import sqltext

FINAL = (COLUMNS, (2, 1, 0, 0, NOW_MS))
SPLIT_TABLE = """CREATE TABLE split_msg (id BIGINT NOT NULL, matched VARBINARY(4096) NOT NULL,
updated_ms BIGINT NOT NULL, PRIMARY KEY (id)) ENGINE=InnoDB"""
MATCHED = b"".join(sub.to_bytes(4, "big") for sub in range(1, FAN_OUT + 1))


def splits(one: Server) -> list[Job]:
    rows = ((id_, MATCHED, NOW_MS) for id_ in one.rising(ROWS // FAN_OUT))
    head = b"INSERT INTO split_msg (id,matched,updated_ms) VALUES "
    return [sqltext.insert(head, rows, b"", 2000, 1_000_000, False)]


def added(*costs: Cost) -> Cost:
    """Steps, one after the other."""
    seconds = sum(1 / cost.per_s for cost in costs)
    return Cost(1 / seconds, *(sum(values) for values in zip(*(c[1:] for c in costs), strict=True)))


def main() -> None:
    with server(*BINLOG) as one:
        one.sql(SPLIT_TABLE)
        steps = compare(
            {
                "insert, queued": one.way(inserts, "receive_msg", COLUMNS, (1, 0, 0, 0, NOW_MS)),
                "update, delivered": one.way(updates, "receive_msg"),
                "insert, delivered": one.way(inserts, "receive_msg", *FINAL),
                "insert, a row a message": one.way(splits),
            },
        )
        show(steps, "deliveries")
        queued, marked, final, split = steps.values()
        show(
            {
                "two writes": added(queued, marked),
                "one write": final,
                "a row a message, one write": added(split, final),
            },
            "deliveries",
        )


if __name__ == "__main__":
    main()
