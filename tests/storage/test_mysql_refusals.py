"""What is wrong with the server or the rights: one sentence that says what to do."""

import pymysql
import pytest

from notify.domain.errors import StorageError, StorageRefused, StorageUnavailable
from notify.storage.mysql import MysqlStorage
from notify.storage.mysql.failures import as_storage_error
from notify.storage.mysql.url import parse
from tests.conformance.storage.samples import (
    DELIVERED,
    INLINE,
    NOW,
    PENDING,
    account,
    batch,
    checked_ledger,
    chunks,
    grid,
    outcome,
)
from tests.servers.mariadb import PASSWORD_IN_URL, Mariadb
from tests.storage.conftest import DATABASE


def refused(run, url: str, kind: type[StorageError], said: str) -> None:
    storage = MysqlStorage(parse(url + "?connect_timeout_s=2&ssl_disabled=true"))
    with pytest.raises(kind, match=said) as error:
        run(storage.open())
    assert "pass" not in str(error.value).replace("password", "")
    with pytest.raises(StorageUnavailable, match="not open"):
        run(storage.note("x"))


def test_wrong_credentials(server: Mariadb, run) -> None:
    url = server.url(DATABASE).replace(PASSWORD_IN_URL, "wrong")
    refused(run, url, StorageRefused, "refuses the user or password of storage.url")
    refused(run, url.replace("notify:", "nobody:"), StorageRefused, "create the user")


def test_an_unknown_database(server: Mariadb, run) -> None:
    url = server.url("nt_missing")
    refused(run, url, StorageUnavailable, "nt_missing.*create the database.*run `notify migrate`")


def test_no_right_to_the_database(server: Mariadb, run) -> None:
    refused(run, server.url("mysql"), StorageRefused, "grant SELECT, INSERT, UPDATE and DELETE")


def test_nobody_listens(server: Mariadb, run) -> None:
    url = server.url(DATABASE).replace(str(server.port), "1")
    refused(run, url, StorageUnavailable, "cannot be reached: start the server")
    url = server.url(DATABASE).replace("127.0.0.1", "name.invalid")
    refused(run, url, StorageUnavailable, "cannot be reached")


def test_a_certificate_that_is_not_there(server: Mariadb, run) -> None:
    storage = MysqlStorage(parse(server.url(DATABASE) + "?ssl_ca=/missing.pem"))
    with pytest.raises(StorageRefused, match="cannot be connected to as storage"):
        run(storage.open())


def test_tls_that_the_server_does_not_have(server: Mariadb, run) -> None:
    storage = MysqlStorage(parse(server.url(DATABASE) + "?ssl_verify_identity=true"))
    with pytest.raises(StorageRefused, match="TLS with"):
        run(storage.open())


def test_no_backslash_escapes_is_refused(server: Mariadb, settings, run) -> None:
    settings(sql_mode="NO_BACKSLASH_ESCAPES")
    url = server.url(DATABASE)
    refused(run, url, StorageUnavailable, "NO_BACKSLASH_ESCAPES in its sql_mode.*take it out")


def test_a_tiny_packet_is_refused(server: Mariadb, settings, run) -> None:
    settings(max_allowed_packet=16384)
    refused(run, server.url(DATABASE), StorageUnavailable, "max_allowed_packet.*is 16384 bytes")


def test_a_read_only_server_reads_and_says_so(mysql: MysqlStorage, settings, run) -> None:
    run(mysql.insert_messages(batch([1]), NOW))
    settings(read_only=1)
    for _ in range(3):
        with pytest.raises(StorageUnavailable, match="is read-only: make it writable, or name"):
            run(mysql.insert_messages(batch([2]), NOW))
        assert run(mysql.last_message_id()) == 1
    settings(read_only=0)
    run(mysql.insert_messages(batch([2]), NOW))
    assert run(mysql.last_message_id()) == 2


def test_a_missing_table_names_the_migration(server: Mariadb, mysql: MysqlStorage, run) -> None:
    server.sql("RENAME TABLE note TO note_away", database=DATABASE)
    try:
        with pytest.raises(StorageUnavailable, match="run `notify migrate`"):
            run(mysql.note("x"))
    finally:
        server.sql("RENAME TABLE note_away TO note", database=DATABASE)


@pytest.mark.parametrize("mode", ["", "STRICT_ALL_TABLES,NO_ZERO_DATE,ONLY_FULL_GROUP_BY,ANSI"])
@pytest.mark.parametrize("isolation", ["READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"])
def test_any_other_mode_will_do(
    server: Mariadb, settings, mysql: MysqlStorage, run, mode: str, isolation: str
) -> None:
    settings(sql_mode=mode, tx_isolation=isolation)
    storage = MysqlStorage(server.options(DATABASE))
    run(storage.open())
    ids = list(range(1, 51))
    keys = [f"k{id_}🛒" for id_ in ids]
    run(storage.insert_messages(batch(ids, keys=keys), NOW))
    assert run(storage.insert_messages(batch([99], keys=keys[:1]), NOW)) == ([1], [])
    run(storage.insert_deliveries(grid(ids, [1])))
    run(storage.insert_deliveries(grid(ids, [2], PENDING)))
    run(storage.mark(chunks(*(outcome(id_, 1, DELIVERED) for id_ in ids)) * 2))
    assert len(run(storage.pending(2, NOW, 100, INLINE))) == 50
    assert run(storage.set_queued(2, ids, NOW)) == 50
    assert run(storage.forget_queued(None, NOW + 1, NOW + 1)) == 50
    ledger = run(checked_ledger(storage))
    assert ledger == {1: account(1, delivered=50), 2: account(2, pending=50)}
    run(storage.close())


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (3, StorageUnavailable, "disk of the server of d is full"),
        (1021, StorageUnavailable, "free space"),
        (1114, StorageUnavailable, "free space"),
        (1040, StorageUnavailable, "raise max_connections"),
        (1129, StorageUnavailable, "FLUSH HOSTS"),
        (1205, StorageUnavailable, "another transaction"),
        (1429, StorageUnavailable, "data node"),
        (1064, StorageRefused, "mistake in Notify"),
        (1130, StorageRefused, "from this host"),
        (1153, StorageRefused, "max_allowed_packet"),
        (1054, StorageUnavailable, "notify migrate"),
        (2006, StorageUnavailable, "connection to d was lost"),
    ],
)
def test_codes_of_faults_that_a_test_cannot_make(
    code: int, kind: type[StorageError], said: str
) -> None:
    error = as_storage_error(pymysql.err.OperationalError(code, "server's word"), "d")
    assert type(error) is kind
    assert said in str(error)
    assert f"({code}: server's word)" in str(error)


def test_an_error_without_a_number_is_a_closed_connection() -> None:
    error = as_storage_error(pymysql.err.InterfaceError(0, ""), "d")
    assert isinstance(error, StorageUnavailable)
