"""queue.url as what redis-py connects by.

redis://user:password@host:6379/0, rediss:// with TLS, unix:///path/to/socket?db=0, with the
options of redis-py behind `?`; redis+sentinel://user:password@host1:26379,host2:26379/service/0
(rediss+sentinel:// with TLS) asks Sentinels for the primary of a service; the credentials are
for that primary, `sentinel_username` and `sentinel_password` for the Sentinels.
"""

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from notify.domain.errors import ConfigError

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
SENTINEL_PORT: Final = 26379
CONNECT_TIMEOUT_S: Final = 3.0
ANSWER_TIMEOUT_S: Final = 5.0
# What the adapter decides by itself, and what only redis-py's own pools and clients know.
_OWN: Final = ("protocol", "decode_responses", "parser_class", "max_connections", "timeout",
               "health_check_interval", "retry_on_timeout")  # fmt: skip


class Source:
    """Makes connections to the server that a URL names. Raises ConfigError for a bad URL."""

    def __init__(self, url: str, **connection: Any) -> None:
        try:
            options = _options(url)
            self.answer_timeout_s = float(options.pop("socket_timeout", ANSWER_TIMEOUT_S))
            self.connect_timeout_s = float(options.pop("socket_connect_timeout", CONNECT_TIMEOUT_S))
            for name in _OWN:
                options.pop(name, None)
            # The adapter bounds whole exchanges; redis-py would start a task for each send.
            options |= {"protocol": 2, "socket_timeout": None, **connection}
            options["socket_connect_timeout"] = self.connect_timeout_s
            self._sentinel: Sentinel | None = None
            self._pool = self._made_pool(options)
            self.connection()  # an unknown option shows only here
        except (TypeError, ValueError) as error:
            raise ConfigError([f"queue.url cannot be used: {error}"]) from None

    def connection(self) -> AbstractConnection:
        """A connection that is not connected yet."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's
        return connection

    async def close(self) -> None:
        """Disconnect from the Sentinels."""
        if self._sentinel is not None:
            for client in self._sentinel.sentinels:
                await client.aclose()

    def _made_pool(self, options: dict[str, Any]) -> ConnectionPool:
        sentinels = options.pop("sentinels", None)
        if sentinels is None:
            return ConnectionPool(**options)
        own = {
            name.removeprefix("sentinel_"): options.pop(name)
            for name in ("sentinel_username", "sentinel_password")
            if name in options
        }
        # One Sentinel after the other is asked, within the time that connecting may take: none
        # of them is worth a second try.
        patience_s = self.connect_timeout_s / (len(sentinels) + 1)
        timeouts = {
            "socket_timeout": patience_s,
            "socket_connect_timeout": patience_s,
            "retry": Retry(NoBackoff(), 0),
        }
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py's
            sentinels, sentinel_kwargs={**own, **timeouts}
        )
        return SentinelConnectionPool(  # type: ignore[no-untyped-call]  # redis-py's
            options.pop("service"), self._sentinel, **options
        )


def _options(url: str) -> dict[str, Any]:
    scheme = url.partition(":")[0]
    if not scheme.endswith("+sentinel"):
        return dict(parse_url(url))
    # Several hosts are no authority by the letter of RFC 3986, so the parts are taken by hand.
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not hosts or not service:
        raise ValueError("write it as redis+sentinel://host1:26379,host2:26379/service/0")
    options: dict[str, Any] = dict(parse_url(f"redis://{credentials}{at}h/?{parts.query}"))
    options.pop("host")
    options["sentinels"] = [_address(host) for host in hosts.split(",")]
    options["service"] = unquote(service)
    options["ssl"] = scheme.startswith("rediss")
    if database:
        options["db"] = int(database)
    return options


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, str(SENTINEL_PORT)
    return host.strip("[]"), int(port)
