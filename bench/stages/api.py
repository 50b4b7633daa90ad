"""What an Api accepts, durably: `python -m bench.stages.api`.

Single messages from 64 connections, and batches, sent by wrk (Debian's package), which costs a
tenth of what it measures. All contenders are one process beside one MariaDB and one Redis, on the
same cores, in turn, round after round; tables and queues are empty before each. The ceilings are
an endpoint that answers without doing anything, and the same rows as statements that were made
before the clock started, by as many rows as a commit can have.
"""

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import msgspec
import pymysql

from bench.baseline.naive_queue import MESSAGES
from bench.figures import Figure, Kind
from bench.processes import cpu_s
from bench.stages import command
from notify.api.auth import hash_key
from notify.domain.errors import NotifyError
from notify.queue.redis import RedisQueue
from notify.queue.redis.keys import CHUNKS, of_stream
from notify.runtime.clock import SystemClock
from notify.runtime.streams import INGEST
from notify.storage.mysql.storage import MysqlStorage
from notify_core import ids, receive
from notify_core.body import Limits
from tests.servers.mariadb import PASSWORD, USER, Mariadb
from tests.servers.redis import RedisServer

STAGE = "api"
ROOT = Path(__file__).parents[2]
DATABASE = "nt_bench"
KEY = "nk_bench"
SETTINGS = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G")
NOTE = "x" * 570  # a body of 650 B
ROUNDS = 3
SECONDS_MAX = 20
LOAD_S = 1.0  # of one contender in one round, at scale 1: wrk takes whole seconds
THREADS = 32  # of the baseline: more gave less
INSERTED_PER_S = 60_000  # about: how many rows make a ceiling's round as long as the others
START_S = 20.0
SETTLE_S = 0.1


class Case(NamedTuple):
    """messages: of a request. together: rows that one commit can have, so many are on their way."""

    name: str
    connections: int
    messages: int
    together: int


CASES = (
    Case("single messages, 64 connections", 64, 1, 64),
    Case("batches of 100, 8 connections", 8, 100, 800),
    Case("batches of 500, 8 connections", 8, 500, 2000),
)


class Load(NamedTuple):
    """What one contender did in one round; cpu_s: by process, not yet for 100 000."""

    messages: int
    seconds: float
    cpu_s: dict[str, float]
    more: dict[str, float]


def message() -> bytes:
    return b'{"type":"order.paid","payload":{"order_id":10001,"note":"%s"}}' % NOTE.encode()


def body(case: Case) -> bytes:
    """One message alone, or an array."""
    return message() if case.messages == 1 else b"[%s]" % b",".join([message()] * case.messages)


class Ground:
    """Private servers with one producer; durable commits."""

    def __init__(self, stack: ExitStack) -> None:
        self.redis, self.database = RedisServer(), Mariadb(SETTINGS)
        stack.callback(self.database.remove)
        stack.callback(self.redis.remove)
        self.database.create()
        self.database.new_database(DATABASE)
        self.redis.start()
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.servers = {"mariadbd": self.database.pid, "redis-server": self.redis.pid}

    async def prepare(self) -> None:
        """A producer and an empty queue."""
        storage = MysqlStorage(self.database.options(DATABASE))
        await storage.open()
        await storage.add_producer("shop", hash_key(KEY.encode()), 1)
        await storage.close()
        queue = RedisQueue(self.redis.url, SystemClock())
        await queue.open()
        await queue.begin_epoch("1-1")
        await queue.close()

    def empty(self) -> None:
        """Forget all messages; nobody consumes them here."""
        self.database.sql("TRUNCATE TABLE biz_msg", database=DATABASE)
        with self.redis.client() as client:
            client.xtrim(of_stream(INGEST)[CHUNKS], maxlen=0)
            client.delete(MESSAGES)

    def stored(self) -> int:
        """Messages in the database."""
        return int(self.database.sql("SELECT COUNT(*) FROM biz_msg", database=DATABASE)[0][0])

    def settled(self) -> int:
        """The same, when what wrk left unanswered at its end is there too."""
        before = -1
        while before < (stored := self.stored()):
            before = stored
            time.sleep(SETTLE_S)
        return before


class Server:
    """A process that serves on a socket that is bound before it starts."""

    def __init__(self, stack: ExitStack, command: list[str], environ: dict[str, str]) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/messages"
        fd = listener.fileno()
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", *(part.format(fd=fd) for part in command)],
                cwd=ROOT,
                env={**os.environ, **environ},
                pass_fds=(fd,),
            )
        )
        stack.callback(self._process.terminate)
        # The socket listens already: the answer comes as soon as the process is up.
        with contextlib.suppress(HTTPError), urlopen(self.url, timeout=START_S) as answer:
            answer.read()

    @property
    def pids(self) -> list[int]:
        """It and what it forked."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]


class Contender(NamedTuple):
    """stores: whether what it answers 202 has to be in the database."""

    kind: Kind
    name: str
    server: Server
    stores: bool = True


def contenders(ground: Ground, stack: ExitStack) -> list[Contender]:
    notify = {
        "NOTIFY_STORAGE__URL": ground.database.url(DATABASE),
        "NOTIFY_QUEUE__URL": ground.redis.url,
        "NOTIFY_QUEUE__INGEST_DEPTH_MAX": "1000000000",
        "NOTIFY_RUNTIME__LOG_LEVEL": "warning",
    }
    flask = {
        "DATABASE_SOCKET": ground.database.socket,
        "DATABASE": DATABASE,
        "DATABASE_USER": USER,
        "DATABASE_PASSWORD": PASSWORD,
        "REDIS_SOCKET": str(ground.redis.socket),
    }
    gunicorn = ["gunicorn", "--worker-class=gthread", f"--threads={THREADS}", "--bind=fd://{fd}",
                "--keep-alive=75", "--log-level=error", "bench.baseline.api_flask:app"]  # fmt: skip
    return [
        Contender("notify", "Notify", Server(stack, ["notify.api", "--fd={fd}"], notify)),
        Contender(
            "baseline", "Flask, one INSERT and one LPUSH each", Server(stack, gunicorn, flask)
        ),
        Contender(
            "ceiling",
            "an endpoint that does nothing",
            Server(stack, ["bench.silent", "--fd={fd}"], {}),
            stores=False,
        ),
    ]


def load(ground: Ground, case: Case, contender: Contender, seconds: int) -> Load:
    """Have wrk send as fast as it is answered."""
    path = ground.directory / f"{case.messages}.json"
    path.write_bytes(body(case))
    ground.empty()
    pids = {"api": contender.server.pids, **{k: [pid] for k, pid in ground.servers.items()}}
    before = {name: sum(map(cpu_s, several)) for name, several in pids.items()}
    wrk = subprocess.Popen(
        ["wrk", "--threads=1", f"--connections={case.connections}", f"--duration={seconds}s",
         "--timeout=10s", f"--script={ROOT}/bench/post.lua", contender.server.url],
        env={**os.environ, "BODY": str(path), "KEY": KEY},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert wrk.stderr
    said = wrk.stderr.read()
    _, status, usage = os.wait4(wrk.pid, 0)
    wrk.returncode = os.waitstatus_to_exitcode(status)
    used = {name: sum(map(cpu_s, several)) - before[name] for name, several in pids.items()}
    used["load"] = usage.ru_utime + usage.ru_stime
    stored = ground.settled()
    result: dict[str, Any] = json.loads(said)
    if result["refused"] or result["broken"]:
        raise NotifyError(f"{contender.name} did not accept everything: {said.decode()}")
    if not result["answers"] and seconds < SECONDS_MAX:
        return load(ground, case, contender, 2 * seconds)  # too short for one answer
    messages = result["answers"] * case.messages
    if contender.stores and stored < messages:
        raise NotifyError(f"{contender.name} stored {stored} of {messages} messages")
    more = {name: result[name] for name in ("p50_ms", "p99_ms")}
    return Load(messages, result["seconds"], used, more)


def statements(case: Case, rows: int) -> list[bytes]:
    """INSERTs of so many rows in all, each as large as a commit of the case can be."""
    one = receive.parse(message(), "application/json", Limits())
    numbers = ids.IdMaker(0, 0).make_many(SystemClock().now_ms(), rows)
    made: list[bytes] = []
    for start in range(0, rows, case.together):
        part = numbers[start : start + case.together]
        batch = one.take([0] * len(part))
        batch.stamp(1, part)
        made += batch.insert_sql(False, 2000, 1 << 30)
    return made


def inserts(ground: Ground, case: Case, rows: int) -> Load:
    """Ready-made statements over one connection."""
    return _carried_out(ground, statements(case, rows), rows)


def load_data(ground: Ground, case: Case, rows: int) -> Load:
    """The same rows by LOAD DATA LOCAL, as many at a time."""
    numbers = ids.IdMaker(1, 0).make_many(SystemClock().now_ms(), rows)
    payload = msgspec.json.decode(message(), type=dict[str, msgspec.Raw])["payload"]
    made = []
    for start in range(0, rows, case.together):
        path = ground.directory / f"{start}.tsv"
        with path.open("wb") as file:
            for number in numbers[start : start + case.together]:
                file.write(b"%d\t1\torder.paid\t\t\t\t\t0\t0\t%s\n" % (number, bytes(payload)))
        made.append(f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE biz_msg".encode())
    return _carried_out(ground, made, rows)


def _carried_out(ground: Ground, made: list[bytes], rows: int) -> Load:
    ground.empty()
    login = {"unix_socket": ground.database.socket, "user": "root", "database": DATABASE}
    db = pymysql.connect(**login, autocommit=True, local_infile=True)
    with db, db.cursor() as cursor:
        server_s, own_s = cpu_s(ground.database.pid), time.process_time()
        started = time.perf_counter()
        for statement in made:
            cursor.execute(statement)
        seconds = time.perf_counter() - started
        used = {
            "client": time.process_time() - own_s,
            "mariadbd": cpu_s(ground.database.pid) - server_s,
        }
    if ground.stored() != rows:
        raise NotifyError(f"a ceiling stored {ground.stored()} of {rows} rows")
    return Load(rows, seconds, used, {})


def figure(case: Case, kind: Kind, name: str, loads: list[Load]) -> Figure:
    """The median round, by rate."""
    loads.sort(key=lambda one: one.messages / one.seconds)
    middle = loads[len(loads) // 2]
    per_100k = 100_000 / middle.messages
    return Figure(
        stage=STAGE,
        case=case.name,
        kind=kind,
        name=name,
        unit="messages",
        per_s=middle.messages / middle.seconds,
        cpu_s={process: used * per_100k for process, used in middle.cpu_s.items()},
        more={what: statistics.median(one.more[what] for one in loads) for what in middle.more},
        rounds=len(loads),
    )


async def measure(scale: float) -> list[Figure]:
    """All contenders, in all cases."""
    if shutil.which("wrk") is None:
        raise NotifyError("wrk is not installed; on Debian: apt install wrk")
    seconds = max(1, round(LOAD_S * scale))
    rows = int(INSERTED_PER_S * seconds * min(1, scale))
    rounds = ROUNDS if scale >= 1 else 1
    found: dict[tuple[Case, Kind, str], list[Load]] = {}
    with ExitStack() as stack:
        ground = Ground(stack)
        await ground.prepare()
        servers = contenders(ground, stack)
        for contender in servers:  # started and warm
            load(ground, CASES[0], contender, 1)
        for case in [case for _ in range(rounds) for case in CASES]:
            for contender in servers:
                if contender.stores or case.messages == 1:
                    one = load(ground, case, contender, seconds)
                    found.setdefault((case, contender.kind, contender.name), []).append(one)
            for name, way in (
                (f"INSERT of {case.together} rows, ready-made", inserts),
                (f"LOAD DATA of {case.together} rows", load_data),
            ):
                found.setdefault((case, "ceiling", name), []).append(way(ground, case, rows))
    return [figure(*which, loads) for which, loads in found.items()]


if __name__ == "__main__":
    command.run(measure)
