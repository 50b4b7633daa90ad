"""Storage adapters. Each passes tests/conformance/storage; the URL's scheme chooses one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from notify.config.sections import Config, StorageConfig
from notify.domain.errors import ConfigError
from notify.domain.finding import Finding, error
from notify.domain.ports import Clock, Storage
from notify.storage.mysql import MysqlStorage
from notify.storage.mysql import examine as mysql_examine
from notify.storage.mysql import migrate as mysql_migrate
from notify.storage.mysql import url as mysql_url
from notify.storage.sqlite import SqliteStorage
from notify.storage.sqlite import examine as sqlite_examine

__all__ = [
    "examine_storage",
    "is_shared",
    "migrate_storage",
    "open_storage",
    "sqlite_path",
    "sqlite_url",
]

_SQLITE_FORM = "write sqlite:///relative.db or sqlite:////absolute.db"


def open_storage(config: StorageConfig) -> Storage:
    """The storage that config.url names, not yet connected: await its open().

    sqlite:///relative.db, sqlite:////absolute.db, sqlite:///:memory: for trying things out,
    mysql://user:password@host/database or mysql+unix://user:password@/database?socket=path.
    Raises ConfigError where the scheme is not known or the URL is not of its form.
    """
    scheme, separator, _ = config.url.partition(":")
    if scheme.lower() == "sqlite":
        return SqliteStorage(sqlite_path(config.url))
    if is_shared(config):
        return MysqlStorage(mysql_url.parse(config.url))
    known = "known are sqlite:///path and mysql://user:password@host/database"
    if not separator:
        raise ConfigError([f"storage.url has no scheme such as sqlite: or mysql: ; {known}"])
    raise ConfigError([f"storage.url has the scheme {scheme!r}; {known}"])


def migrate_storage(config: StorageConfig, now_ms: Callable[[], int]) -> list[str]:
    """Bring a shared database to the schema of this release; the names of the steps it took.

    An SQLite file needs none: it is brought up when it is opened. Blocks. Raises ConfigError,
    StorageUnavailable or StorageRefused.
    """
    if is_shared(config):
        return mysql_migrate.migrate(mysql_url.parse(config.url), now_ms)
    open_storage(config)  # for the mistakes in the URL
    return []


def examine_storage(config: Config, clock: Clock) -> Iterator[Finding]:
    """What is right and wrong with the storage that config.storage.url names; blocks."""
    try:
        if is_shared(config.storage):
            options = mysql_url.parse(config.storage.url)
            yield from mysql_examine.examine(options, config.api.payload_bytes_max, clock)
        else:
            open_storage(config.storage)  # for the mistakes in the URL
            yield from sqlite_examine.examine(sqlite_path(config.storage.url))
    except ConfigError as failure:
        for problem in failure.problems:
            yield error("storage", problem)


def is_shared(config: StorageConfig) -> bool:
    """Whether any number of processes may use it, not one."""
    return config.url.partition(":")[0].lower() in mysql_url.SCHEMES


def sqlite_url(path: Path) -> str:
    """The storage.url of a data file, whatever characters its path has."""
    return f"sqlite:///{quote(str(path))}"


def sqlite_path(url: str) -> str:
    """The data file that a sqlite: URL names. Raises ConfigError where it names none."""
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ConfigError([f"storage.url takes no options after ? or #: {_SQLITE_FORM}"])
    path = unquote(parts.path).removeprefix("/")
    if parts.netloc or not path or path.endswith("/") or "\0" in path:
        raise ConfigError([f"storage.url names no data file: {_SQLITE_FORM}"])
    return path
