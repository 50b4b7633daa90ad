"""A whole set of services on one host: each a process of its own, started again when it dies.

Killed itself, the supervisor leaves nobody behind: the services see their standard input end
and stop in order.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from notify.config import Config
from notify.domain.errors import ConfigError, NotifyError, StorageUnavailable
from notify.queue import is_shared, open_queue
from notify.runtime.clock import SystemClock
from notify.runtime.serving import bind, url_of
from notify.storage import migrate_storage

# Stopped in the order of the flow, so that each finishes what the one before left.
SERVICES: Final = ("api", "maker", "sender", "marker", "rescuer")
# One is at work at a time, and another is here again sooner than its lease runs out.
ALONE: Final = ("rescuer",)
RESTART_FIRST_S: Final = 0.2
RESTART_MAX_S: Final = 10.0
# Who lived so long is started again at once.
STEADY_S: Final = 30.0
# Beyond runtime.drain_ms, for closing; then it is killed.
STOP_S: Final = 10.0
MIGRATE_RETRY_S: Final = 1.0


class Child:
    """One service process, and the one that follows it."""

    def __init__(
        self, name: str, service: str, arguments: Sequence[str], fds: Sequence[int]
    ) -> None:
        self.name = name
        self.service = service
        self.up = asyncio.Event()
        self._arguments = arguments
        self._fds = fds
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def watch(self, environ: Mapping[str, str]) -> None:
        """Keep one running until `stop`."""
        delay_s = RESTART_FIRST_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            how = await self._run(environ)
            if self._stopping.is_set():
                return
            delay_s = RESTART_FIRST_S if time.monotonic() - started_s > STEADY_S else delay_s
            click.echo(f"{self.name} {how}; starting it again in {delay_s:g} s", err=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stopping.wait()
            delay_s = min(2 * delay_s, RESTART_MAX_S)

    async def stop(self, patience_s: float) -> None:
        """Have it finish what it holds; kill it when that takes longer than patience_s."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(patience_s):
                await process.wait()
        except TimeoutError:
            click.echo(f"{self.name} does not end within {patience_s:g} s: killed", err=True)
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _run(self, environ: Mapping[str, str]) -> str:
        """Run one to its end, and say what end that was."""
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", f"notify.{self.service}", "--supervised", *self._arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=dict(environ),
                pass_fds=self._fds,
                # Ctrl-C reaches a whole process group: only the supervisor is to act on it.
                process_group=0,
            )
        except OSError as error:
            # No memory, processes or files left: what killed the last one is likely to be over.
            return f"cannot be started ({error.strerror})"
        if self._stopping.is_set():
            process.terminate()  # `stop` did not see it yet
        assert process.stdout is not None
        while line := await process.stdout.readline():
            said = line.decode(errors="replace").rstrip().removeprefix(f"notify {self.service} ")
            click.echo(f"{self.name} (pid {process.pid}) {said}")
            self.up.set()
        code = await process.wait()
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


class Supervisor:
    """Makes the schema, holds the API's socket, and watches over the services."""

    def __init__(self, config: Config, file: Path | None, workers: int) -> None:
        self._config = config
        self._file = file
        self._workers = workers
        self._stop = asyncio.Event()
        self.children: list[Child] = []

    async def run(self) -> None:
        """Supervise until SIGTERM or SIGINT. Raises StorageRefused, ConfigError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if not await self._migrate():
            return
        sockets = await self._bind()
        self.children = self._made(sockets)
        environ = self._environ()
        watching = [asyncio.create_task(child.watch(environ)) for child in self.children]
        try:
            await self._announce(url_of(self._config.api.host, sockets))
            await self._stop.wait()
            click.echo("Stopping: finishing what is under way ...")
        finally:
            patience_s = self._config.runtime.drain_ms / 1000 + STOP_S
            for service in SERVICES:
                same = [child for child in self.children if child.service == service]
                await asyncio.gather(*(child.stop(patience_s) for child in same))
            await asyncio.gather(*watching)
            for one in sockets:
                one.close()

    async def _migrate(self) -> bool:
        """Bring the schema up, however long the database is away; False when told to stop."""
        shown = ""
        while not self._stop.is_set():
            try:
                applied = await asyncio.to_thread(
                    migrate_storage, self._config.storage, SystemClock().now_ms
                )
            except StorageUnavailable as error:
                if str(error) != shown:
                    shown = str(error)
                    click.echo(f"waiting: {shown}", err=True)
                with suppress(TimeoutError):
                    async with asyncio.timeout(MIGRATE_RETRY_S):
                        await self._stop.wait()
            else:
                for name in applied:
                    click.echo(f"applied {name}")
                return True
        return False

    async def _bind(self) -> list[socket.socket]:
        at = self._config.api
        try:
            sockets = await bind(at.host, at.port)
        except OSError as error:
            raise NotifyError(f"cannot serve at {at.host}:{at.port}: {error.strerror}") from None
        for one in sockets:
            # Now, so that a client that comes while the Api starts waits instead of being refused.
            one.listen()
        return sockets

    def _made(self, sockets: Sequence[socket.socket]) -> list[Child]:
        fds = [one.fileno() for one in sockets]
        shared = () if self._file is None else ("--config", str(self._file))
        serving = [f"--fd={fd}" for fd in fds]
        made = []
        for service in SERVICES:
            for number in range(1, 1 + (1 if service in ALONE else self._workers)):
                own = serving if service == "api" else ()
                made.append(
                    Child(
                        f"{service} {number}",
                        service,
                        (*shared, *own),
                        fds if service == "api" else (),
                    )
                )
        return made

    def _environ(self) -> dict[str, str]:
        """What the services must know beyond the file: flags of `notify up`, and the token."""
        config = self._config
        return {
            **os.environ,
            "NOTIFY_STORAGE__URL": config.storage.url,
            "NOTIFY_QUEUE__URL": config.queue.url,
            "NOTIFY_API__HOST": config.api.host,
            "NOTIFY_API__PORT": str(config.api.port),
            "NOTIFY_API__ADMIN_TOKEN": config.api.admin_token,
            # Fixed ports would be taken by the first of several.
            "NOTIFY_RUNTIME__HEALTH_PORT": "0",
        }

    async def _announce(self, url: str) -> None:
        stop = asyncio.create_task(self._stop.wait())
        for child in self.children:
            up = asyncio.create_task(child.up.wait())
            await asyncio.wait({up, stop}, return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
        if not stop.done():
            click.echo(f"Notify is up at {url}, {len(self.children)} processes")
        stop.cancel()


def check_supervised(config: Config, workers: int) -> None:
    """Raises ConfigError where no set of processes can run as it is asked for."""
    open_queue(config.queue, SystemClock())  # for the mistakes in the URL
    problems = []
    if workers < 1:
        problems.append(f"--workers must be at least 1, not {workers}")
    if not is_shared(config.queue):
        problems.append(
            "a set of processes needs a queue that they share: add --queue redis://host:6379/0"
        )
    if problems:
        raise ConfigError(problems)
