"""One service in a process of its own, with a supervisor's hands around it."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.process import Program

# All of them start at once, on whatever machine this is.
START_S: Final = 120.0
END_S: Final = 60.0


class Service:
    """`python -m notify.KIND`, again and again: each start is a new process."""

    KINDS: Final = ("api", "maker", "sender", "marker", "rescuer")

    def __init__(self, kind: str, environ: Mapping[str, str], log: Path) -> None:
        self.kind = kind
        self.log = log
        self.url = ""
        self._environ = environ
        self._program: Program | None = None

    @property
    def pid(self) -> int:
        assert self._program
        return self._program.pid

    async def start(self) -> None:
        """Return when it says that it is up."""
        arguments = ("-m", f"notify.{self.kind}")
        self._program = await Program.run(arguments, self._environ, self.log)
        line = await self._program.line(START_S)
        assert line.startswith(f"notify {self.kind} is up"), f"{line!r} {self.last_words}"
        self.url = line.split()[-1]

    def check(self) -> None:
        """Nothing but a fault ends a service, and what it meets is never a bug of ours."""
        assert self._program
        assert not self._program.ended, f"the {self.kind} ended by itself: {self.last_words}"

    @property
    def bugs(self) -> list[str]:
        """Tracebacks in its log: a service survives its own bugs, here they fail the test."""
        return [part for part in self.log.read_text().split("\n20") if "Traceback" in part]

    @property
    def last_words(self) -> str:
        return self.log.read_text()[-3000:]

    async def kill(self) -> None:
        """kill -9, as abruptly as a machine does it."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """Ask it to end; its exit code."""
        return await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def remove(self) -> None:
        """End what is left of it, frozen or not."""
        if self._program and not self._program.ended:
            await self.kill()

    async def _end(self, number: int) -> int:
        self._signal(number)
        assert self._program
        return await self._program.wait(END_S)

    def _signal(self, number: int) -> None:
        assert self._program
        self._program.signal(number)
