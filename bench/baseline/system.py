"""The naive system as a whole: one process of each service that one writes first.

What a producer calls and what an endpoint gets are the same as Notify's.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from bench.processes import process
from bench.stages.api import THREADS, Server
from bench.system import DATABASE, Servers
from notify.api.auth import hash_key
from notify.domain.model import Consumer, Subscription
from notify.storage.mysql import MysqlStorage
from tests.servers.mariadb import PASSWORD, USER

KEY = "nk_bench"
SECRET = "d2hzZWNfYmVuY2hfYmVuY2hfYmVuY2g="


class NaiveSystem(Servers):
    """Flask, Maker, Sender and Marker over the same servers, from `subscribe` on."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack)
        self._stack = stack
        self.url = ""

    async def subscribe(self, urls: Sequence[str]) -> str:
        """A producer with a subscription for each URL, then the processes; its API key."""
        storage = MysqlStorage(self.database.options(DATABASE))
        await storage.open()
        producer = await storage.add_producer("shop", hash_key(KEY.encode()), 1)
        targets = {}
        for number, url in enumerate(urls):
            new = Consumer(
                id=0, name=f"consumer {number}", url=url, secrets=(), headers={}, timeout_ms=1000,
                created_ms=1, updated_ms=1,
            )  # fmt: skip
            consumer = await storage.add_consumer(new)
            wanted = Subscription(
                id=0, producer_id=producer.id, consumer_id=consumer.id, created_ms=1, updated_ms=1
            )
            targets[(await storage.add_subscription(wanted)).id] = {"url": url, "secret": SECRET}
        await storage.close()
        path = self.redis.directory / "targets.json"
        path.write_text(json.dumps(targets))
        redis, database = str(self.redis.socket), (self.database.socket, DATABASE)
        for name, arguments in (
            ("maker", (redis, *database)),
            ("sender", (redis, str(path))),
            ("marker", (redis, *database)),
        ):
            command = [sys.executable, "-m", f"bench.baseline.{name}_naive", *arguments]
            self.pids[name] = self._stack.enter_context(process(command, {})).pid
        self._serve()
        return KEY

    def _serve(self) -> None:
        environ = {
            "DATABASE_SOCKET": self.database.socket,
            "DATABASE": DATABASE,
            "DATABASE_USER": USER,
            "DATABASE_PASSWORD": PASSWORD,
            "REDIS_SOCKET": str(self.redis.socket),
        }
        command = [
            "gunicorn", "--worker-class=gthread", f"--threads={THREADS}", "--bind=fd://{fd}",
            "--keep-alive=75", "--log-level=error", "bench.baseline.api_flask:app",
        ]  # fmt: skip
        server = Server(self._stack, command, environ)
        self.url = server.url.removesuffix("/v1/messages")
        self.pids["api"] = server.pids[0]

    async def close(self) -> None:
        """Nothing is kept open."""

    async def delivered(self) -> int:
        """Deliveries that are marked as delivered."""
        counted = "SELECT COUNT(*) FROM receive_msg WHERE status = 2"
        return int(self.database.sql(counted, database=DATABASE)[0][0])
