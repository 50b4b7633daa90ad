"""Calls of Notify's own HTTP API, over Notify's own HTTP client."""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from notify.config import SenderConfig
from notify.domain.errors import NotifyError
from notify.domain.ports import Endpoint
from notify.transport import HttpTransport, post

CALL_MS = 30_000


class ApiError(NotifyError):
    """The API answered with an error; the text is its problem's detail."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the API answered {code}: {text}")
        self.code = code


class ApiClient:
    """One API at a URL. Connections are kept; close it at the end."""

    def __init__(self, url: str, config: SenderConfig) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._endpoint = Endpoint(parts.scheme == "https", parts.hostname, parts.port, None, "/")
        self._host = parts.netloc
        self._transport = HttpTransport(config)
        self._kept_bytes = config.response_kept_bytes

    async def call(self, method: str, path: str, key: str, body: Any = None) -> Any:
        """One call with a bearer key; its decoded answer. Raises ApiError, TransportError."""
        payload = b"" if body is None else msgspec.json.encode(body)
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
        )
        answer = await post(
            self._transport, self._endpoint, head.encode(), payload, CALL_MS, self._kept_bytes
        )
        if answer.code >= 400:
            raise ApiError(answer.code, answer.body.decode(errors="replace"))
        return msgspec.json.decode(answer.body) if answer.body else None

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
