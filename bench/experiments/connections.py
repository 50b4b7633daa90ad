"""Statements in flight on 1, 2 and 3 connections: `python -m bench.experiments.connections`.

The same delivery rows, and the same updates, dealt out to so many connections of one process.
"""

from bench.experiments.delivery_rows import ALL, inserts, updates
from bench.experiments.server import Job, Server, compare, server, show

CONNECTIONS = (1, 2, 3)


def dealt(job: Job, connections: int) -> list[Job]:
    """Neighbouring statements stay together, as in a batch that one worker claims."""
    each = -(-len(job) // connections)
    return [job[at : at + each] for at in range(0, len(job), each)]


def inserted(one: Server, connections: int) -> list[Job]:
    [job] = inserts(one, "receive_msg", *ALL)
    return dealt(job, connections)


def updated(one: Server, connections: int) -> list[Job]:
    [job] = updates(one, "receive_msg")
    return dealt(job, connections)


def main() -> None:
    with server() as one:
        for name, make in (("insert", inserted), ("update", updated)):
            ways = {f"{name}, {count} connections": one.way(make, count) for count in CONNECTIONS}
            show(compare(ways))


if __name__ == "__main__":
    main()
