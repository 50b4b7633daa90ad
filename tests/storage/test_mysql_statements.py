"""The checker of the portable subset catches what it should, and passes what we send.

The conformance suite and the tests here run with it as the recorder of their storages, so every
statement that they sent was checked.
"""

import re
from importlib import resources

import pytest

from notify.storage.mysql import queries
from notify.storage.mysql.connection import PACKET_LEAST
from notify.storage.mysql.deliveries import _TIMER_BYTES
from notify.storage.mysql.queries import QUERIES, parse
from notify_core import fanout, mark, receive
from tests.conformance.storage.samples import NOW, QUEUED, batch, chunks, outcome
from tests.storage.mysql_dialect import RULES, ForbiddenStatement, check, skeleton

FORBIDDEN = [
    "SELECT a FROM t WHERE b = 1; SELECT 1",
    "CREATE TABLE t (a INT)",
    "REPLACE INTO t (a) VALUES (1)",
    "UPDATE t, u SET t.a = 1 WHERE t.b = u.b",
    "UPDATE t JOIN u ON t.id = u.id SET t.a = 1 WHERE t.b = 2",
    "UPDATE t SET a = 1 WHERE b = 2 LIMIT 3",
    "DELETE FROM t WHERE b = 2 LIMIT 3",
    "DELETE FROM t",
    "UPDATE t SET a = 1",
    "INSERT INTO t (a) SELECT a FROM u WHERE b = 1",
    "INSERT INTO t VALUES (1,2)",
    "INSERT INTO t (a) VALUES (1) RETURNING a",
    "LOAD DATA LOCAL INFILE 'x' INTO TABLE t",
    "SELECT a FROM t WHERE b = 1 FOR UPDATE SKIP LOCKED",
    "SELECT a FROM t WHERE b = 1 LOCK IN SHARE MODE",
    "SELECT GET_LOCK('x', 1) FROM t WHERE a = 1",
    "SAVEPOINT a",
    "INSERT INTO t (a) VALUES (1) AS new ON DUPLICATE KEY UPDATE a = new.a",
    "SELECT a FROM t WHERE (a, b) IN ((1,2),(3,4))",
    "SELECT COUNT(DISTINCT a) FROM t WHERE b = 1",
    "SELECT AVG(a) FROM t WHERE b = 1",
    "SELECT a FROM t WHERE b = 1 ORDER BY ABS(a) LIMIT 1",
    "SELECT a FROM t WHERE b = 1 GROUP BY FLOOR(a)",
    "SELECT a FROM t ORDER BY a LIMIT 10 OFFSET 20",
    "SELECT a FROM t ORDER BY a LIMIT 20, 10",
    "SELECT a FROM t",
    "SELECT * FROM t WHERE a = 1",
    "SELECT a FROM t WHERE b IN (SELECT b FROM u WHERE c = 1)",
    "SELECT a FROM t WHERE EXISTS (SELECT 1)",
    "SELECT @a FROM t WHERE b = 1",
    "SET SESSION sql_mode = ''",
    "SHOW TABLES",
    "SELECT table_name FROM information_schema.tables WHERE a = 1",
    "SELECT a FROM t WHERE b < NOW()",
    "SELECT a FROM t FORCE INDEX (PRIMARY) WHERE b = 1",
    "SELECT a /*! STRAIGHT */ FROM t WHERE b = 1",
    "SELECT a FROM t WHERE b = 1 ORDER BY c LIMIT 1",
    "SELECT m.id FROM biz_msg AS m JOIN biz AS b ON b.id = m.biz_id WHERE m.id = 1",
    "WITH x AS (SELECT 1) SELECT a FROM x WHERE a = 1",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_forbidden_constructs_are_found(statement: str) -> None:
    with pytest.raises(ForbiddenStatement):
        check(statement.encode())


def test_every_rule_says_why() -> None:
    assert all(len(rule.reason) > 10 for rule in RULES)


def test_values_are_not_taken_for_statements() -> None:
    hostile = b"'; DROP TABLE t; SELECT * FROM x -- \\' @a /*"
    check(queries.statement("set_subscription_status", "normal", hostile.decode(), NOW, 1))
    (insert,) = queries.insert("take_keys", [(1, 2, hostile, 3, 4), (1, 2, hostile, 3, 4)], 10**6)
    assert skeleton(insert).endswith("VALUES (?)")
    check(insert)


OUTSIDE = {
    "settings": "exempt: looks at the server once for each connection",
    "create_schema_version": "migrations may be of one engine",
    "server": "the doctor looks at one server, no service does",
    "server_clock": "as server",
    "explain_select": "as server",
    "explain_insert": "as server",
    "explain_update": "as server",
    "explain_delete": "as server",
}


@pytest.mark.parametrize("name", sorted(set(QUERIES) - set(OUTSIDE)))
def test_every_named_statement_is_portable(name: str) -> None:
    text = re.sub(
        r"\?(rows)?", lambda mark: "(1)" if mark[1] else "1", QUERIES[name].replace("?any", "")
    )
    check(text.encode())


def test_statements_of_the_core_are_portable() -> None:
    for ignore in (False, True):
        for statement in batch([1, 2], keys=["a'\\", "b"]).insert_sql(ignore, 100, 10**6):
            check(statement)
    made = fanout.split(
        fanout.Table([(1, 7, []), (2, 7, [])]), [batch([1, 2]).chunk(1, 100)], {}, NOW, 0, (), 9, 99
    )
    marks = mark.group(chunks(outcome(1, 1, QUEUED, error="'; x")), ())
    for statement in [*made.insert_sql(100, 10**6), *marks.attempts_sql(100, 10**6)]:
        check(statement)


def test_columns_of_the_core_are_those_of_the_schema() -> None:
    schema = resources.files("notify.storage.mysql").joinpath("schema.sql").read_text("utf-8")
    for table, columns in (
        ("biz_msg", receive.COLUMNS),
        ("receive_msg", fanout.COLUMNS),
        ("receive_attempt", mark.ATTEMPT_COLUMNS),
    ):
        body = schema.split(f"CREATE TABLE {table} (")[1].split(") ENGINE")[0]
        named = re.findall(r"^    ([a-z_]+) ", body, re.MULTILINE)
        assert ",".join(named) == columns


def test_every_statement_is_used() -> None:
    files = resources.files("notify.storage.mysql").iterdir()
    code = "".join(file.read_text("utf-8") for file in files if file.name.endswith(".py"))
    # Names that the code puts together.
    built = {f"deleted_{kind}" for kind in ("producer", "consumer", "subscription")}
    built |= {f"{kind}_named" for kind in ("producer", "consumer")}
    for name in QUERIES:
        assert f'"{name}"' in code or name in built, name


def test_the_parser_refuses_careless_sections() -> None:
    assert parse("-- head\n-- name: a\n-- why\nSELECT 1;\n") == {"a": "SELECT 1"}
    for text in ("-- name: a\nSELECT 1;", "-- name: a\n-- why", "-- name: a\n-- x\nSELECT 1"):
        with pytest.raises(AssertionError):
            parse(text)


def test_a_statement_takes_all_its_values() -> None:
    assert queries.statement("message", 5).endswith(b"WHERE id = 5")
    assert queries.statement("payloads", [1, 2]).endswith(b"IN (1,2)")
    assert queries.statement("order_heads", 3, 3, [b"a", b"b'"]).endswith(
        rb"IN (_binary'a',_binary'b\'')"
    )
    with pytest.raises(AssertionError, match="takes 1"):
        queries.statement("message")


def test_alternatives_are_joined() -> None:
    for times in ([(5, [1, 2])], [(5, [1, 2]), (6, [3])]):
        text = queries.any_of("delete_timers", (9,), times)
        terms = b" OR ".join(
            b"(due_ms = %d AND msg_id IN (%s))" % (due_ms, b",".join(b"%d" % id_ for id_ in ids))
            for due_ms, ids in times
        )
        assert text.endswith(b" WHERE sub_id = 9 AND (" + terms + b")")
        check(text)
    # Where each has a time of its own it still is below the least max_allowed_packet.
    longest = [
        (2**63 - 1 - n, [2**63 - 1 - n]) for n in range((PACKET_LEAST - 1024) // _TIMER_BYTES)
    ]
    assert len(queries.any_of("known_timers", (2**63 - 1,) * 2, longest)) < PACKET_LEAST
