"""A private MariaDB server: own data directory, own socket and port, ended by its pid."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pymysql

from notify.storage.mysql.migrate import migrate
from notify.storage.mysql.url import Options, parse

Statement = str | bytes

START_S: Final = 30.0
USER: Final = "notify"
PASSWORD: Final = "pass:w@rd/ü'"
PASSWORD_IN_URL: Final = "pass%3Aw%40rd%2F%C3%BC%27"
# Commits are durable, as in production; the rest only makes it small and quick to start.
SETTINGS: Final = (
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=128M",
    "--innodb-log-file-size=48M",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--bind-address=127.0.0.1",
    "--character-set-server=utf8mb3",  # a default that must not matter
)
# Rows that are not data but part of the schema.
SEEDS: Final = "UPDATE note SET value = 0 WHERE name IN ('config_version', 'worker_lease')"


class Mariadb:
    """A server. Its directory name is short: a socket path has 107 bytes at most."""

    def __init__(self, settings: Sequence[str] = ()) -> None:
        self._server = _program("mariadbd")
        self._install = _program("mariadb-install-db")
        self._settings = tuple(settings)
        self.directory = Path(tempfile.mkdtemp(prefix="nt-db-"))
        self.socket = str(self.directory / "s")
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make the data directory, start, and make the user of the tests."""
        root = ["--user=root"] if os.geteuid() == 0 else []
        subprocess.run(
            [self._install, "--no-defaults", f"--datadir={self.directory}/data", *root,
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.start()
        self.sql(
            f"CREATE USER {USER}@'%' IDENTIFIED BY {_quoted(PASSWORD)}",
            f"GRANT ALL ON `nt\\_%`.* TO {USER}@'%'",
        )

    def start(self, *settings: str) -> None:
        """Start, with settings of this run; returns when it answers."""
        assert self._process is None
        root = ["--user=root"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [self._server, "--no-defaults", *root, f"--datadir={self.directory}/data",
             f"--socket={self.socket}", f"--port={self.port}",
             f"--pid-file={self.directory}/pid", f"--tmpdir={self.directory}",
             f"--log-error={self.directory}/log", *SETTINGS, *self._settings, *settings],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + START_S
        while not self.answers():
            log = self.directory / "log"
            said = log.read_text()[-2000:] if log.exists() else ""
            assert self._process.poll() is None, f"mariadbd ended: {said}"
            assert time.monotonic() < until, f"mariadbd does not answer: {said}"
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def answers(self) -> bool:
        """Whether it accepts connections; PyMySQL leaves a socket behind where it does not."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.socket)
            except OSError:
                return False
            return bool(probe.recv(1))  # its greeting

    def kill(self) -> None:
        """End it as abruptly as a machine does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def remove(self) -> None:
        """End it and remove what it wrote."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def sql(
        self, *statements: str | bytes, database: str | None = None
    ) -> tuple[tuple[Any, ...], ...]:
        """Run statements as root; what the last one finds."""
        db = pymysql.connect(
            unix_socket=self.socket,
            user="root",
            database=database,
            autocommit=True,
            ssl_disabled=True,
        )
        with db, db.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def url(self, database: str, options: str = "") -> str:
        """The URL of a database over TCP, as a user would write it."""
        return f"mysql://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{self.port}/{database}{options}"

    def options(self, database: str, options: str = "") -> Options:
        """How to reach a database over the socket."""
        login = f"{USER}:{PASSWORD_IN_URL}"
        return parse(f"mysql+unix://{login}@/{database}?socket={self.socket}{options}")

    def new_database(self, name: str) -> None:
        """A migrated, empty database with this name."""
        self.sql(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
        migrate(self.options(name), lambda: int(time.time() * 1000))

    def empty(self, database: str) -> None:
        """Forget all rows: much faster than a new database for each test."""
        tables = {row[0] for row in self.sql("SHOW TABLES", database=database)}
        self.sql(
            "START TRANSACTION",
            *(f"DELETE FROM {table}" for table in tables - {"schema_version", "note"}),
            "DELETE FROM note WHERE name NOT IN ('config_version', 'worker_lease')",
            SEEDS,
            "COMMIT",
            database=database,
        )  # fmt: skip


_lock = threading.Lock()
_shared: list[Mariadb] = []


def shared() -> Mariadb:
    """The server of this test session, started when it is first asked for."""
    with _lock:
        if not _shared:
            server = Mariadb()
            try:
                server.create()
            except BaseException:
                server.remove()
                raise
            _shared.append(server)
        return _shared[0]


def end_shared() -> None:
    """End the server of this session, if there is one."""
    with _lock:
        while _shared:
            _shared.pop().remove()


def _program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    assert path, f"these tests need {name}: install the Debian package mariadb-server"
    return path


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
