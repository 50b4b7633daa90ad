import importlib
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_core.errors import SqlTextError

pure = importlib.import_module("notify_core.pure.sqltext")
core = (
    pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.sqltext")
)
both = pytest.mark.parametrize("sqltext", list(dict.fromkeys([core, pure])))

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
HEAD = b"INSERT INTO t (a,b) VALUES "
values = st.integers(INT_MIN, INT_MAX) | st.text(max_size=12) | st.binary(max_size=12)
anything = values | st.integers() | st.none() | st.booleans() | st.floats() | st.just("\ud800")
rows = st.lists(st.tuples(st.integers(0, 2), anything), max_size=8)


def unescaped(literal):
    """Read a quoted literal the way the MySQL manual defines it (string literals, table 11.1)."""
    inside = literal.removeprefix(b"_binary")[1:-1]
    meaning = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"Z": b"\x1a"}
    assert not re.search(rb"(?<!\\)(?:\\\\)*['\"]", inside), "a quote would end the literal"
    return re.sub(rb"\\(.)", lambda m: meaning.get(m[1], m[1]), inside, flags=re.DOTALL)


@both
def test_every_byte_comes_back(sqltext):
    for byte in range(256):
        literal = sqltext.literal(bytes([byte]))
        assert literal.startswith(b"_binary'")
        assert unescaped(literal) == bytes([byte])
    assert unescaped(sqltext.literal(bytes(range(256)))) == bytes(range(256))


@both
@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("", b"''"),
        ("it's", b"'it\\'s'"),
        ('a "b"', b"'a \\\"b\\\"'"),
        ("a\\b", b"'a\\\\b'"),
        ("a\0\n\r\x1ab", b"'a\\0\\n\\r\\Zb'"),
        ("тест 測試 🚀", "'тест 測試 🚀'".encode()),
        (b"", b"_binary''"),
        (b"\xff'", b"_binary'\xff\\''"),
        (0, b"0"),
        (INT_MAX, b"9223372036854775807"),
        (INT_MIN, b"-9223372036854775808"),
    ],
)
def test_literals(sqltext, value, literal):
    assert sqltext.literal(value) == literal


@both
@pytest.mark.parametrize(
    "value", [INT_MAX + 1, INT_MIN - 1, "\ud800", None, True, 1.5, bytearray(b"a"), ("a",)]
)
def test_what_has_no_literal(sqltext, value):
    with pytest.raises(SqlTextError, match="has no literal"):
        sqltext.literal(value)
    with pytest.raises(SqlTextError, match="has no literal"):
        sqltext.insert(HEAD, [(1, value)], b"", 10, 1000, False)


@both
def test_rows_become_one_statement(sqltext):
    statements = sqltext.insert(HEAD, [(1, "x"), (2, b"y")], b" ON DUPLICATE", 10, 1000, False)
    assert statements == [HEAD + b"(1,'x'),(2,_binary'y') ON DUPLICATE"]
    assert sqltext.insert(HEAD, [], b"", 10, 1000, False) == []


@both
def test_a_statement_holds_rows_max_rows(sqltext):
    statements = sqltext.insert(HEAD, [(i,) for i in range(5)], b"", 2, 1000, False)
    assert statements == [HEAD + b"(0),(1)", HEAD + b"(2),(3)", HEAD + b"(4)"]


@both
def test_a_statement_holds_bytes_max_bytes_head_and_tail_counted(sqltext):
    bytes_max = len(HEAD) + len(b"(0),(1)") + len(b" TAIL")
    statements = sqltext.insert(HEAD, [(i,) for i in range(3)], b" TAIL", 10, bytes_max, False)
    assert statements == [HEAD + b"(0),(1) TAIL", HEAD + b"(2) TAIL"]
    assert len(sqltext.insert(HEAD, [(0,), (1,)], b" TAIL", 10, bytes_max - 1, False)) == 2


@both
def test_a_row_larger_than_a_statement_goes_alone(sqltext):
    statements = sqltext.insert(HEAD, [(1,), ("x" * 500,), (2,)], b"", 10, 100, False)
    assert [len(statement) > 100 for statement in statements] == [False, True, False]


@both
def test_one_messages_rows_are_never_split(sqltext):
    fan_out = [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2)]
    statements = sqltext.insert(HEAD, fan_out, b"", 2, 1000, True)
    assert statements == [HEAD + b"(1,1),(1,2),(1,3)", HEAD + b"(2,1),(3,1),(3,2)"]


@both
def test_int_lists(sqltext):
    assert sqltext.int_list([1, INT_MIN, INT_MAX]) == b"1,%d,%d" % (INT_MIN, INT_MAX)
    assert sqltext.int_list([]) == b""
    for bad in (True, "1", 1.0, INT_MAX + 1):
        with pytest.raises(SqlTextError):
            sqltext.int_list([1, bad])


def _answer(function, *arguments):
    try:
        return function(*arguments)
    except SqlTextError as error:
        return str(error)


@given(anything | st.text() | st.binary())
def test_the_twins_write_the_same_literals(value):
    assert _answer(core.literal, value) == _answer(pure.literal, value)


@given(st.text() | st.binary())
def test_a_literal_says_its_value(value):
    wanted = value if isinstance(value, bytes) else value.encode()
    assert unescaped(core.literal(value)) == wanted


@given(
    rows, st.binary(max_size=5), st.integers(-1, 5), st.integers(-1, 90) | st.integers(),
    st.booleans(),
)  # fmt: skip
def test_the_twins_cut_statements_alike(rows, tail, rows_max, bytes_max, group):
    arguments = (HEAD, rows, tail, rows_max, bytes_max, group)
    assert _answer(core.insert, *arguments) == _answer(pure.insert, *arguments)


@given(st.lists(st.integers() | st.booleans(), max_size=5))
def test_the_twins_list_integers_alike(numbers):
    assert _answer(core.int_list, numbers) == _answer(pure.int_list, numbers)
