"""The API as its operator calls it from the command line: where it is, and with which token."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from notify.cli.api_client import ApiClient
from notify.cli.up import TOKEN_DIR
from notify.config import Config
from notify.domain.errors import ConfigError, NotifyError, TransportError
from notify.embedded.admin_token import FILE
from notify.storage import is_shared, sqlite_path

_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound
_PORTS: Final = {"http": 80, "https": 443}
_ANSWER_BYTES_MAX: Final = 16 << 20


class OperatorApi:
    """The API that `cli.api_url` names, called with the admin token. Close it at the end."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError where the URL cannot be used, or no token is to be found."""
        self._url = api_url(config)
        self._token = admin_token(config)
        # An operator's own API may be anywhere, unlike a consumer.
        sender = replace(
            config.sender,
            allow_cidrs=_EVERYWHERE,
            response_bytes_max=_ANSWER_BYTES_MAX,
            response_kept_bytes=_ANSWER_BYTES_MAX,
        )
        self._client = ApiClient(self._url, sender)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer. Raises NotifyError, which says what to do."""
        try:
            return await self._client.call(method, path, self._token, body)
        except TransportError as error:
            raise NotifyError(
                f"the API at {self._url} does not answer ({error.stage}: {error}): start it, or"
                " set NOTIFY_CLI__API_URL"
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def api_url(config: Config) -> str:
    """http://host:port of the API. Raises ConfigError."""
    given = config.cli.api_url
    if not given:
        host = _ANY_ADDRESS.get(config.api.host, config.api.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{config.api.port}"
    try:
        parts = urlsplit(given)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise ConfigError([f"cli.api_url is {given!r}: write it as http://host:port"]) from None
    if not parts.hostname or parts.username is not None or parts.path.strip("/") or parts.query:
        raise ConfigError([f"cli.api_url is {given!r}: write it as http://host:port"])
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def admin_token(config: Config) -> str:
    """The configured token, or the one that `notify up` made. Raises ConfigError."""
    if config.api.admin_token:
        return config.api.admin_token
    directory = TOKEN_DIR
    if not is_shared(config.storage):
        directory = Path(sqlite_path(config.storage.url)).parent
    try:
        token = (directory / FILE).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token:
        raise ConfigError(
            [f"there is no admin token in {directory / FILE}: set NOTIFY_API__ADMIN_TOKEN"]
        )
    return token
