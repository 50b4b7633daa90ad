"""The ground of fsck's tests, once over MariaDB and Redis, once over SQLite and memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from notify.queue.memory import MemoryQueue
from notify.queue.redis import RedisQueue
from notify.runtime.clock import SystemClock
from notify.storage.mysql import MysqlStorage
from notify.storage.sqlite import SqliteStorage
from tests.fsck.ground import Ground
from tests.servers import mariadb
from tests.servers.redis import RedisServer
from tests.storage.mysql_dialect import check

DATABASE = "nt_fsck"


@pytest.fixture(scope="module")
def server() -> Iterator[mariadb.Mariadb]:
    """MariaDB, with an empty migrated database."""
    shared = mariadb.shared()
    shared.new_database(DATABASE)
    yield shared
    shared.sql(f"DROP DATABASE IF EXISTS {DATABASE}")


@pytest.fixture
def shared_ground(server: mariadb.Mariadb, shared_redis: RedisServer, run) -> Iterator[Ground]:
    """What production runs over."""
    server.empty(DATABASE)
    with shared_redis.client() as client:
        client.flushall()
    storage = MysqlStorage(server.options(DATABASE), record=check)
    made = Ground(storage, RedisQueue(shared_redis.url, SystemClock()))
    run(made.open())
    yield made
    run(made.close())


@pytest.fixture
def embedded_ground(tmp_path: Path, run) -> Iterator[Ground]:
    """One process's own, as fsck would see it from inside."""
    made = Ground(SqliteStorage(str(tmp_path / "notify.db")), MemoryQueue(SystemClock()))
    run(made.open())
    yield made
    run(made.close())


@pytest.fixture(params=["shared_ground", "embedded_ground"])
def ground(request: pytest.FixtureRequest) -> Ground:
    found: Ground = request.getfixturevalue(request.param)
    return found
