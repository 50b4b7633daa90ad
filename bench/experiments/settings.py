"""Server settings that keep commits durable: `python -m bench.experiments.settings`.

Delivery rows and updates, on a server of its own for each setting, in turn.
"""

from contextlib import ExitStack

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
}  # fmt: skip


def main() -> None:
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(server(*settings)) for name, settings in SETTINGS.items()
        }
        for what, make, given in (("insert", inserts, ALL), ("update", updates, ())):
            ways = {
                f"{what}, {name}": one.way(make, "receive_msg", *given)
                for name, one in servers.items()
            }
            show(compare(ways))


if __name__ == "__main__":
    main()
