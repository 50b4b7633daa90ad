"""A real server over real adapters, inside the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from notify.api.app import App, make_app
from notify.api.http import BoundedHttp
from notify.api.service import serving
from notify.config import Config, load
from notify.domain.ports import Inserted
from notify.queue.memory import MemoryQueue
from notify.runtime.clock import SystemClock, SystemRandom
from notify.runtime.directory import DirectoryCache
from notify.runtime.message_ids import MessageIds
from notify.runtime.serving import Serving, bind, served
from notify.storage.sqlite import SqliteStorage

ADMIN = "the-admin-token"


class WatchedStorage(SqliteStorage):
    """The real storage, with a view of commits and a switch to make them fail or wait."""

    def __init__(self, path: str) -> None:
        super().__init__(path, inline=True)
        self.commits: list[int] = []
        self.begun = 0
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.down: Exception | None = None

    async def insert_messages(self, batch: Any, now_ms: int) -> Inserted:
        self.begun += len(batch)
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.commits.append(len(batch))
        return await super().insert_messages(batch, now_ms)

    async def config_version(self) -> int:
        if self.down:
            raise self.down
        return await super().config_version()


class WatchedQueue(MemoryQueue):
    """The real queue, with a switch to make pushes fail."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.failures: list[Exception] = []
        self.pushed: list[Any] = []

    async def push(self, pushes: Any) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.pushed.extend(pushes)
        await super().push(pushes)


@dataclass
class Api:
    """A running Api: its parts, an HTTP client, and short ways to use it."""

    app: App
    storage: WatchedStorage
    queue: WatchedQueue
    directory: DirectoryCache
    message_ids: MessageIds
    client: httpx.AsyncClient
    port: int
    committing: "asyncio.Task[None]"

    async def admin(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {ADMIN}"}
        return await self.client.request(method, path, json=body, headers=headers, **more)

    async def made(self, path: str, body: Any) -> Any:
        answer = await self.admin("POST", path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def producer(self, name: str = "shop") -> Any:
        return await self.made("/v1/producers", {"name": name})

    async def consumer(self, name: str = "mail", **more: Any) -> Any:
        body = {"name": name, "url": "http://127.0.0.1:9/hook", **more}
        return await self.made("/v1/consumers", body)

    async def subscription(self, **more: Any) -> Any:
        producer, consumer = await self.producer(), await self.consumer()
        body = {"producer_id": producer["id"], "consumer_id": consumer["id"], **more}
        return {**await self.made("/v1/subscriptions", body), "api_key": producer["api_key"]}

    async def post(self, key: str, body: Any, content_type: str = "application/json") -> Any:
        given = {"content": body} if isinstance(body, bytes) else {"json": body}
        headers = {"authorization": f"Bearer {key}", "content-type": content_type}
        return await self.client.post("/v1/messages", headers=headers, **given)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the loop turn until something holds; the test's time-out bounds it."""
        while not holds():  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.001)

    async def held(self, n: int) -> None:
        """Until n messages are in the commit that is held up, or wait behind it."""
        registry = self.app.context.metrics.registry

        def rows() -> float:
            waiting = registry.get_sample_value("notify_api_waiting_rows")
            assert waiting is not None
            return self.storage.begun + waiting

        before = sum(self.storage.commits)
        await self.until(lambda: rows() == before + n)

    async def stored(self) -> int:
        """How many messages the database holds."""
        return len(await self.storage.unsplit(0, (1 << 63) - 1, 100_000, 0))


Started = Callable[..., AbstractAsyncContextManager[Api]]


def long_way(app: App, config: Config) -> Serving:
    """An Api whose messages all go through ASGI, as in any other server."""
    return serving(app, config)._replace(http=BoundedHttp)


@pytest.fixture
def way() -> Callable[[App, Config], Serving]:
    """How an Api is served; a test may say otherwise."""
    return serving


@pytest.fixture
def api(tmp_path: Any, way: Callable[[App, Config], Serving]) -> Started:
    """Make an async context with a running Api; options as `api_port=…` for api.port."""

    @asynccontextmanager
    async def started(**options: Any) -> AsyncIterator[Api]:
        flags = {name.replace("_", ".", 1): value for name, value in options.items()}
        config = load(environ={}, flags={"api.port": 0, "api.admin_token": ADMIN, **flags})
        clock, random = SystemClock(), SystemRandom()
        storage = WatchedStorage(str(tmp_path / "notify.db"))
        await storage.open()
        queue = WatchedQueue(clock)
        await queue.open()
        await queue.begin_epoch("first")
        directory = DirectoryCache(storage)
        await directory.refresh()
        message_ids = MessageIds(storage, clock, random, "test", 30_000)
        await message_ids.open()
        app = make_app(
            storage=storage,
            queue=queue,
            directory=directory,
            message_ids=message_ids,
            clock=clock,
            random=random,
            config=config,
            registry=CollectorRegistry(),
        )
        committing = asyncio.create_task(app.acceptor.run())
        server = AsyncExitStack()
        sockets = await bind(config.api.host, config.api.port)
        port = sockets[0].getsockname()[1]
        await server.enter_async_context(served(way(app, config), sockets))
        limits = httpx.Limits(max_connections=None)
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=10)
        try:
            async with client:
                yield Api(app, storage, queue, directory, message_ids, client, port, committing)
        finally:
            storage.gate.set()
            await server.aclose()
            app.acceptor.drain()
            await asyncio.wait({committing})
            await message_ids.close()
            await storage.close()
            await queue.close()

    return started
