"""Private servers, what is configured in them, and one process that works on them alone.

For stages between the two servers: the stream that a service reads is filled while the service
stands still, then it runs until nothing is left. Wall clock and CPU are taken of just that.
"""

import asyncio
import os
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from bench.figures import Figure, Kind
from bench.processes import cpu_s, process
from notify.domain.model import Consumer, Subscription
from notify.domain.ports import Stream
from notify.queue.redis import RedisQueue
from notify.runtime.clock import SystemClock
from notify.storage.mysql import MysqlStorage
from notify_core import ids
from tests.servers.mariadb import Mariadb
from tests.servers.redis import RedisServer

DATABASE = "nt_stage"
# Pages are not written out in the middle of a run that fits; growth sets less.
SETTINGS = ("--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G")
PAYLOAD_BYTES = 600
LOOK_S = 0.002
STALLED_S = 60.0
WARM = 10  # of a round, one in so many is done before it is measured

payload = b'{"order_id":10001,"status":"paid","note":"%s"}' % (b"x" * (PAYLOAD_BYTES - 46))


class Sample(NamedTuple):
    """One round: what was done, in what time, with how many CPU seconds of which process."""

    units: int
    seconds: float
    cpu_s: dict[str, float]


class Timed:
    """Wall clock and CPU of some processes, from when this is made."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._before = {name: cpu_s(pid) for name, pid in pids.items()}
        self._began = time.perf_counter()

    def sample(self, units: int) -> Sample:
        seconds = time.perf_counter() - self._began
        used = {name: cpu_s(pid) - self._before[name] for name, pid in self._pids.items()}
        return Sample(units, seconds, used)


def figure(
    stage: str, case: str, kind: Kind, name: str, unit: str, samples: Sequence[Sample]
) -> Figure:
    """The medians of rounds."""
    return Figure(
        stage=stage,
        case=case,
        kind=kind,
        name=name,
        unit=unit,
        per_s=statistics.median(one.units / one.seconds for one in samples),
        cpu_s={
            which: statistics.median(one.cpu_s[which] / one.units * 100_000 for one in samples)
            for which in samples[0].cpu_s
        },
        rounds=len(samples),
    )


class Stores:
    """MariaDB with durable commits, Redis, and a directory with subscriptions."""

    def __init__(self, stack: ExitStack, settings: Sequence[str] = SETTINGS) -> None:
        # Told to end, it removes what it started too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        self.database, self.redis = Mariadb(settings), RedisServer()
        stack.callback(self.database.remove)
        stack.callback(self.redis.remove)
        self.database.create()
        self.database.new_database(DATABASE)
        self.redis.start()
        self.options = self.database.options(DATABASE)
        self.storage = MysqlStorage(self.options)
        self.queue = RedisQueue(self.redis.url, SystemClock())
        self._ids = ids.IdMaker(0, 0)
        login = self.database.url(DATABASE).partition("//")[2].partition("@")[0]
        self.environ = {
            "NOTIFY_STORAGE__URL": f"mysql+unix://{login}@/{DATABASE}?socket={self.database.socket}",
            "NOTIFY_QUEUE__URL": self.redis.url,
            # Nobody takes what is pushed; it is to be pushed all the same.
            "NOTIFY_QUEUE__DEPTH_MAX": "1000000000",
            "NOTIFY_RUNTIME__LOG_LEVEL": "error",
        }

    async def open(self) -> None:
        await self.storage.open()
        await self.fresh_queue()

    async def close(self) -> None:
        await self.storage.close()
        await self.queue.close()

    async def fresh_queue(self) -> None:
        """An empty queue."""
        with self.redis.client() as client:
            client.flushall()
        await self.queue.open()
        await self.queue.begin_epoch(f"{time.time_ns() // 1_000_000}-bench")

    async def subscribe(self, count: int) -> tuple[int, list[int]]:
        """A producer with so many subscriptions that match everything: its id and theirs."""
        made = await self.storage.add_producer(f"shop {count}", f"{count:064d}", 1)
        sub_ids = []
        for number in range(count):
            new = Consumer(
                id=0, name=f"{count}.{number}", url="http://127.0.0.1:1/", secrets=(), headers={},
                timeout_ms=1000, created_ms=1, updated_ms=1,
            )  # fmt: skip
            consumer = await self.storage.add_consumer(new)
            wanted = Subscription(
                id=0, producer_id=made.id, consumer_id=consumer.id, created_ms=1, updated_ms=1
            )
            sub_ids.append((await self.storage.add_subscription(wanted)).id)
        return made.id, sub_ids

    def message_ids(self, count: int) -> list[int]:
        """Rising ids of now."""
        return self._ids.make_many(time.time_ns() // 1_000_000, count)

    def pids(self, **more: int) -> dict[str, int]:
        """The servers and what else is measured, by name."""
        return {**more, "mariadbd": self.database.pid, "redis-server": self.redis.pid}

    @contextmanager
    def service(self, name: str, **environ: str) -> Iterator[int]:
        """A service as a process, up; its pid."""
        command = [sys.executable, "-m", f"notify.{name}"]
        with process(command, self.environ | environ) as made:
            assert made.stdout is not None
            assert made.stdout.readline(), f"notify {name} ended"
            yield made.pid

    @contextmanager
    def baseline(self, name: str) -> Iterator[int]:
        """A baseline as a process; its pid. It says in a line that it is connected."""
        command = [
            sys.executable, "-m", f"bench.baseline.{name}", str(self.redis.socket),
            self.database.socket, DATABASE,
        ]  # fmt: skip
        with process(command, {}) as made:
            assert made.stdout is not None
            assert made.stdout.readline(), f"{name} ended"
            yield made.pid

    async def left(self, stream: Stream) -> int:
        """Items of a stream that are not acknowledged."""
        return (await self.queue.gauges([stream]))[0].depth

    async def work_off(
        self,
        name: str,
        pid: int,
        units: int,
        fill: Callable[[], Awaitable[None]],
        left: Callable[[], Awaitable[int]],
    ) -> Sample:
        """Fill a stream while a process stands still, then have it work until nothing is left."""
        os.kill(pid, signal.SIGSTOP)
        try:
            await fill()
            timed = Timed(self.pids(**{name: pid}))
        finally:
            os.kill(pid, signal.SIGCONT)
        stalled = time.monotonic() + STALLED_S
        while await left():
            assert time.monotonic() < stalled, f"{name} does not work"
            await asyncio.sleep(LOOK_S)
        return timed.sample(units)
