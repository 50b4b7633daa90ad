"""All of Notify as processes over private servers, with endpoints that answer 200.

Commits are durable; the processes are those of `notify up`. For what is measured of the whole.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from bench.lone_sender import TOKEN, Endpoints, api_at
from bench.processes import cpu_s, family, process, rss_mb
from tests.servers.mariadb import Mariadb
from tests.servers.redis import RedisServer

DATABASE = "nt_flow"
SETTINGS = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G")


class Servers:
    """MariaDB, Redis, endpoints. pids: of all that works, by name; children count with them."""

    def __init__(self, stack: ExitStack) -> None:
        self.database, self.redis = Mariadb(SETTINGS), RedisServer()
        stack.callback(self.database.remove)
        stack.callback(self.redis.remove)
        self.database.create()
        self.database.new_database(DATABASE)
        self.redis.start()
        self.endpoints = Endpoints(stack)
        self.pids = {
            "mariadbd": self.database.pid,
            "redis-server": self.redis.pid,
            "endpoints": self.endpoints.pid,
            "producer": os.getpid(),
        }

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds that each has used."""
        return self._each(cpu_s)

    def rss_mb(self) -> dict[str, float]:
        """Memory that each has in use."""
        return self._each(rss_mb)

    def _each(self, ask: Any) -> dict[str, float]:
        own = os.getpid()  # the parent of all of them
        return {
            name: sum(ask(one) for one in ([pid] if pid == own else family(pid)))
            for name, pid in self.pids.items()
        }


class System(Servers):
    """Notify over them. environ: options beside those that connect it."""

    def __init__(
        self, stack: ExitStack, workers: int = 1, environ: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(stack)
        options = {
            "NOTIFY_STORAGE__URL": self.database.url(DATABASE),
            "NOTIFY_QUEUE__URL": self.redis.url,
            "NOTIFY_API__ADMIN_TOKEN": TOKEN,
            "NOTIFY_SENDER__ALLOW_CIDRS": "127.0.0.0/8",
            "NOTIFY_RUNTIME__LOG_LEVEL": "error",
        }
        command = [sys.executable, "-m", "notify", "up", "--port=0", f"--workers={workers}"]
        up = stack.enter_context(process(command, options | dict(environ or {})))
        assert up.stdout
        self.url = ""
        while not self.url:
            line = up.stdout.readline()
            assert line, "notify up ended"
            name, _, rest = line.partition(" (pid ")
            if rest:
                self.pids[name.removesuffix(" 1") if workers == 1 else name] = int(
                    rest.partition(")")[0]
                )
            elif line.startswith("Notify is up at "):
                self.url = line.split()[4].rstrip(",")
        self.api = api_at(self.url)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """An admin call."""
        return await self.api.call(method, path, TOKEN, body)

    async def subscribe(self, urls: Sequence[str], **fields: Any) -> str:
        """A producer with a subscription for each URL; its API key."""
        producer = await self.call("POST", "/v1/producers", {"name": "shop"})
        for number, url in enumerate(urls):
            target = {"name": f"consumer {number}", "url": url}
            consumer = await self.call("POST", "/v1/consumers", target)
            wanted = {"producer_id": producer["id"], "consumer_id": consumer["id"], **fields}
            await self.call("POST", "/v1/subscriptions", wanted)
        return str(producer["api_key"])

    async def close(self) -> None:
        """Close the connections of `call`."""
        await self.api.close()

    async def delivered(self) -> int:
        """Deliveries that are marked as delivered."""
        rows = (await self.call("GET", "/v1/stats"))["subscriptions"]
        return sum(row["delivered"] for row in rows)
