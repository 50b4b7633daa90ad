"""The embedded product: `notify up`, or `async with Notify(...)` inside a program."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from notify.api import consumers, producers, stats, subscriptions, traces
from notify.api.explain import explain
from notify.api.routing import Call, Handler
from notify.api.service import serving
from notify.api.shapes import (
    ConsumerNew,
    ConsumerShown,
    MessageShown,
    ProducerCreated,
    ProducerNew,
    Stats,
    SubscriptionNew,
    SubscriptionShown,
)
from notify.config import Config, load
from notify.domain.errors import ConfigError, InvalidInput, NotifyError
from notify.embedded import admin_token
from notify.embedded.services import Services
from notify.queue import open_queue
from notify.runtime.clock import SystemClock, SystemRandom
from notify.runtime.serving import bind, served, url_of
from notify.storage import open_storage, sqlite_path, sqlite_url
from notify.transport import HttpTransport
from notify_core import receive
from notify_core.body import Limits

DATA_FILE: Final = "notify.db"


class Notify:
    """All of Notify in this process and event loop.

    data_dir: where the database and the admin token are kept (created); None: as
    storage.url says. config: everything else, None: default.toml and the environment.
    http False: no HTTP server, only the methods below.

        async with Notify("data") as notify:
            shop = await notify.add_producer("shop")
            crm = await notify.add_consumer("crm", "https://crm.example.com/hook")
            await notify.subscribe(shop.id, crm.id, types=["order.*"])
            [message_id] = await notify.send(shop.id, {"type": "order.paid", "payload": {"id": 1}})

    Entering raises ConfigError, StorageError or OSError (the port is taken).
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        config: Config | None = None,
        http: bool = True,
    ) -> None:
        config = config or load()
        if data_dir is not None:
            url = sqlite_url(Path(data_dir).resolve() / DATA_FILE)
            config = replace(config, storage=replace(config.storage, url=url))
        self.data_dir = _data_dir(config)
        self.config = config
        self.url = ""
        self._http = http
        self._services: Services | None = None
        self._serving: asyncio.Task[None] | None = None
        self._server = AsyncExitStack()

    @property
    def admin_token(self) -> str:
        """The token of admin calls over HTTP."""
        return self.config.api.admin_token

    @property
    def services(self) -> Services:
        """The running services."""
        if self._services is None:
            raise RuntimeError("Notify is not running: use `async with Notify(...)`")
        return self._services

    async def __aenter__(self) -> Self:
        clock, random = SystemClock(), SystemRandom()
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.config.api.admin_token:
            token = admin_token.read_or_make(self.data_dir, random)
            self.config = replace(self.config, api=replace(self.config.api, admin_token=token))
        services = Services(
            self.config,
            open_storage(self.config.storage),
            open_queue(self.config.queue, clock),
            HttpTransport(self.config.sender),
            clock,
            random,
            f"{os.uname().nodename}-{os.getpid()}",
        )
        self._services = services
        try:
            await services.start()
            if self._http:
                await self._serve(services)
        except BaseException:
            await services.kill()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The server first: requests under way still need the acceptor.
        await self._server.aclose()
        await self.services.stop()

    async def failure(self) -> None:
        """Return only when a service or the HTTP server ended by itself; raises why."""
        tasks = [*self.services.tasks, *filter(None, [self._serving])]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
        raise NotifyError("a service ended by itself; see the log, and start Notify again")

    async def add_producer(self, name: str) -> ProducerCreated:
        """A new producer, with its API key for calls over HTTP. Raises Conflict."""
        made: ProducerCreated = await self._call(producers.create, ProducerNew, {"name": name})
        return made

    async def add_consumer(self, name: str, url: str, **options: Any) -> ConsumerShown:
        """A new consumer; options: as in ConsumerNew. Raises InvalidInput."""
        body = {"name": name, "url": url} | options
        made: ConsumerShown = await self._call(consumers.create, ConsumerNew, body)
        return made

    async def subscribe(
        self, producer_id: int, consumer_id: int, **options: Any
    ) -> SubscriptionShown:
        """A new subscription; options: the fields of SubscriptionNew. Raises InvalidInput."""
        body = {"producer_id": producer_id, "consumer_id": consumer_id} | options
        made: SubscriptionShown = await self._call(subscriptions.create, SubscriptionNew, body)
        return made

    async def send(
        self, producer_id: int, messages: dict[str, Any] | Sequence[dict[str, Any]]
    ) -> list[int]:
        """Store one message or a batch, as POST /v1/messages takes them; their ids.

        Committed when this returns. Raises BodyError (nothing was stored), Busy, StorageError.
        """
        api = self.config.api
        limits = Limits(
            api.batch_items_max,
            api.payload_bytes_max,
            api.payload_depth_max,
            api.headers_bytes_max,
        )
        body = msgspec.json.encode(messages)
        batch = receive.parse(body, "application/json", limits)
        return await self.services.acceptor.accept(batch, producer_id, len(body))

    async def message(self, message_id: int) -> MessageShown:
        """A message with its deliveries and tries. Raises NotFound."""
        token = f"Bearer {self.admin_token}".encode()
        call = Call({"id": str(message_id)}, {}, None, token)
        shown: MessageShown = await traces.get_message(self.services.app.context, call)
        return shown

    async def stats(self) -> Stats:
        """The account of every subscription."""
        return await stats.stats(self.services.app.context, Call({}, {}, None, b""))

    async def _call(self, handler: Handler, shape: Any, body: dict[str, Any]) -> Any:
        try:
            asked = msgspec.convert(body, shape)
        except msgspec.ValidationError as error:
            raise InvalidInput(explain(str(error), shape)) from None
        return await handler(self.services.app.context, Call({}, {}, asked, b""))

    async def _serve(self, services: Services) -> None:
        at = self.config.api
        sockets = await bind(at.host, at.port)
        self.url = url_of(at.host, sockets)
        self._serving = await self._server.enter_async_context(
            served(serving(services.app, self.config), sockets)
        )


def _data_dir(config: Config) -> Path:
    if not config.storage.url.startswith("sqlite:"):
        raise ConfigError(["the embedded Notify keeps its data in SQLite: storage.url sqlite:///…"])
    return Path(sqlite_path(config.storage.url)).parent
