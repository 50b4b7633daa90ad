"""Server settings that keep commits durable: `python -m bench.experiments.settings`.

Delivery rows and updates, on a server of its own for each setting, round after round.
"""

from functools import partial

from bench.experiments.delivery_rows import ALL, inserts, updates
from bench.experiments.server import BINLOG, compare, server, show

SETTINGS = {
    "as measured": (),
    "binary log, synced": BINLOG,
    "binary log, without the statements": (*BINLOG, "--binlog-annotate-row-events=OFF"),
    "the same, row image MINIMAL": (
        *BINLOG, "--binlog-annotate-row-events=OFF", "--binlog-row-image=MINIMAL",
    ),
    "no doublewrite": ("--innodb-doublewrite=OFF",),
    "READ COMMITTED": ("--transaction-isolation=READ-COMMITTED",),
    "O_DSYNC": ("--innodb-flush-method=O_DSYNC",),
    "no adaptive flushing of neighbours, 10 000 IO/s": (
        "--innodb-flush-neighbors=0", "--innodb-io-capacity=10000",
    ),
}  # fmt: skip


def main() -> None:
    found = {}
    for name, settings in SETTINGS.items():
        with server(*settings) as one:
            ways = {
                f"insert, {name}": partial(inserts, one, "receive_msg", *ALL),
                f"update, {name}": partial(updates, one, "receive_msg"),
            }
            found |= compare(one, ways)
    show(dict(sorted(found.items())))


if __name__ == "__main__":
    main()
