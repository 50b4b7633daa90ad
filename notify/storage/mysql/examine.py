"""What `notify doctor` says of a MySQL database. Nothing is changed there.

The one place that asks about a single server (SHOW, EXPLAIN): services never do.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pymysql

from notify.domain.errors import StorageError
from notify.domain.finding import Finding, clock_skew, error, ok, warning
from notify.domain.ports import Clock
from notify.storage.mysql.connection import Session, connect, objections
from notify.storage.mysql.failures import READ_ONLY, as_storage_error, code_of
from notify.storage.mysql.migrate import TAKEOVER_MS, check_version, schema_version, steps_taken
from notify.storage.mysql.url import Options

SERVER: Final = "storage"
VERSION: Final = "storage version"
SCHEMA: Final = "storage schema"
RIGHTS: Final = "storage rights"
SETTINGS: Final = "storage settings"
CLOCK: Final = "storage clock"

TIMEOUT_S: Final = 3.0
SLOW_MS: Final = 20.0
# What goes around a payload in its statement, and processes that a usual set-up starts.
_STATEMENT_ROOM: Final = 65_536
_PROCESSES: Final = 10
_LEAST: Final = {"MariaDB": (10, 6), "MySQL": (8, 0)}
_LACKS: Final = frozenset({1044, 1142, 1143, 1227})


def examine(options: Options, payload_bytes_max: int, clock: Clock) -> Iterator[Finding]:
    """Look at the server, its settings, the schema, our rights and the clocks; blocks.

    One part that cannot be looked at hides no other. Bounded by TIMEOUT_S a statement.
    """
    waits = {
        name: min(options.connect[name], TIMEOUT_S)
        for name in ("connect_timeout", "read_timeout", "write_timeout")
    }
    options = replace(options, connect=options.connect | waits)
    try:
        db = connect(options, 0, settled=False)
    except StorageError as failure:
        yield error(SERVER, str(failure))
        return
    try:
        for subject, part in (
            (CLOCK, _clock(db, options, clock)),
            (SETTINGS, _server(db, options, payload_bytes_max)),
            (SCHEMA, _schema(db, options.shown, clock)),
        ):
            try:
                yield from part
            except pymysql.MySQLError as failure:
                yield error(subject, str(as_storage_error(failure, options.shown)))
                if not db.usable:
                    return
    finally:
        db.close()


def _clock(db: Session, options: Options, clock: Clock) -> Iterator[Finding]:
    looks = []
    for _ in range(3):
        before_ms = clock.now_ms()
        ((server_us,),) = db.rows("server_clock")
        after_ms = clock.now_ms()
        looks.append((after_ms - before_ms, server_us / 1000 - (before_ms + after_ms) / 2))
    round_trip_ms, ahead_ms = min(looks)
    text = f"{options.shown} answers in {round_trip_ms} ms"
    if round_trip_ms >= SLOW_MS:
        yield warning(SERVER, text, "run Notify nearer to its database: each commit waits for it")
    else:
        yield ok(SERVER, text)
    yield clock_skew(CLOCK, ahead_ms, round_trip_ms)


def _server(db: Session, options: Options, payload_bytes_max: int) -> Iterator[Finding]:
    settings = {_text(name).lower(): _text(value) for name, value in db.rows("server")}
    if not {"version", "max_allowed_packet"} <= set(settings):
        yield warning(
            SETTINGS,
            f"{options.shown} does not show its settings",
            "look yourself: it may be a proxy",
        )
        return
    yield _version(settings["version"])
    packet_bytes = int(settings["max_allowed_packet"])
    found = [
        *(
            error(SETTINGS, text)
            for text in objections(options.shown, settings.get("sql_mode", ""), packet_bytes)
        ),
        *_writable(settings),
        *_packet(packet_bytes, payload_bytes_max),
        *_durable(settings),
        *_connections(settings, options.connections_max),
    ]
    charset = settings.get("character_set_server", "unknown")
    yield from found or [ok(SETTINGS, f"they fit; the tables do not depend on charset {charset}")]


def _version(version: str) -> Finding:
    kind = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    least = _LEAST[kind]
    shown = ".".join(map(str, least))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    other = re.search(r"TiDB|Vitess|OceanBase", version, re.IGNORECASE)
    if other:
        return warning(
            VERSION,
            f"it is {other[0]} ({version}), which Notify's tests do not know",
            "try your load on it first",
        )
    if numbers < least:
        return error(
            VERSION,
            f"it is {kind} {version}, Notify needs {kind} {shown} or later",
            "upgrade the server",
        )
    return ok(VERSION, f"it is {kind} {version}")


def _writable(settings: dict[str, str]) -> Iterator[Finding]:
    names = ("read_only", "super_read_only", "innodb_read_only")
    on = [name for name in names if settings.get(name, "OFF") not in ("OFF", "0")]
    if on:
        yield error(
            SETTINGS,
            f"the server is read-only ({', '.join(on)})",
            "name the primary in storage.url, or make this server writable; services wait",
        )


def _packet(packet_bytes: int, payload_bytes_max: int) -> Iterator[Finding]:
    # A payload of quotes and zero bytes becomes twice as long in its statement.
    needed_bytes = 2 * payload_bytes_max + _STATEMENT_ROOM
    if packet_bytes >= needed_bytes:
        return
    text = f"max_allowed_packet is {packet_bytes} bytes; a payload may have {payload_bytes_max}"
    advice = f"raise it on the server to {needed_bytes} or more, or lower api.payload_bytes_max"
    if packet_bytes < payload_bytes_max + _STATEMENT_ROOM:
        yield error(SETTINGS, f"{text}: the largest could not be stored", advice)
    else:
        yield warning(SETTINGS, f"{text}, and twice that when it is escaped", advice)


def _durable(settings: dict[str, str]) -> Iterator[Finding]:
    flush = settings.get("innodb_flush_log_at_trx_commit", "1")
    if flush != "1":
        yield error(
            SETTINGS,
            f"innodb_flush_log_at_trx_commit is {flush}: accepted messages can be lost with power",
            "set it to 1 on the server",
        )
    if settings.get("log_bin") == "ON" and settings.get("sync_binlog", "1") != "1":
        yield warning(
            SETTINGS,
            f"sync_binlog is {settings['sync_binlog']}: after a crash replicas may lack commits",
            "set it to 1 on the server",
        )


def _connections(settings: dict[str, str], each: int) -> Iterator[Finding]:
    most = int(settings.get("max_connections", 0))
    if 0 < most < _PROCESSES * each:
        yield warning(
            SETTINGS,
            f"max_connections is {most}, enough for {most // each} processes of Notify",
            "raise it on the server, or lower connections_max in storage.url",
        )


def _schema(db: Session, shown: str, clock: Clock) -> Iterator[Finding]:
    under_way = [(number, at_ms) for number, at_ms, done_ms in steps_taken(db) if not done_ms]
    if under_way:
        number, started_ms = under_way[0]
        since_ms = clock.now_ms() - started_ms
        text = f"step {number} of a migration began {since_ms // 1000} s ago and is not done"
        if since_ms < TAKEOVER_MS:
            yield warning(SCHEMA, text, "wait for it; services that start wait too")
        else:
            yield error(SCHEMA, text, "run `notify migrate`, which does it again")
        return
    version = schema_version(db)
    try:
        check_version(db, shown)
    except StorageError as failure:
        yield error(SCHEMA, str(failure))
    else:
        yield ok(SCHEMA, f"it has version {version}, the one of this release")
    if version:
        yield _rights(db, shown)


def _rights(db: Session, shown: str) -> Finding:
    lacking = []
    for name in ("explain_select", "explain_insert", "explain_update", "explain_delete"):
        try:
            db.rows(name)
        except pymysql.MySQLError as failure:
            if code_of(failure) in READ_ONLY:
                continue  # told among the settings
            if code_of(failure) not in _LACKS:
                raise
            lacking.append(name.removeprefix("explain_").upper())
    if lacking:
        return error(
            RIGHTS,
            f"the user of storage.url may not {', '.join(lacking)} in {shown}",
            "grant SELECT, INSERT, UPDATE and DELETE on the database",
        )
    return ok(RIGHTS, "the user may read and write")


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
