"""A Sender alone: private servers, configured over the API, its queues filled by hand.

What is measured gets the first core, everything else the others. Only public parts are used, the
commands of the services and the API, so that this outlives what it measures.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.processes import cpu_s, process, waited_s
from notify.cli.api_client import ApiClient
from notify.config import load
from notify.domain.ports import Push, Stream, StreamKind
from notify.queue.redis import RedisQueue
from notify.runtime.clock import SystemClock
from notify.runtime.rescue import REBUILT_EPOCH
from notify.runtime.streams import MARK
from notify_core import chunk, ids
from notify_core.records import DeliveryRecord, MessageRecord
from tests.servers.mariadb import Mariadb
from tests.servers.redis import RedisServer

DATABASE = "nt_bench"
TOKEN = "bench"
# Commits need not be durable here: the database is not what is measured.
SETTINGS = ("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=512M",
            "--innodb-log-file-size=256M")  # fmt: skip
BODY_BYTES = 650
PUSHED_AT_A_TIME = 50
LOOK_S = 0.02
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def address(number: int) -> str:
    """The own address of an endpoint."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def body(sent_ns: int = 0) -> bytes:
    """A payload of BODY_BYTES that says when it was sent."""
    head = b'{"sent_ns":%d,"note":"' % sent_ns
    return head + b"x" * (BODY_BYTES - len(head) - 2) + b'"}'


def certificate(directory: Path, hosts: int) -> Path:
    """A PEM file with a self-made certificate for the first addresses, and its key."""
    path = directory / "endpoint.pem"
    names = ",".join(f"IP:{address(number)}" for number in range(hosts))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=bench", "-addext", f"subjectAltName={names}",
         "-keyout", str(path), "-out", str(directory / "certificate.pem")],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with path.open("a") as both:
        both.write((directory / "certificate.pem").read_text())
    return path


def api_at(url: str) -> ApiClient:
    """A client that may call this host and reads long answers."""
    flags = {"sender.allow_cidrs": ["127.0.0.0/8"], "sender.response_kept_bytes": 65536}
    return ApiClient(url, load(environ={}, flags=flags).sender)


class Endpoints:
    """The process of bench.endpoints."""

    def __init__(self, stack: ExitStack, pem: Path | None = None) -> None:
        arguments = ["--certificate", str(pem)] if pem else []
        self._process = stack.enter_context(
            process([sys.executable, "-m", "bench.endpoints", *arguments], {})
        )
        assert self._process.stdout is not None
        self.ports: dict[str, int] = json.loads(self._process.stdout.readline())
        self.pid = self._process.pid

    def url(self, kind: str, number: int) -> str:
        """The URL of an endpoint; kind: of bench.endpoints, tls, or dead (nobody listens)."""
        scheme = "https" if kind == "tls" else "http"
        return f"{scheme}://{address(number)}:{self.ports.get(kind, 1)}/{number}"

    def ask(self, command: str) -> Any:
        """Give a command and return what it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Ground:
    """Private servers and the endpoints.

    pinned: keep them off the core of what is measured; else all processes share all cores.
    """

    def __init__(self, stack: ExitStack, https_hosts: int = 0, *, pinned: bool = True) -> None:
        # Told to end, it removes what it started too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._pinned = pinned and len(CORES) > 1
        if self._pinned:
            os.sched_setaffinity(0, set(CORES[1:]))
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.redis, self.database = RedisServer(), Mariadb(SETTINGS)
        stack.callback(self.database.remove)
        stack.callback(self.redis.remove)
        self.database.create()
        self.database.new_database(DATABASE)
        self.redis.start()
        self.certificate = certificate(self.directory, https_hosts) if https_hosts else None
        self.endpoints = Endpoints(stack, self.certificate)
        self.queue = RedisQueue(self.redis.url, SystemClock())
        self.environ = {
            "NOTIFY_STORAGE__URL": self.database.url(DATABASE),
            "NOTIFY_QUEUE__URL": self.redis.url,
            "NOTIFY_API__ADMIN_TOKEN": TOKEN,
            "NOTIFY_SENDER__ALLOW_CIDRS": "127.0.0.0/8",
            "NOTIFY_RUNTIME__LOG_LEVEL": "error",
        }
        if self.certificate:
            self.environ["SSL_CERT_FILE"] = str(self.directory / "certificate.pem")
        self._ids = ids.IdMaker(0, 0)

    @contextmanager
    def service(
        self, name: str, *arguments: str, measured: bool = False, **environ: str
    ) -> Iterator["Service"]:
        """A service as a process, up; stopped at the end."""
        command = [sys.executable, "-m", f"notify.{name}", *arguments]
        with process(command, self.environ | environ) as made:
            if measured:
                self.measure(made.pid)
            assert made.stdout is not None
            line = made.stdout.readline()
            assert line, f"notify {name} ended"
            yield Service(made, line.split()[-1])

    def measure(self, pid: int) -> None:
        """Give a process the first core; a machine of one core shares it."""
        if self._pinned:
            os.sched_setaffinity(pid, {CORES[0]})

    async def fresh_queue(self) -> None:
        """An empty queue."""
        with self.redis.client() as client:
            client.flushall()
        await self.queue.open()
        await self.queue.begin_epoch("1-1")
        # Nobody has to rebuild what it never held; who delivers in order waits for that.
        self.database.sql(
            f"INSERT INTO note (name, value) VALUES ('{REBUILT_EPOCH}', 1)"
            " ON DUPLICATE KEY UPDATE value = 1",
            database=DATABASE,
        )

    async def fill(self, subscriptions: Sequence[int], deliveries: int, rows: int = 100) -> None:
        """Put deliveries, equally many for each subscription, into their queues."""
        each = deliveries // len(subscriptions)
        numbers = self.message_ids(each)
        one = body(time.time_ns())
        messages = [MessageRecord(n, 1, "order.paid", "", b"", "", 0, 0, one) for n in numbers]
        records = [DeliveryRecord(0, message) for message in messages]
        pushes = []
        for start in range(0, each, rows):
            part = records[start : start + rows]
            for sub_id in subscriptions:
                packed = chunk.pack_deliveries(sub_id, part)
                pushes.append(Push(Stream(StreamKind.SUBSCRIPTION, sub_id), packed, len(part)))
                if len(pushes) == PUSHED_AT_A_TIME:
                    await self.queue.push(pushes)
                    pushes.clear()
        await self.queue.push(pushes)

    def open_deliveries(self) -> int:
        """How many the database shows as pending or queued."""
        counted = "SELECT COUNT(*) FROM receive_msg WHERE status IN (0, 1)"
        return int(self.database.sql(counted, database=DATABASE)[0][0])

    def message_ids(self, count: int) -> list[int]:
        return self._ids.make_many(SystemClock().now_ms(), count)

    async def marked(self) -> int:
        """How many outcomes the Sender has reported."""
        return (await self.queue.gauges([MARK]))[0].depth


class Service:
    """A service process. url: of its API, or of its health."""

    def __init__(self, made: "subprocess.Popen[str]", url: str) -> None:
        self.process = made
        self.pid = made.pid
        self.url = url

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def waited_s(self) -> float:
        return waited_s(self.pid)


class Configured:
    """A producer, and subscriptions of one consumer each.

    The first of a kind is made over the API; the others are its copies in the database, since
    thousands of calls would take longer than what is to be measured.
    """

    def __init__(self, ground: Ground, url: str) -> None:
        self.api = api_at(url)
        self._ground = ground
        self.key = ""
        self._kinds = self._producer = 0

    async def subscribe(self, kind: str, numbers: Sequence[int], **fields: Any) -> list[int]:
        """Subscriptions to all messages for endpoints of a kind; their ids in this order."""
        if not self._producer:
            producer = await self.api.call("POST", "/v1/producers", TOKEN, {"name": "shop"})
            self._producer, self.key = producer["id"], producer["api_key"]
        urls = [self._ground.endpoints.url(kind, number) for number in numbers]
        self._kinds += 1
        target = {"name": f"{kind} {self._kinds}", "url": urls[0]}
        consumer = await self.api.call("POST", "/v1/consumers", TOKEN, target)
        wanted = {"producer_id": self._producer, "consumer_id": consumer["id"], **fields}
        made = await self.api.call("POST", "/v1/subscriptions", TOKEN, wanted)
        if not urls[1:]:
            return [made["id"]]
        consumers = self._copy("receive", consumer["id"], "url", [f"'{url}'" for url in urls[1:]])
        copies = self._copy("biz_receive", made["id"], "receive_id", map(str, consumers))
        self._sql("UPDATE note SET value = value + 1 WHERE name = 'config_version'")
        return [made["id"], *copies]

    def _copy(self, table: str, row: int, column: str, values: Iterable[str]) -> list[int]:
        """Copies of a row, each with its own value in a column; their ids."""
        columns = [name for name, *_ in self._sql(f"SHOW COLUMNS FROM {table}")]
        first = self._sql(f"SELECT MAX(id) + 1 FROM {table}")[0][0]
        own = {"id": "copied.id", column: "copied.given"}
        rows = list(enumerate(values, first))
        self._sql(
            f"INSERT INTO {table} ({', '.join(columns)})"
            f" WITH copied(id, given) AS (VALUES {', '.join(f'({n}, {v})' for n, v in rows)})"
            f" SELECT {', '.join(own.get(name, f'row_.{name}') for name in columns)}"
            f" FROM {table} AS row_, copied WHERE row_.id = {row}"
        )
        return [number for number, _ in rows]

    def _sql(self, statement: str) -> Any:
        return self._ground.database.sql(statement, database=DATABASE)
