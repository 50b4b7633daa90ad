"""Storage adapters. Each passes tests/conformance/storage; the URL's scheme chooses one."""

from urllib.parse import unquote, urlsplit

from notify.config.sections import StorageConfig
from notify.domain.errors import ConfigError
from notify.domain.ports import Storage
from notify.storage.mysql import MysqlStorage
from notify.storage.mysql import url as mysql_url
from notify.storage.sqlite import SqliteStorage

__all__ = ["open_storage"]

_SQLITE_FORM = "write sqlite:///relative.db or sqlite:////absolute.db"


def open_storage(config: StorageConfig) -> Storage:
    """The storage that config.url names, not yet connected: await its open().

    sqlite:///relative.db, sqlite:////absolute.db, sqlite:///:memory: for trying things out,
    mysql://user:password@host/database or mysql+unix://user:password@/database?socket=path.
    Raises ConfigError where the scheme is not known or the URL is not of its form.
    """
    scheme, separator, _ = config.url.partition(":")
    if scheme.lower() == "sqlite":
        return SqliteStorage(_sqlite_path(config.url))
    if scheme.lower() in mysql_url.SCHEMES:
        return MysqlStorage(mysql_url.parse(config.url))
    known = "known are sqlite:///path and mysql://user:password@host/database"
    if not separator:
        raise ConfigError([f"storage.url has no scheme such as sqlite: or mysql: ; {known}"])
    raise ConfigError([f"storage.url has the scheme {scheme!r}; {known}"])


def _sqlite_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ConfigError([f"storage.url takes no options after ? or #: {_SQLITE_FORM}"])
    path = unquote(parts.path).removeprefix("/")
    if parts.netloc or not path or path.endswith("/") or "\0" in path:
        raise ConfigError([f"storage.url names no data file: {_SQLITE_FORM}"])
    return path
