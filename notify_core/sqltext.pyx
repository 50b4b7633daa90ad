r"""Values as MySQL literals, rows as multi-row INSERT statements.

Backslash escapes are assumed: a connection under NO_BACKSLASH_ESCAPES must be refused by its
owner. Bytes carry the `_binary` introducer, so that no character set conversion touches them.
"""

from notify_core.buffer cimport Buffer
from notify_core.literals cimport put_int, put_value
from notify_core.statements cimport Statements

from notify_core.errors import SqlTextError

Value = int | str | bytes


def literal(value):
    """One value as a literal: a signed 64-bit int, a text or bytes.

    Raises SqlTextError for any other type, an int out of range, or a text with lone surrogates.
    """
    cdef Buffer out = Buffer()
    put_value(out, value)
    return out.take()


def insert(bytes head not None, rows, bytes tail not None, rows_max, bytes_max, bint group):
    """Rows as one or several statements `head (…),(…) tail`, each within both limits.

    head: `INSERT INTO t (a,b) VALUES `. bytes_max counts the whole statement, head and tail
    too. group: rows whose first value is equal stay in one statement (a message's fan-out is
    never split), even beyond a limit; a row too large for bytes_max goes alone. No rows give
    no statement. Raises SqlTextError.
    """
    cdef Statements statements = Statements(head, tail, rows_max, bytes_max)
    cdef Buffer out = statements.out
    cdef Py_ssize_t column
    previous = None
    for row in rows:
        statements.begin_row()
        out.put_byte(c'(')
        column = 0
        for value in row:
            if column:
                out.put_byte(c',')
            put_value(out, value)
            column += 1
        out.put_byte(c')')
        first = row[0]
        statements.end_row(group and first == previous)
        previous = first
    return statements.finish()


def int_list(values):
    """Integers as `1,2,3`, for an IN list (which must not be empty).

    Raises SqlTextError for anything but signed 64-bit ints.
    """
    cdef Buffer out = Buffer()
    for value in values:
        if type(value) is not int:
            raise SqlTextError(f"{type(value).__name__} is not an integer")
        if out.size:
            out.put_byte(c',')
        put_int(out, value)
    return out.take()
