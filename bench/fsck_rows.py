"""How long `notify fsck` takes over many deliveries, and how much memory: over private servers.

python -m bench.fsck_rows --rows 10000000
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time

from notify.domain.ports import Push, Stream, StreamKind
from notify.queue.redis import RedisQueue
from notify.runtime.clock import SystemClock
from notify_core import chunk, ids
from notify_core.records import DeliveryRecord, MessageRecord
from tests.servers.mariadb import Mariadb
from tests.servers.redis import RedisServer

DATABASE = "nt_fsck"
FAN_OUT = 3
STEP = 500_000
# A message every 10 ms: ten million deliveries of fan-out 3 are nine hours.
ID_STEP = 10 << 22
QUEUED = 5000
SETTINGS = ("--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G",
            "--innodb-flush-log-at-trx-commit=2")  # fmt: skip


def fill(server: Mariadb, messages: int) -> int:
    """Messages that were delivered to all, but for the last QUEUED; the first id."""
    server.new_database(DATABASE)
    first = ids.id_floor(SystemClock().now_ms() - 600_000) - messages * ID_STEP
    for start in range(0, messages, STEP):
        numbers = f"seq_{start}_to_{min(start + STEP, messages) - 1}"
        status = f"IF(seq < {messages - QUEUED}, 2, 1)"
        server.sql(
            "INSERT INTO biz_msg (id,biz_id,type,content_type,headers,dkey,ordering_key,"
            f"deliver_ms,expires_ms,payload) SELECT {first} + seq * {ID_STEP}, 1, 'order.paid',"
            f" '', '', '', '', 0, 0, REPEAT('x', 100) FROM {numbers}",
            *(
                "INSERT INTO receive_msg (msg_id,sub_id,status,attempts,reason,due_ms,updated_ms)"
                f" SELECT {first} + seq * {ID_STEP}, {sub}, {status}, 1, 0, 0, 1 FROM {numbers}"
                for sub in range(1, FAN_OUT + 1)
            ),
            database=DATABASE,
        )
    server.sql(
        "INSERT INTO ledger (sub_id,slot,matched,delivered,dropped,queued,pending)"
        " SELECT sub_id, IF(status = 1, ((msg_id >> 39) + 1) << 3, 0) AS place, COUNT(*),"
        " SUM(status = 2), 0, SUM(status = 1), 0 FROM receive_msg GROUP BY sub_id, place",
        database=DATABASE,
    )
    return first


async def queue_up(url: str, first: int, messages: int) -> None:
    """The queues, with what the database shows as queued."""
    queue = RedisQueue(url, SystemClock())
    await queue.open()
    await queue.begin_epoch("1-1")
    numbers = range(messages - QUEUED, messages)
    records = [
        DeliveryRecord(
            1, MessageRecord(first + n * ID_STEP, 1, "order.paid", "", b"", "", 0, 0, b"x" * 100)
        )
        for n in numbers
    ]
    for sub in range(1, FAN_OUT + 1):
        packed = [chunk.pack_deliveries(sub, records[n : n + 100]) for n in range(0, QUEUED, 100)]
        await queue.push([Push(Stream(StreamKind.SUBSCRIPTION, sub), one, 100) for one in packed])
    await queue.close()


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=10_000_000, help="deliveries")
    messages = asked.parse_args().rows // FAN_OUT
    server, redis = Mariadb(SETTINGS), RedisServer()
    try:
        server.create()
        redis.start()
        began = time.monotonic()
        first = fill(server, messages)
        server.sql("INSERT INTO note (name, value) VALUES ('rebuilt_epoch_ms', 1)",
                   database=DATABASE)  # fmt: skip
        asyncio.run(queue_up(redis.url, first, messages))
        print(f"{messages * FAN_OUT} deliveries made in {time.monotonic() - began:.0f} s")
        urls = {"NOTIFY_STORAGE__URL": server.url(DATABASE), "NOTIFY_QUEUE__URL": redis.url}
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "notify", "fsck"], env=os.environ | urls)
        _, status, used = os.wait4(process.pid, 0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        print(
            f"notify fsck: exit code {code}, {time.monotonic() - began:.0f} s,"
            f" {used.ru_utime + used.ru_stime:.0f} s CPU,"
            f" {used.ru_maxrss / 1024:.0f} MiB at its peak"
        )
        return code
    finally:
        server.remove()
        redis.remove()


if __name__ == "__main__":
    sys.exit(main())
