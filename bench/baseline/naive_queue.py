"""The queues of the baselines: Redis lists of messages, of JSON jobs, of those under way, of marks.

What a good engineer builds first: a job is never lost (it is under way until it is marked), each
is tried again after a failure (a sorted set), and the mark and the end of the job are one command.
"""

import argparse
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pymysql
import redis

MESSAGES = "messages"
QUEUE = "jobs"
UNDER_WAY = "jobs:under-way"
MARKS = "jobs:marks"
RETRIES = "jobs:retries"
TIMEOUT_S = 10
DELAYS_S = (5, 30, 120, 600)


class Target(NamedTuple):
    """A consumer: where to, and the secret's bytes."""

    url: str
    secret: bytes


class Job(NamedTuple):
    """A delivery. raw: as it is in the list."""

    raw: bytes
    id: str
    subscription: int
    type: str
    payload: bytes
    attempts: int


def targets_of(path: Path) -> dict[int, Target]:
    """The consumers by subscription."""
    return {
        int(sub): Target(entry["url"], base64.b64decode(entry["secret"]))
        for sub, entry in json.loads(path.read_text()).items()
    }


def job_of(raw: bytes) -> Job:
    fields = json.loads(raw)
    payload = fields["payload"].encode()
    return Job(
        raw, fields["id"], fields["subscription"], fields["type"], payload, fields["attempts"]
    )


def headers_of(job: Job, target: Target) -> dict[str, str]:
    """Standard Webhooks headers."""
    now = int(time.time())
    signed = f"{job.id}.{now}.".encode() + job.payload
    digest = hmac.new(target.secret, signed, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": job.id,
        "webhook-timestamp": str(now),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        "notify-event-type": job.type,
        "notify-attempt": str(job.attempts + 1),
    }


def settle(pipe: Any, job: Job, code: int, error: str, began: float) -> None:
    """Into a pipeline: the mark, the retry where one is due, and the end of the job."""
    attempts = job.attempts + 1
    delivered = 200 <= code < 300
    due = not delivered and attempts <= len(DELAYS_S)
    mark = {
        "id": job.id, "subscription": job.subscription, "attempts": attempts, "code": code,
        "status": "delivered" if delivered else "retry" if due else "dropped",
        "latency_ms": int((time.monotonic() - began) * 1000), "error": error,
    }  # fmt: skip
    pipe.rpush(MARKS, json.dumps(mark))
    if due:
        again = {**json.loads(job.raw), "attempts": attempts}
        pipe.zadd(RETRIES, {json.dumps(again): time.time() + DELAYS_S[attempts - 1]})
    pipe.lrem(UNDER_WAY, 1, job.raw)


def run(
    description: str | None, work: Callable[[redis.Redis, pymysql.cursors.Cursor], None]
) -> None:
    """The program of a worker between Redis and MySQL: its connections, each statement a commit."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("redis", "mysql", "database"):
        parser.add_argument(name)
    asked = parser.parse_args()
    client = redis.Redis(unix_socket_path=asked.redis)
    client.ping()
    db = pymysql.connect(
        unix_socket=asked.mysql, user="root", database=asked.database, autocommit=True,
        ssl_disabled=True,
    )  # fmt: skip
    print("connected", flush=True)
    with db, db.cursor() as cursor:
        work(client, cursor)
