"""Literals of the core, proved against the server: what is written is what is read."""

from collections.abc import Iterator

import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notify_core import sqltext
from tests.servers.mariadb import Mariadb
from tests.storage.conftest import DATABASE

Value = int | str | bytes
# No surrogates: they have no UTF-8, and sqltext refuses them.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NASTY = st.text(st.sampled_from("'\"\\\0\n\r\t\x1a%_`;-/*#\x7f\xa0\u2028é漢🛒"))
INTS = st.integers(-(1 << 63), (1 << 63) - 1)
quick = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(params=["STRICT_ALL_TABLES", "", "ANSI_QUOTES,PIPES_AS_CONCAT,STRICT_ALL_TABLES"])
def db(server: Mariadb, request) -> Iterator[pymysql.Connection]:
    connection = pymysql.connect(
        unix_socket=server.socket, user="root", database=DATABASE, charset="utf8mb4",
        autocommit=True, ssl_disabled=True, sql_mode=request.param,
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS lit")
        cursor.execute(
            "CREATE TABLE lit (n BIGINT NOT NULL PRIMARY KEY, i BIGINT NOT NULL,"
            " t LONGTEXT NOT NULL, b LONGBLOB NOT NULL) ENGINE=InnoDB"
            " DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        )
        yield connection
        cursor.execute("DROP TABLE lit")


def through(db: pymysql.Connection, rows: list[tuple[int, str, bytes]]) -> list[tuple[Value, ...]]:
    """Rows written by sqltext and read back."""
    numbered = [(number, *row) for number, row in enumerate(rows)]
    with db.cursor() as cursor:
        cursor.execute("DELETE FROM lit")
        for text in sqltext.insert(
            b"INSERT INTO lit (n,i,t,b) VALUES ", numbered, b"", 7, 4000, False
        ):
            cursor.execute(text)
        cursor.execute("SHOW WARNINGS")
        assert cursor.fetchall() == ()
        cursor.execute("SELECT i,t,b FROM lit ORDER BY n")
        return list(cursor.fetchall())


def test_every_byte_and_every_pair_of_special_ones(db: pymysql.Connection) -> None:
    special = [0, 8, 9, 10, 13, 26, 34, 37, 39, 48, 92, 95, 110, 127, 128, 194, 255]
    binaries = [bytes([a]) for a in range(256)]
    binaries += [bytes([a, b]) for a in special for b in special]
    binaries.append(bytes(range(256)) * 300)
    rows = [(number, "", data) for number, data in enumerate(binaries)]
    assert through(db, rows) == rows


def test_every_character_below_4096_and_one_of_each_size(db: pymysql.Connection) -> None:
    texts = [chr(number) for number in range(4096)]
    texts += ["\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "a" * 70_000, "🛒'\\" * 999]
    rows = [(number, text, b"") for number, text in enumerate(texts)]
    assert through(db, rows) == rows


@quick
@given(st.lists(st.tuples(INTS, TEXTS | NASTY, st.binary()), max_size=12))
def test_any_rows(db: pymysql.Connection, rows: list[tuple[int, str, bytes]]) -> None:
    assert through(db, rows) == rows


@quick
@given(INTS, TEXTS | NASTY, st.binary())
def test_any_literal_by_itself(db: pymysql.Connection, i: int, t: str, b: bytes) -> None:
    texts = [sqltext.literal(value) for value in (i, t, b)]
    with db.cursor() as cursor:
        # Named: else the server calls a column by its literal, which need not be UTF-8.
        cursor.execute(b"SELECT %s AS i, %s AS t, %s AS b" % tuple(texts))
        assert cursor.fetchall() == ((i, t, b),)


@quick
@given(st.lists(INTS, min_size=1, max_size=50, unique=True))
def test_any_list_of_ids(db: pymysql.Connection, ids: list[int]) -> None:
    rows = [(id_, "", b"") for id_ in ids]
    through(db, rows)
    with db.cursor() as cursor:
        cursor.execute(b"SELECT i FROM lit WHERE i IN (%s) ORDER BY n" % sqltext.int_list(ids))
        assert [row[0] for row in cursor.fetchall()] == ids
