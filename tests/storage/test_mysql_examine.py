"""What `notify doctor` says of a MySQL server: nothing hides anything else, nothing is changed."""

import time

import pytest

import notify.storage.mysql.examine as examining
from notify.config import load
from notify.domain.finding import Level
from notify.storage import examine_storage
from notify.storage.mysql import queries
from notify.storage.mysql.migrate import TAKEOVER_MS, migrations
from tests.servers.mariadb import PASSWORD_IN_URL, Mariadb
from tests.storage.conftest import DATABASE

LAST = len(migrations())
STEP = (
    "INSERT INTO schema_version (version, name, started_ms, done_ms)"
    f" VALUES ({LAST + 1}, 'x', {{}}, {{}})"
)


class ShiftedClock:
    """The machine's time, and so much more."""

    def __init__(self, shift_ms: int = 0) -> None:
        self.shift_ms = shift_ms

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.shift_ms

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def examined(url: str, clock=None, **flags):
    config = load(environ={}, flags={"storage.url": url, **flags})
    found = list(examine_storage(config, clock or ShiftedClock()))
    for one in found:
        assert "pass" not in f"{one.text} {one.advice}".replace("password", "")
        assert "\n" not in one.text
    return found


def trouble(found) -> list[tuple[Level, str]]:
    return [(one.level, one.subject) for one in found if one.level is not Level.OK]


def only(found):
    (one,) = [one for one in found if one.level is not Level.OK]
    return one


def test_a_server_as_it_should_be(server: Mariadb) -> None:
    found = examined(server.url(DATABASE))
    assert trouble(found) == []
    told = {one.subject: one.text for one in found}
    assert "answers in" in told["storage"]
    assert told["storage version"].startswith("it is MariaDB 1")
    assert told["storage schema"] == f"it has version {len(migrations())}, the one of this release"
    assert told["storage clock"] == "its clock and this host's agree"
    assert "utf8mb3" in told["storage settings"]
    assert "read and write" in told["storage rights"]


def test_what_is_wrong_with_the_server_is_told_all_at_once(server: Mariadb, settings) -> None:
    settings(
        read_only=1,
        sql_mode="NO_BACKSLASH_ESCAPES",
        max_allowed_packet=16384,
        innodb_flush_log_at_trx_commit=2,
        max_connections=39,
    )
    server.sql("UPDATE schema_version SET version = 99 WHERE version = 1", database=DATABASE)
    try:
        found = examined(server.url(DATABASE), ShiftedClock(-60_000))
    finally:
        server.sql("UPDATE schema_version SET version = 1 WHERE version = 99", database=DATABASE)
    told = "\n".join(f"{one.level} {one.text}; {one.advice}" for one in found)
    for said in (
        "error the server is read-only (read_only); name the primary",
        "error nt_storage on 127.0.0.1:",
        "NO_BACKSLASH_ESCAPES in its sql_mode",
        "is 16384 bytes: raise it",
        "error innodb_flush_log_at_trx_commit is 2",
        "warning max_connections is 39, enough for 9 processes",
        "error its clock is 60.0 s ahead of this host's, which ends leases",
        "run `notify migrate`",
    ):
        assert said in told


@pytest.mark.parametrize(
    ("shift_ms", "level"), [(100, Level.OK), (-900, Level.WARNING), (5500, Level.ERROR)]
)
def test_the_clock_is_judged_by_what_leases_stand(server: Mariadb, shift_ms: int, level) -> None:
    (clock,) = [
        one
        for one in examined(server.url(DATABASE), ShiftedClock(shift_ms))
        if one.subject == "storage clock"
    ]
    assert clock.level is level


def test_a_packet_between_a_payload_and_its_escaped_form(server: Mariadb, settings) -> None:
    settings(max_allowed_packet=2_097_152)
    one = only(examined(server.url(DATABASE)))
    assert (one.level, one.subject) == (Level.WARNING, "storage settings")
    assert "raise it on the server to 2162688" in one.advice
    one = only(examined(server.url(DATABASE), **{"api.payload_bytes_max": 2_097_152}))
    assert one.level is Level.ERROR
    assert "the largest could not be stored" in one.text


@pytest.fixture
def schema(server: Mariadb):
    """Rows of schema_version that a test may change."""
    yield lambda change: server.sql(change, database=DATABASE)
    server.sql(
        f"DELETE FROM schema_version WHERE version > {LAST}",
        database=DATABASE,
    )


def test_a_newer_schema(server: Mariadb, schema) -> None:
    schema(STEP.format(1, 2))
    one = only(examined(server.url(DATABASE)))
    assert (one.level, one.subject) == (Level.ERROR, "storage schema")
    assert "upgrade Notify on this host" in one.text


def test_a_migration_under_way_or_cut_off(server: Mariadb, schema) -> None:
    now_ms = ShiftedClock().now_ms()
    schema(STEP.format(now_ms - 7000, 0))
    one = only(examined(server.url(DATABASE)))
    assert one.level is Level.WARNING
    assert f"step {LAST + 1} of a migration began 7 s ago" in one.text
    schema(f"DELETE FROM schema_version WHERE version > {LAST}")
    schema(STEP.format(now_ms - TAKEOVER_MS, 0))
    one = only(examined(server.url(DATABASE)))
    assert one.level is Level.ERROR
    assert "notify migrate" in one.advice


def test_no_schema_and_no_database(server: Mariadb) -> None:
    server.sql("DROP DATABASE IF EXISTS nt_bare", "CREATE DATABASE nt_bare")
    try:
        one = only(examined(server.url("nt_bare")))
        assert "run `notify migrate`" in one.text
        assert server.sql("SHOW TABLES", database="nt_bare") == (), "nothing is made"
    finally:
        server.sql("DROP DATABASE nt_bare")
    assert "create the database" in only(examined(server.url("nt_bare"))).text


def test_rights_that_are_missing(server: Mariadb, schema) -> None:
    server.sql(
        "CREATE OR REPLACE USER poor@'%' IDENTIFIED BY 'p'",
        f"GRANT SELECT, UPDATE ON {DATABASE}.* TO poor@'%'",
    )
    before = server.sql("SELECT name, value FROM note ORDER BY name", database=DATABASE)
    try:
        url = server.url(DATABASE).replace(f"notify:{PASSWORD_IN_URL}", "poor:p")
        one = only(examined(url))
    finally:
        server.sql("DROP USER poor@'%'")
    assert (one.level, one.subject) == (Level.ERROR, "storage rights")
    assert "may not INSERT, DELETE in nt_storage" in one.text
    assert server.sql("SELECT name, value FROM note ORDER BY name", database=DATABASE) == before


def test_who_cannot_connect_is_told_why(server: Mariadb) -> None:
    assert (
        "refuses the user or password"
        in only(examined(server.url(DATABASE).replace(PASSWORD_IN_URL, "wrong"))).text
    )
    assert "start the server" in only(examined(f"mysql://u:pass@127.0.0.1:1/{DATABASE}")).text
    assert "names no database" in only(examined("mysql://u@127.0.0.1")).text


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("10.11.19-MariaDB-deb12", Level.OK),
        ("10.5.9-MariaDB", Level.ERROR),
        ("8.0.36", Level.OK),
        ("8.4.0-commercial", Level.OK),
        ("5.7.44-log", Level.ERROR),
        ("8.0.11-TiDB-v7.5.0", Level.WARNING),
    ],
)
def test_kinds_and_versions_of_servers(version: str, level: Level) -> None:
    assert examining._version(version).level is level


def test_settings_of_servers_that_the_tests_do_not_start() -> None:
    binlog = list(examining._durable({"log_bin": "ON", "sync_binlog": "0"}))
    assert [one.level for one in binlog] == [Level.WARNING]
    assert list(examining._durable({"log_bin": "OFF", "sync_binlog": "0"})) == []
    (replica,) = examining._writable({"read_only": "OFF", "super_read_only": "ON"})
    assert "super_read_only" in replica.text


def test_a_proxy_that_shows_no_settings_is_looked_at_as_far_as_it_can_be(
    server: Mariadb, monkeypatch
) -> None:
    monkeypatch.setitem(queries._PARTS, "server", [b"SHOW GLOBAL VARIABLES LIKE 'none'"])
    found = examined(server.url(DATABASE))
    assert only(found).text == f"nt_storage on 127.0.0.1:{server.port} does not show its settings"
    assert "storage rights" in {one.subject for one in found}


def test_a_server_that_stops_answering_is_given_up(server: Mariadb, monkeypatch) -> None:
    monkeypatch.setattr(examining, "TIMEOUT_S", 0.3)
    began = time.monotonic()
    monkeypatch.setitem(queries._PARTS, "server_clock", [b"SELECT SLEEP(5)"])
    one = only(examined(server.url(DATABASE)))
    assert one.level is Level.ERROR
    assert "was lost" in one.text
    assert time.monotonic() - began < 3
