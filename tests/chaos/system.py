"""The whole product as a company runs it: its servers, its processes, its consumers, a load.

Everything reaches MariaDB through a proxy that can cut a connection at a chosen word. What the
test itself asks the database goes past it.
"""

import asyncio
import random
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

import httpx

from notify.domain.model import DeliveryStatus
from notify.domain.ports import Stream, StreamKind
from notify.queue.redis import keys
from notify_core import chunk
from tests.chaos.book import Book
from tests.chaos.load import TYPES, Load
from tests.chaos.receivers import Consumers
from tests.chaos.services import Service
from tests.servers.mariadb import Mariadb
from tests.servers.redis import RedisServer
from tests.support.cutting_proxy import CuttingProxy
from tests.support.http_api import HttpApi
from tests.support.process import environment
from tests.support.receiver import Key
from tests.support.waiting import until

DATABASE: Final = "nt_chaos"
TOKEN: Final = "chaos-admin-token-0123456789"
# Two of what has to take over from each other.
PROCESSES: Final = {"api": 1, "maker": 2, "sender": 2, "marker": 1, "rescuer": 2}
# Short, for it has to run out; long enough for a process that others keep from its work.
LEASE_MS: Final = 4000
SETTINGS: Final = {
    "API__PORT": 0,
    "API__ADMIN_TOKEN": TOKEN,
    "QUEUE__LEASE_MS": LEASE_MS,
    "QUEUE__CHUNK_ROWS_MAX": 50,
    "RESCUER__INTERVAL_MS": 500,
    "RESCUER__UNSPLIT_GRACE_MS": 1000,
    "RESCUER__FORGOTTEN_GRACE_MS": 4000,
    "RUNTIME__WORKER_LEASE_MS": 6000,
    "RUNTIME__HEALTH_PORT": 0,
}
RETRY: Final = {"initial_ms": 100, "factor": 1.5, "max_ms": 1000, "attempts": 100}
PER_S: Final = 200
READY_S: Final = 120.0
OPEN: Final = f"{DeliveryStatus.PENDING:d}, {DeliveryStatus.QUEUED:d}"


class System:
    """`async with System(directory, seed) as it`: everything is up and messages flow."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory = directory
        self._seed = seed
        self._stack = AsyncExitStack()
        self.mariadb = Mariadb()
        # Written, so that a killed server has it; a slow disk must not hold the server up, and
        # the files stay the same ones, so that they can be copied at any moment.
        self.redis = RedisServer(
            "--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"
        )
        self.consumers = Consumers(seed)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self.mariadb.remove)
            stack.callback(self.redis.remove)
            await asyncio.to_thread(self.mariadb.create)
            self.mariadb.new_database(DATABASE)
            await asyncio.to_thread(self.redis.start)
            self.proxy = CuttingProxy(self.mariadb.port)
            stack.callback(self.proxy.close)
            self.services = self._processes()
            for service in self.all_services:
                stack.push_async_callback(service.remove)
            await asyncio.gather(*(service.start() for service in self.all_services))
            await self._ready()
            await stack.enter_async_context(self.consumers)
            await self._configure()
            stack.push_async_callback(self.load.close)
            self.load.start(PER_S)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _processes(self) -> dict[str, list[Service]]:
        url = self.mariadb.url(DATABASE, "?ssl_disabled=true")
        self.environ = environment(
            STORAGE__URL=url.replace(str(self.mariadb.port), str(self.proxy.port)),
            QUEUE__URL=self.redis.url,
            **SETTINGS,
        )
        return {
            kind: [
                Service(kind, self.environ, self._directory / f"{kind}-{number}.log")
                for number in range(count)
            ]
            for kind, count in PROCESSES.items()
        }

    @property
    def all_services(self) -> list[Service]:
        return [service for services in self.services.values() for service in services]

    async def _ready(self) -> None:
        """Until every process says so on its own port."""
        async with httpx.AsyncClient(trust_env=False) as client:
            for service in self.all_services:

                async def ready(url: str = service.url) -> bool:
                    return (await client.get(url + "/readyz")).status_code == 200

                await until(ready, f"the {service.kind} ready", READY_S)

    async def _configure(self) -> None:
        url = self.services["api"][0].url
        async with HttpApi(url, TOKEN) as api:
            shop: Any = await api.producer()
            consumers = self.consumers.by_name
            to_all = [
                await api.subscribe(shop, consumer, name, retry=RETRY)
                for name, consumer in consumers.items()
            ]
            orders = await api.subscribe(
                shop, consumers["quick"], "orders", types=["order.*"], retry=RETRY, ordering="key"
            )
        matching = {
            name: (*to_all, orders) if name.startswith("order.") else tuple(to_all)
            for name in TYPES
        }
        self.book = Book(matching)
        self.load = Load(url, shop["api_key"], self.book, random.Random(self._seed))

    async def restart(self, service: Service) -> None:
        """As a supervisor does it; the producers find the Api at its new address."""
        await service.start()
        if service.kind == "api":
            self.load.url = service.url

    async def look(self) -> None:
        """Book what arrived meanwhile; fail where something ended that should not."""
        await self.arrived()
        self.load.check()
        for service in self.all_services:
            service.check()

    async def arrived(self) -> None:
        """Book what arrived meanwhile."""
        self.book.take(await self.consumers.taken())

    async def delivered(self, promised_until: float, timeout_s: float) -> None:
        """Until everything that was promised by then has arrived."""

        async def nothing_owed() -> bool:
            await self.look()
            return not self.book.owed(promised_until)

        await until(nothing_owed, "everything delivered", timeout_s)

    async def settled(self, timeout_s: float) -> None:
        """Until the database shows everything that was accepted before this call as final."""
        ((last,),) = self.mariadb.sql("SELECT MAX(id) FROM biz_msg", database=DATABASE)

        async def nothing_open() -> bool:
            await self.look()
            return not self._exists(
                f"SELECT 1 FROM receive_msg WHERE status IN ({OPEN}) AND msg_id <= {last} LIMIT 1"
            )

        try:
            await until(nothing_open, "everything marked", timeout_s)
        except AssertionError as error:
            error.add_note(self._standing_still(last))
            raise

    def _standing_still(self, last: int) -> str:
        """What is open too long, and what the queue holds: for who has to find out why."""
        rows = self.mariadb.sql(
            "SELECT msg_id, sub_id, status, attempts, due_ms, updated_ms FROM receive_msg"
            f" WHERE status IN ({OPEN}) AND msg_id <= {last} ORDER BY msg_id LIMIT 20",
            database=DATABASE,
        )
        lines = [f"at {int(time.time() * 1000)} still open: {rows}"]
        with self.redis.client() as client:
            for key in sorted(client.scan_iter(match="nt:*", count=1000)):
                if client.type(key) == b"stream":
                    held = [
                        client.xpending_range(key, group["name"], "-", "+", 5)
                        for group in client.xinfo_groups(key)
                    ]
                    lines.append(f"{key!r}: {client.xlen(key)} chunks, held {held}")
        lines += [f"{one.kind} {one.pid}: {one.last_words}" for one in self.all_services]
        return "\n".join(lines)

    def unmarked(self) -> set[Key]:
        """What the database shows as open at this moment."""
        rows = self.mariadb.sql(
            f"SELECT msg_id, sub_id FROM receive_msg WHERE status IN ({OPEN})",
            database=DATABASE,
        )
        return {(message, subscription) for message, subscription in rows}

    @property
    def queues(self) -> list[Stream]:
        """Those of the subscriptions."""
        return [Stream(StreamKind.SUBSCRIPTION, number) for number in self.book.subscriptions]

    def contents(self, entries: Iterable[tuple[Stream, bytes]]) -> set[Key]:
        """The deliveries that come of entries of the queue's streams, of those that still exist."""
        found: set[Key] = set()
        with self.redis.client() as client:
            for stream, entry in entries:
                stored = client.xrange(keys.of_stream(stream)[keys.CHUNKS], entry, entry)
                for _, fields in stored:
                    found |= self._deliveries(stream, fields[b"c"])
        return found

    def _deliveries(self, stream: Stream, packed: bytes) -> set[Key]:
        if stream.kind is StreamKind.SUBSCRIPTION:
            subscription, deliveries = chunk.unpack_deliveries(packed)
            return {(delivery.message.id, subscription) for delivery in deliveries}
        _, messages = chunk.unpack_messages(packed)
        return {(one.id, number) for one in messages for number in self.book.matching[one.type]}

    def rebuilt_ms(self) -> int:
        """The beginning of that epoch of the queue that was rebuilt last."""
        rows = self.mariadb.sql(
            "SELECT value FROM note WHERE name = 'rebuilt_epoch_ms'", database=DATABASE
        )
        return int(rows[0][0]) if rows else 0

    def stored_messages(self) -> set[int]:
        """Every message's id."""
        return {id_ for (id_,) in self.mariadb.sql("SELECT id FROM biz_msg", database=DATABASE)}

    def statuses(self) -> dict[str, int]:
        """How many deliveries there are of each status."""
        rows = self.mariadb.sql(
            "SELECT status, COUNT(*) FROM receive_msg GROUP BY status", database=DATABASE
        )
        return {DeliveryStatus(status).name.lower(): count for status, count in rows}

    def _exists(self, query: str) -> bool:
        return bool(self.mariadb.sql(query, database=DATABASE))

    async def now(self) -> float:
        """The moment; everything that arrived before it is booked."""
        at = time.monotonic()
        await self.look()
        return at
