"""A server program in the foreground, in a directory of its own, ended by its process id."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.redis import die_with_parent, free_port

START_S = 20.0


class Program:
    """`with Program(...) as server:` runs from then on until the end of the block.

    Subclasses write what it reads into `directory` and say how it is called.
    """

    name = ""
    package = ""

    def __init__(self) -> None:
        path = os.environ.get("PATH", "") + ":/usr/sbin"
        found = shutil.which(self.name, path=path)
        assert found, f"these tests need {self.name}: install the Debian package {self.package}"
        self._program = found
        self.directory = Path(tempfile.mkdtemp(prefix=f"notify-{self.name}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def arguments(self) -> Sequence[str]:
        """How the program is called, to stay in the foreground and listen on `port`."""
        raise NotImplementedError

    @property
    def log(self) -> str:
        return (self.directory / "output").read_text(errors="replace")

    def __enter__(self) -> Self:
        try:
            with (self.directory / "output").open("wb") as output:
                self._process = subprocess.Popen(
                    [self._program, *self.arguments()],
                    cwd=self.directory,
                    preexec_fn=die_with_parent,
                    stdout=output,
                    stderr=output,
                )
            self._await_port()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _await_port(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, f"{self.name} ended: {self.log}"
                assert time.monotonic() < until, f"{self.name} does not answer: {self.log}"
                time.sleep(0.01)
            else:
                return

    def _remove(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
