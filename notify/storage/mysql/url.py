"""storage.url of MySQL: where the server is, who we are, and how we connect."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from notify.domain.errors import ConfigError

FORM: Final = (
    "write mysql://user:password@host:3306/database, or mysql+unix://user:password@/database"
    "?socket=/run/mysqld/mysqld.sock"
)
SCHEMES: Final = ("mysql", "mysql+unix")
PORT: Final = 3306
_CONNECTIONS_MAX: Final = 64


@dataclass(frozen=True)
class Options:
    """How to reach a database. `connect`: arguments for pymysql.connect, the password too.

    connections_max: connections of one process, and so calls at a time.
    """

    shown: str
    connections_max: int = 4
    connect: dict[str, Any] = field(default_factory=dict, repr=False)


def parse(url: str) -> Options:
    """The options of a URL. Raises ConfigError with every mistake found.

    After `?`: connections_max, connect_timeout_s, read_timeout_s, write_timeout_s, socket, and
    PyMySQL's ssl_ca, ssl_cert, ssl_key, ssl_key_password, ssl_verify_cert,
    ssl_verify_identity, ssl_disabled.
    """
    problems: list[str] = []
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError([f"storage.url is no URL ({error}): {FORM}"]) from None
    given = _given(parts.query, problems)
    connect: dict[str, Any] = {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path.removeprefix("/")),
        # A server that does not answer must not hold a worker thread for ever.
        "connect_timeout": given.pop("connect_timeout_s", 5),
        "read_timeout": given.pop("read_timeout_s", 60),
        "write_timeout": given.pop("write_timeout_s", 60),
    }
    connections_max = given.pop("connections_max", 4)
    if not 1 <= connections_max <= _CONNECTIONS_MAX:
        problems.append(f"storage.url: connections_max is from 1 to {_CONNECTIONS_MAX}")
    socket = given.pop("socket", None)
    if parts.scheme.lower() == "mysql+unix":
        if not socket or parts.hostname:
            problems.append(f"storage.url of mysql+unix has a socket and no host: {FORM}")
        # Nobody listens on a socket file; a TLS context for each connection costs 50 ms.
        connect |= {"unix_socket": socket, "ssl_disabled": True}
        place = socket
    else:
        if socket or not parts.hostname:
            problems.append(f"storage.url names no host: {FORM}")
        connect |= {"host": parts.hostname, "port": port or PORT}
        place = f"{parts.hostname}:{port or PORT}"
    if not connect["user"]:
        problems.append(f"storage.url names no user: {FORM}")
    if not connect["database"] or "/" in connect["database"]:
        problems.append(f"storage.url names no database: {FORM}")
    if parts.fragment:
        problems.append("storage.url has a #: write it as %23 where it is part of a password")
    # PyMySQL sends passwords as Latin-1; bytes go as they are.
    connect["password"] = connect["password"].encode()
    if problems:
        raise ConfigError(problems)
    return Options(f"{connect['database']} on {place}", connections_max, connect | given)


def _given(query: str, problems: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        read = _KNOWN.get(name)
        if read is None:
            problems.append(f"storage.url has no option {name!r}; known: {', '.join(_KNOWN)}")
            continue
        try:
            given[name] = read(text)
        except ValueError as error:
            problems.append(f"storage.url: {name} is {error}, not {text!r}")
    return given


def _seconds(text: str) -> float:
    seconds = float(text) if text.replace(".", "", 1).isdigit() else 0.0
    if not 0 < seconds <= 86_400:
        raise ValueError("a number of seconds above 0")
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a number")
    return int(text)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("true or false")
    return text.lower() in ("true", "1")


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("a path")
    return text


_KNOWN: Final[dict[str, Callable[[str], Any]]] = {
    "connections_max": _count,
    "connect_timeout_s": _seconds,
    "read_timeout_s": _seconds,
    "write_timeout_s": _seconds,
    "socket": _path,
    "ssl_ca": _path,
    "ssl_cert": _path,
    "ssl_key": _path,
    "ssl_key_password": str,
    "ssl_verify_cert": _truth,
    "ssl_verify_identity": _truth,
    "ssl_disabled": _truth,
}
