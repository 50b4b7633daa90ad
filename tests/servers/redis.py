"""Private Redis servers: own directory, own socket, killed by their process id."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

START_S = 20.0
PR_SET_PDEATHSIG = 1
MISSING = "redis-server is not installed; on Debian: apt install redis-server"


def die_with_parent() -> None:
    """A test run that is killed leaves no servers behind (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One redis-server. It listens on a unix socket, and on `port` where that is given."""

    def __init__(self, *options: str, port: int = 0, program: str = "redis-server") -> None:
        found = shutil.which(program)
        if found is None:
            pytest.fail(MISSING, pytrace=False)
        # Not pytest's directory: the path of a unix socket has room for 107 characters.
        self.directory = Path(tempfile.mkdtemp(prefix="notify-redis-"))
        self.socket = self.directory / "redis.sock"
        self.port = port
        self._saved = self.directory / "appendonlydir"
        self._aside = self.directory / "aside"
        self._arguments = [
            found, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket),
            "--dir", str(self.directory), "--logfile", str(self.directory / "redis.log"),
            "--save", "", "--appendonly", "no", "--daemonize", "no", *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its unix socket's URL."""
        return f"unix://{self.socket}"

    @property
    def log(self) -> str:
        path = self.directory / "redis.log"
        return path.read_text() if path.exists() else "no log"

    def client(self, **options: Any) -> "redis.Redis":
        """A plain client of redis-py, for what the tests do behind the queue's back."""
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2, **options)

    def start(self, *options: str, wait: bool = True) -> None:
        self.run(*self._arguments[1:], *options, wait=wait)

    def run(self, *arguments: str, wait: bool = True) -> None:
        """Start the program with these arguments and no others."""
        program = self._arguments[0]
        self._process = subprocess.Popen(
            [program, *arguments], preexec_fn=die_with_parent, stdout=subprocess.DEVNULL
        )
        if wait:
            self.await_ready()

    def await_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as peer:
                    peer.connect(str(self.socket))
                    peer.sendall(b"PING\r\n")
                    if not peer.recv(64).startswith(b"-LOADING"):
                        return
            except OSError:
                pass
            assert self._process is not None
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                pytest.fail(f"redis-server did not start ({ended}): {self.log}", pytrace=False)
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it as abruptly as a machine does; its directory stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def keep_aside(self) -> None:
        """Copy its append-only file as it is now, in the middle of its being written."""
        shutil.rmtree(self._aside, ignore_errors=True)
        shutil.copytree(self._saved, self._aside)

    def put_back(self) -> None:
        """Of a dead server: what it saved later than `keep_aside` is gone."""
        self.forget()
        self._aside.rename(self._saved)

    def forget(self) -> None:
        """Of a dead server: nothing that it saved is left."""
        shutil.rmtree(self._saved, ignore_errors=True)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A server for tests that only fill it; they begin with FLUSHALL."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()
