"""Real service processes over private servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.fleet import Fleet
from tests.servers import mariadb
from tests.servers.redis import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def fleet(redis_server: RedisServer, tmp_path: Path) -> Fleet:
    """Services over an empty, migrated database and an empty queue; `async with` ends them."""
    server = mariadb.shared()
    server.new_database("nt_fleet")
    with redis_server.client() as client:
        client.flushall()
    return Fleet(server.url("nt_fleet"), redis_server.url, tmp_path)
