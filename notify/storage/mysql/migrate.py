"""Bringing a database to the schema of this release, and refusing to work on another.

DDL commits by itself and GET_LOCK is a lock of one server of many, so a step is
claimed by its row in schema_version: of several migrators one inserts it, the others wait until
it is done. A migrator that was cut off leaves the row behind; after TAKEOVER_MS another one takes
it over and begins the step again, in which what is there already counts as done.
"""

import re
import time
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Final

import pymysql

from notify.domain.errors import StorageRefused, StorageUnavailable
from notify.storage.mysql.connection import Session, connect
from notify.storage.mysql.failures import Duplicate, as_storage_error, code_of
from notify.storage.mysql.url import Options

_FILE: Final = re.compile(r"(\d{3})_(\w+)\.sql", re.ASCII)
_NO_TABLE: Final = 1146
# Table, column or key exists; column or key to drop does not.
_DONE_BEFORE: Final = frozenset({1050, 1060, 1061, 1091})
TAKEOVER_MS: Final = 600_000
_LOOK_S: Final = 0.2


def migrations() -> list[tuple[int, str, str]]:
    """The steps (number, name, statements), rising from 1 without a gap."""
    files = resources.files(__package__).joinpath("migrations").iterdir()
    found = [(_FILE.fullmatch(file.name), file) for file in files]
    steps = [(int(name[1]), name[2], file.read_text("utf-8")) for name, file in found if name]
    steps.sort()
    assert [number for number, _, _ in steps] == list(range(1, len(steps) + 1))
    return steps


def check_version(db: Session, shown: str) -> None:
    """Raises unless the database has this release's schema.

    StorageUnavailable: it has none, or an older one; StorageRefused: it has a newer one.
    """
    version, known = schema_version(db), len(migrations())
    if version == 0:
        raise StorageUnavailable(f"{shown} has no schema of Notify yet: run `notify migrate`")
    if version < known:
        raise StorageUnavailable(
            f"{shown} has schema version {version}, this release needs {known}: run"
            " `notify migrate`"
        )
    if version > known:
        raise StorageRefused(
            f"{shown} has schema version {version}, this release knows {known}: upgrade Notify"
            " on this host to the newer release that migrated it"
        )


def steps_taken(db: Session) -> Sequence[Sequence[int]]:
    """The steps (number, started_ms, done_ms) in their order; done_ms 0: under way or cut off."""
    try:
        return db.rows("migrations")
    except pymysql.MySQLError as error:
        if code_of(error) == _NO_TABLE:
            return ()
        raise


def schema_version(db: Session) -> int:
    """The last step of all that are done, 0 for none."""
    version = 0
    for number, _, done_ms in steps_taken(db):
        if not done_ms or number != version + 1:
            break
        version = number
    return version


def migrate(
    options: Options, now_ms: Callable[[], int], sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """Apply the steps that the database lacks, one after the other; the names of these.

    Raises StorageUnavailable, and StorageRefused where the database is of a newer release.
    """
    db = connect(options, 0)
    try:
        db.run("create_schema_version")
        if schema_version(db) > len(migrations()):
            check_version(db, options.shown)
        return [
            f"{number:03}_{name}"
            for number, name, text in migrations()
            if _claimed(db, options.shown, number, name, now_ms, sleep)
            and _applied(db, number, text, now_ms)
        ]
    except pymysql.MySQLError as error:
        raise as_storage_error(error, options.shown) from error
    finally:
        db.close()


def _claimed(
    db: Session,
    shown: str,
    number: int,
    name: str,
    now_ms: Callable[[], int],
    sleep: Callable[[float], None],
) -> bool:
    """True: the step is ours to apply. False: it is in force."""
    for _ in range(int(2 * TAKEOVER_MS / 1000 / _LOOK_S)):
        step = next((row for row in db.rows("migrations") if row[0] == number), None)
        if step is None:
            try:
                db.run("begin_migration", number, name, now_ms())
            except Duplicate:
                continue
            return True
        _, started_ms, done_ms = step
        if done_ms:
            return False
        at_ms = now_ms()
        if at_ms - started_ms >= TAKEOVER_MS and db.run(
            "resume_migration", at_ms, number, started_ms
        ):
            return True
        sleep(_LOOK_S)
    raise StorageUnavailable(f"another migrator of {shown} does not finish step {number}: end it")


def _applied(db: Session, number: int, text: str, now_ms: Callable[[], int]) -> bool:
    for statement in statements(text):
        try:
            db.change(statement.encode())
        except pymysql.MySQLError as error:
            if code_of(error) not in _DONE_BEFORE:
                raise
    db.run("finish_migration", now_ms(), number)
    return True


def statements(text: str) -> list[str]:
    """The single statements of a script, without comments; each ends its last line with a `;`."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    parts = "\n".join(lines).strip().split(";\n")
    assert parts[-1].endswith(";"), "a script ends with a semicolon"
    return [part.strip().removesuffix(";") for part in parts]
