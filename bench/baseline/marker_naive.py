"""The Marker that a good engineer writes first: one outcome at a time.

python -m bench.baseline.marker_naive REDIS_SOCKET MYSQL_SOCKET DATABASE

A mark is taken from the list that the baselines' Senders fill into one of those under way, so that
none is lost; it is one UPDATE, and for a try that failed one INSERT into the log, each committed
by itself.
"""

import json
import time

import pymysql
import redis

from bench.baseline.naive_queue import MARKS, run

UNDER_WAY = "jobs:marks:under-way"
STATUSES = {"retry": 1, "delivered": 2, "dropped": 3}
UPDATE = (
    "UPDATE receive_msg SET status=%s,attempts=%s,updated_ms=%s"
    " WHERE msg_id=%s AND sub_id=%s AND status IN (0,1)"
)
INSERT = (
    "INSERT IGNORE INTO receive_attempt"
    " (msg_id,sub_id,attempt,at_ms,latency_ms,code,error,response)"
    " VALUES (%s,%s,%s,%s,%s,%s,%s,'')"
)


def work(client: "redis.Redis", cursor: "pymysql.cursors.Cursor") -> None:
    """Mark for ever."""
    while True:
        raw = client.blmove(MARKS, UNDER_WAY, 1, "LEFT", "RIGHT")
        if raw is None:
            continue
        mark = json.loads(raw)
        key = (int(mark["id"]), mark["subscription"])
        now_ms = time.time_ns() // 1_000_000
        cursor.execute(UPDATE, (STATUSES[mark["status"]], mark["attempts"], now_ms, *key))
        if not 200 <= mark["code"] < 300:
            tried = (mark["attempts"], now_ms, mark["latency_ms"], mark["code"], mark["error"])
            cursor.execute(INSERT, (*key, *tried))
        client.lrem(UNDER_WAY, 1, raw)


def main() -> None:
    run(__doc__, work)


if __name__ == "__main__":
    main()
