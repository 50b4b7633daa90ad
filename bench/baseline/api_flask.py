"""The baseline of the Api: Flask, one INSERT and one LPUSH a message, as in the first design.

What a good engineer writes first: the message is in the database before the answer (autocommit),
connections are pooled, API keys are looked up in memory, a batch is one `executemany` and one
LPUSH. It checks a message by hand and knows neither idempotency keys nor delivery times.

gunicorn --worker-class gthread --threads 32 bench.baseline.api_flask:app, with DATABASE_SOCKET,
DATABASE, DATABASE_USER, DATABASE_PASSWORD and REDIS_SOCKET in the environment.
"""

import hashlib
import itertools
import json
import os
import queue
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
import redis
from flask import Flask, Response, request

from bench.baseline.naive_queue import MESSAGES

EPOCH_MS = 1_704_067_200_000
# All values are parameters: only so does PyMySQL's executemany make one statement of many rows.
INSERT = (
    "INSERT INTO biz_msg (id, biz_id, type, content_type, headers, dkey, ordering_key,"
    " deliver_ms, expires_ms, payload) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
TYPE = re.compile(r"[A-Za-z0-9_.:/-]{1,128}", re.ASCII)


class Connections:
    """A pool: a connection for each thread that asks at the same time."""

    def __init__(self) -> None:
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()

    @contextmanager
    def one(self) -> Iterator[Any]:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = pymysql.connect(
                unix_socket=os.environ["DATABASE_SOCKET"],
                database=os.environ["DATABASE"],
                user=os.environ["DATABASE_USER"],
                password=os.environb[b"DATABASE_PASSWORD"],
                autocommit=True,
            )
        yield connection
        self._idle.put(connection)  # one that failed is not put back


class Ids:
    """Rising ids: milliseconds, then a counter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = itertools.count(int(time.time() * 1000) - EPOCH_MS << 22)

    def make(self, count: int) -> list[int]:
        with self._lock:
            return list(itertools.islice(self._last, count))


class BadMessage(Exception):
    """What is wrong with a message."""


app = Flask(__name__)
connections = Connections()
ids = Ids()
jobs = redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"])
with connections.one() as _db, _db.cursor() as _cursor:
    _cursor.execute("SELECT key_hash, id FROM biz")
    producers: dict[str, int] = {key.decode(): id_ for key, id_ in _cursor.fetchall()}


def check(message: Any) -> None:
    """Raises BadMessage."""
    if not isinstance(message, dict) or "payload" not in message:
        raise BadMessage("a message has a type and a payload")
    if not isinstance(message.get("type"), str) or not TYPE.fullmatch(message["type"]):
        raise BadMessage("type must be 1 to 128 characters")


def store(producer: int, messages: list[Any]) -> list[int]:
    """Committed, then queued."""
    made = ids.make(len(messages))
    rows = [
        (id_, producer, message["type"], "", "", "", "", 0, 0, json.dumps(message["payload"]))
        for id_, message in zip(made, messages, strict=True)
    ]
    with connections.one() as db, db.cursor() as cursor:
        if len(rows) == 1:
            cursor.execute(INSERT, rows[0])
        else:
            cursor.executemany(INSERT, rows)
    jobs.lpush(
        MESSAGES,
        *(
            json.dumps({"id": row[0], "producer": producer, "type": row[2], "payload": row[-1]})
            for row in rows
        ),
    )
    return made


@app.post("/v1/messages")
def accept() -> tuple[Any, int] | Response:
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    producer = producers.get(hashlib.sha256(key.encode()).hexdigest())
    if producer is None:
        return {"detail": "unknown API key"}, 401
    body = request.get_json()
    messages = body if isinstance(body, list) else [body]
    try:
        for message in messages:
            check(message)
    except BadMessage as error:
        return {"detail": str(error)}, 422
    made = store(producer, messages)
    return {"accepted": len(made), "ids": [str(id_) for id_ in made]}, 202
