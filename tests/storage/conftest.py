"""A database on the session's private MariaDB."""

from collections.abc import Iterator

import pytest

from notify.storage.mysql import MysqlStorage
from tests.servers import mariadb
from tests.storage.mysql_dialect import check

DATABASE = "nt_storage"


@pytest.fixture(scope="module")
def server() -> Iterator[mariadb.Mariadb]:
    """The server, with an empty migrated database."""
    shared = mariadb.shared()
    shared.new_database(DATABASE)
    yield shared
    shared.sql(f"DROP DATABASE IF EXISTS {DATABASE}")


@pytest.fixture
def settings(server: mariadb.Mariadb) -> Iterator[object]:
    """Set global variables of the server for one test; new connections see them."""
    before: dict[str, object] = {}

    def change(**values: object) -> None:
        for name, value in values.items():
            ((was,),) = server.sql(f"SELECT @@GLOBAL.{name}")
            before.setdefault(name, was)
            server.sql(f"SET GLOBAL {name} = {value!r}")

    yield change
    for name, was in before.items():
        server.sql(f"SET GLOBAL {name} = {was!r}")


@pytest.fixture
def mysql(server: mariadb.Mariadb, run) -> Iterator[MysqlStorage]:
    """An open storage over an empty database; every statement is held to the dialect."""
    storage = MysqlStorage(server.options(DATABASE), record=check)
    run(storage.open())
    yield storage
    run(storage.close())
    server.empty(DATABASE)
