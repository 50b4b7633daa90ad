"""`notify up` as a process of its own, to be stopped in all the ways a process can be."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from notify.embedded.admin_token import FILE

START_S = 20.0
UP = "Notify is up at "


def environment(**options: object) -> dict[str, str]:
    """This process's environment with these options of Notify and no others.

    options: by environment name without its prefix, SENDER__TIMEOUT_MS=100.
    """
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("NOTIFY_") or name == "NOTIFY_PURE"
    }
    options = {"SENDER__ALLOW_CIDRS": "127.0.0.0/8", **options}
    return kept | {f"NOTIFY_{name}": str(value) for name, value in options.items()}


class Program:
    """A running program: its exit code, and what it said, once it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.stdout = ""

    @classmethod
    async def run(
        cls, arguments: Sequence[str], environ: Mapping[str, str], log: Path
    ) -> "Program":
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=dict(environ),
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    @property
    def stderr(self) -> str:
        return self._log.read_text()

    async def line(self, timeout_s: float = START_S) -> str:
        """The next line of its output; "" at the end."""
        assert self._process.stdout
        async with asyncio.timeout(timeout_s):
            text = (await self._process.stdout.readline()).decode()
        self.stdout += text
        return text

    def signal(self, number: int) -> None:
        if not self.ended:
            self._process.send_signal(number)

    async def wait(self, timeout_s: float = START_S) -> int:
        """Its exit code; -9 where it was killed."""
        try:
            async with asyncio.timeout(timeout_s):
                rest, _ = await self._process.communicate()
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()
            raise AssertionError(f"it did not end within {timeout_s:g} s: {self.stderr}") from None
        self.stdout += rest.decode()
        assert self._process.returncode is not None
        return self._process.returncode


class Instance:
    """A Notify that serves from a data directory. `async with` kills what is left of it."""

    def __init__(
        self,
        data_dir: Path,
        environ: Mapping[str, str],
        arguments: Sequence[str] = ("-m", "notify"),
    ) -> None:
        self._data_dir = data_dir
        self._environ = environ
        self._arguments = (*arguments, "up", "--data-dir", str(data_dir), "--port", "0")
        self.url = ""

    async def __aenter__(self) -> Self:
        log = self._data_dir.with_suffix(".log")
        self.program = await Program.run(self._arguments, self._environ, log)
        while not self.url:
            line = await self.program.line()
            if line.startswith(UP):
                self.url = line.removeprefix(UP).split(",")[0].strip()
            elif not line:
                code = await self.program.wait()
                raise AssertionError(f"it ended at once ({code}): {self.program.stderr}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def token(self) -> str:
        return (self._data_dir / FILE).read_text().strip()

    async def kill(self) -> None:
        """End it as abruptly as a machine does."""
        self.program.signal(signal.SIGKILL)
        await self.program.wait()

    async def terminate(self) -> int:
        """Ask it to end; its exit code."""
        self.program.signal(signal.SIGTERM)
        return await self.program.wait()
