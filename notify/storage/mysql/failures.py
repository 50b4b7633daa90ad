"""MySQL's errors as storage errors: retryable or permanent, with what to do about it.

Retryable is what time or an operator at the server mends while this process waits; permanent is
what this process says of itself (user, password, TLS) or asks for (a statement too large).

Codes: https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html,
https://mariadb.com/kb/en/mariadb-error-code-reference/ and, from 2000, those of the client.
"""

from typing import Final

import pymysql

from notify.domain.errors import StorageError, StorageRefused, StorageUnavailable

DUPLICATE: Final = 1062
_RESTARTING: Final = "restarts or is shut down: it goes on by itself once {db} answers"
_LOST: Final = "the connection to {db} was lost: it goes on by itself once the server answers"
_DISK: Final = "the disk of the server of {db} is full: free space there"
_READ_ONLY: Final = (
    "{db} is read-only: make it writable, or name the primary server in storage.url; it goes on"
    " by itself then"
)
_LOCKED: Final = "another transaction on {db} holds the rows: it goes on by itself"
_BUSY: Final = "{db} takes no more connections: raise max_connections there, or lower"
_STOPPED: Final = "a statement on {db} was stopped there: it may be repeated"
_RIGHTS: Final = "the user of storage.url may not do this on {db}: grant SELECT, INSERT, UPDATE"
_NO_SCHEMA: Final = "{db} lacks a table or column of this release: run `notify migrate`"
_LOGIN: Final = "{db} refuses the user or password of storage.url: correct them, or create the user"

# The connection is of no use any more, and what it did last may or may not have happened.
LOST: Final = frozenset({0, 1053, 1077, 1080, 1158, 1159, 1160, 1161, 1927, 2006, 2013, 2014, 2027})
# Spider's words for a data node that went away or came back.
NODE: Final = frozenset({1429, 12701})
LOCKED: Final = frozenset({1205, 1213})
READ_ONLY: Final = frozenset({1290, 1792, 1836})

_UNAVAILABLE: Final = {
    **dict.fromkeys(LOST, _LOST),
    **dict.fromkeys(NODE, "a data node of {db} does not answer: it goes on by itself"),
    **dict.fromkeys(LOCKED, _LOCKED),
    **dict.fromkeys(READ_ONLY, _READ_ONLY),
    1053: f"{{db}} {_RESTARTING}",
    3: _DISK,
    1021: _DISK,
    1026: _DISK,
    1114: _DISK,
    1037: "the server of {db} has no memory left: give it more, or lower its buffers",
    1038: "the server of {db} has no memory left for sorting: raise sort_buffer_size",
    1041: "the server of {db} has no memory left: give it more, or lower its buffers",
    1040: f"{_BUSY} connections_max in storage.url",
    1203: f"{_BUSY} connections_max in storage.url",
    1226: f"{_BUSY} connections_max in storage.url",
    1129: "the server of {db} blocks this host after failed connections: run FLUSH HOSTS there",
    1317: _STOPPED,
    1969: _STOPPED,
    3024: _STOPPED,
    **dict.fromkeys((1054, 1146), _NO_SCHEMA),
    1049: "{db} does not exist: create the database, or correct its name in storage.url; then run"
    " `notify migrate`",
    2001: _LOST,
    2002: "{db} cannot be reached: start the server, or correct the socket in storage.url",
    2003: "{db} cannot be reached: start the server, or correct the host in storage.url",
    2005: "the host of {db} is not known: correct it in storage.url, or the name service",
}
_REFUSED: Final = {
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370), f"{_RIGHTS} and DELETE"),
    **dict.fromkeys((1045, 1698, 1862, 4151, 2059, 2061), _LOGIN),
    1130: "the server of {db} accepts no connections from this host: grant them to the user",
    1153: "a statement is larger than max_allowed_packet of {db}: raise it on the server",
    2020: "a statement is larger than max_allowed_packet of {db}: raise it on the server",
    2026: "TLS with {db} failed: check the ssl_ options of storage.url and the server's",
}


def code_of(error: pymysql.MySQLError) -> int:
    """The number of an error; 0 where PyMySQL raised it on a closed connection."""
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


def as_storage_error(error: pymysql.MySQLError, shown: str) -> StorageError:
    """The storage error that an error of MySQL means; shown: the database, for the text."""
    code = code_of(error)
    said = f"({code}: {error.args[1]})" if len(error.args) > 1 else f"({error})"
    if code in _UNAVAILABLE:
        return StorageUnavailable(f"{_UNAVAILABLE[code].format(db=shown)} {said}")
    text = _REFUSED.get(code, "{db} refused a statement, which is a mistake in Notify")
    return StorageRefused(f"{text.format(db=shown)} {said}")


class Duplicate(Exception):
    """A key exists; the transaction was rolled back, or the single statement did nothing."""
