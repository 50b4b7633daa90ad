"""One service as a process of its own: connected, watched, stopped in order.

It may be started before its servers. What time or an operator mends is waited for, with one
sentence whenever the reason changes; what needs this process to be changed ends it.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import click
import uvloop
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from notify.config import Config
from notify.domain.errors import Busy, ConfigError, NotifyError, QueueError, StorageUnavailable
from notify.queue import is_shared as is_shared_queue
from notify.queue import open_queue
from notify.runtime.clock import SystemClock, SystemRandom
from notify.runtime.directory import DirectoryCache
from notify.runtime.health import HealthApp, missing
from notify.runtime.logs import set_up_logs
from notify.runtime.process import tune_process
from notify.runtime.serving import Serving, bind, served, url_of
from notify.runtime.steps import Stopping
from notify.storage import is_shared as is_shared_storage
from notify.storage import open_storage

RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 2.0
HEALTH_CONNECTIONS_MAX: Final = 100
HEALTH_DRAIN_MS: Final = 1000

log = logging.getLogger(__name__)


class Host:
    """What a service process is made of. Raises ConfigError where processes could not share.

    name: of the service. owner: names this very process among all that ever run. sockets: to
    serve on, where somebody else bound them.
    """

    def __init__(self, name: str, config: Config, sockets: Sequence[socket.socket] = ()) -> None:
        self.name = name
        self.config = config
        self.clock = SystemClock()
        self.random = SystemRandom()
        self.storage = open_storage(config.storage)
        self.queue = open_queue(config.queue, self.clock)
        _check_shared(config)
        self.directory = DirectoryCache(self.storage)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        # The same name and number may come again: in containers most processes are number 1.
        nonce = self.random.token_bytes(4).hex()
        self.owner = f"{name}-{os.uname().nodename}-{os.getpid()}-{nonce}"
        self.stopping = Stopping(self.clock)
        self._sockets = list(sockets)
        self._waiting_for = "this process has not connected yet"

    async def not_ready(self) -> list[str]:
        """What is missing for this process's work; [] where nothing is."""
        if self.stopping:
            return ["this process is shutting down"]
        if self._waiting_for:
            return [self._waiting_for]
        return await missing(self.storage, self.queue)

    async def connect(self, *more: Callable[[], Awaitable[None]]) -> bool:
        """Open database and queue, however long that takes; False when told to stop before.

        more: what else has to succeed once. Raises StorageRefused, or ConfigError.
        """
        for opening in (self.storage.open, self.queue.open, self.directory.refresh, *more):
            if not await self._patiently(opening):
                return False
        self._waiting_for = ""
        tune_process()
        return True

    async def close(self) -> None:
        """Close the ports."""
        try:
            await self.queue.close()
        finally:
            await self.storage.close()

    async def keep_directory(self) -> None:
        """Look for changes of what is configured, until stopping."""
        interval_ms = self.config.runtime.directory_interval_ms
        await self.directory.keep(interval_ms, self.stopping, self.random)

    @asynccontextmanager
    async def serve(
        self, serving: Serving, host: str, port: int, what: str
    ) -> AsyncIterator["asyncio.Task[None]"]:
        """Serve during the block, and say where. Raises ConfigError where the port is taken."""
        try:
            sockets = self._sockets or await bind(host, port)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError([f"cannot serve at {host}:{port}: {reason}"]) from None
        url = url_of(host, sockets)
        async with served(serving, sockets) as task:
            click.echo(f"notify {self.name} is up{what} {url}")
            sys.stdout.flush()  # whoever started this may read it through a pipe
            yield task

    async def work(self, run: Callable[[Stopping], Awaitable[None]]) -> None:
        """The life of a service that has no port but for its health: until told to stop."""
        app = HealthApp(self.registry, self.not_ready)
        serving = Serving(app, "httptools", HEALTH_CONNECTIONS_MAX, HEALTH_DRAIN_MS)
        runtime = self.config.runtime
        async with self.serve(
            serving, runtime.health_host, runtime.health_port, ", health at"
        ) as server:
            await self.until_stopped(self._connect_and(run), server)

    async def until_stopped(
        self, work: Coroutine[Any, Any, None], *beside: "asyncio.Task[None]"
    ) -> None:
        """Work until it ends, which follows from `stopping`. Raises what ended it before.

        beside: tasks that end before only where they failed; then the work is stopped too.
        """
        working = asyncio.create_task(work)
        await asyncio.wait({working, *beside}, return_when=asyncio.FIRST_COMPLETED)
        failed = [task for task in beside if task.done()]
        self.stopping.set()
        await working
        for task in failed:
            await task
            raise NotifyError(f"a part of {self.name} ended by itself; see its log")

    async def _connect_and(self, run: Callable[[Stopping], Awaitable[None]]) -> None:
        if not await self.connect():
            return
        keeping = asyncio.create_task(self.keep_directory())
        try:
            await run(self.stopping)
        finally:
            self.stopping.set()
            await keeping

    async def _patiently(self, opening: Callable[[], Awaitable[None]]) -> bool:
        delay_s = RETRY_FIRST_S
        while not self.stopping:
            try:
                await opening()
            except (StorageUnavailable, QueueError, Busy) as error:
                if str(error) != self._waiting_for:
                    log.warning("%s: waiting: %s", self.name, error)
                self._waiting_for = str(error)
            else:
                return True
            await self.stopping.pause(delay_s * (0.5 + self.random.random()))
            delay_s = min(2 * delay_s, RETRY_MAX_S)
        return False


def run_process(host: Host, life: Callable[[Host], Awaitable[None]], supervised: bool) -> None:
    """Live until SIGTERM or SIGINT; supervised: also until standard input ends.

    Raises NotifyError where this process cannot do its work as it is configured.
    """
    set_up_logs(host.config.runtime.log_level, host.name)
    uvloop.run(_live(host, life, supervised))


async def _live(host: Host, life: Callable[[Host], Awaitable[None]], supervised: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stopping.set)
    if supervised:
        # Whoever started this holds the other end: its death, too, ends this in order.
        await loop.connect_read_pipe(lambda: _Eof(host.stopping.set), sys.stdin)
    try:
        await life(host)
    finally:
        await host.close()


class _Eof(asyncio.Protocol):
    """Calls back at the end of a pipe."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The other end was closed."""
        self._ended()


def _check_shared(config: Config) -> None:
    problems = []
    if not is_shared_storage(config.storage):
        problems.append(
            "storage.url names an SQLite file, which belongs to one process: separate services need"
            " mysql://user:password@host/database; `notify up` runs all in one process over SQLite"
        )
    if not is_shared_queue(config.queue):
        problems.append(
            "queue.url is memory:, which belongs to one process: separate services need"
            " redis://host:6379/0"
        )
    if problems:
        raise ConfigError(problems)
