"""The Maker that a good engineer writes first: one message at a time.

python -m bench.baseline.maker_naive REDIS_SOCKET MYSQL_SOCKET DATABASE

A message is taken from a list into one of those under way, so that none is lost; the producer's
subscriptions are read; each delivery is one INSERT, committed by itself, and one RPUSH.
"""

import json
import time

import pymysql
import redis

from bench.baseline.naive_queue import MESSAGES, QUEUE, run

UNDER_WAY = "messages:under-way"
QUEUED = 1
SUBSCRIPTIONS = (
    "SELECT id FROM biz_receive WHERE biz_id=%s AND status='normal' AND deleted_ms=0 LIMIT 1000"
)
INSERT = (
    "INSERT IGNORE INTO receive_msg (msg_id,sub_id,status,attempts,reason,due_ms,updated_ms)"
    " VALUES (%s,%s,%s,0,0,0,%s)"
)


def work(client: "redis.Redis", cursor: "pymysql.cursors.Cursor") -> None:
    """Split for ever."""
    while True:
        raw = client.blmove(MESSAGES, UNDER_WAY, 1, "RIGHT", "LEFT")
        if raw is None:
            continue
        message = json.loads(raw)
        cursor.execute(SUBSCRIPTIONS, (message["producer"],))
        for (subscription,) in cursor.fetchall():
            now_ms = time.time_ns() // 1_000_000
            cursor.execute(INSERT, (message["id"], subscription, QUEUED, now_ms))
            job = {
                "id": str(message["id"]), "subscription": subscription, "attempts": 0,
                "type": message["type"], "payload": message["payload"],
            }  # fmt: skip
            client.rpush(QUEUE, json.dumps(job))
        client.lrem(UNDER_WAY, 1, raw)


def main() -> None:
    run(__doc__, work)


if __name__ == "__main__":
    main()
