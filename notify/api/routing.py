"""One table entry per route: what answers it, and all that the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from notify.api.context import Context
from notify.domain.errors import InvalidInput, NotFound

ID_DIGITS_MAX: Final = 19
ID_MAX: Final = (1 << 63) - 1
LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1000


class Access(StrEnum):
    """Who may call a route."""

    ADMIN = "admin"
    PRODUCER = "producer"
    EITHER = "either"
    ANYONE = "anyone"


@dataclass(frozen=True)
class Parameter:
    """A query parameter; schema is its JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One checked request: path and query texts, the decoded body, the authorization header."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    authorization: bytes

    def id(self, name: str = "id") -> int:
        """An id in the path. Raises NotFound for what no id can look like."""
        text = self.path[name]
        if not (text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS_MAX):
            raise NotFound(f"there is nothing with the id {text[:40]!r}")
        number = int(text)
        if number > ID_MAX:
            raise NotFound(f"there is nothing with the id {text}")
        return number

    def limit(self) -> int:
        """How many items a list may show. Raises InvalidInput."""
        number = self.integer("limit")
        if number is None:
            return LIMIT_DEFAULT
        if not 1 <= number <= LIMIT_MAX:
            raise InvalidInput(f"limit must be 1 to {LIMIT_MAX}")
        return number

    def integer(self, name: str) -> int | None:
        """A whole number of the query, None where absent. Raises InvalidInput."""
        text = self.query.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS_MAX):
            raise InvalidInput(f"{name} must be a whole number")
        return int(text)


@dataclass(frozen=True)
class Plain:
    """An answer that is not JSON of a struct."""

    body: bytes
    content_type: str


Handler = Callable[[Context, Call], Awaitable[Any]]


@dataclass(frozen=True)
class Route:
    """A route. body: the struct of its request, None: it takes none.

    answer: the struct of its success, None: no content. errors: statuses beside those that
    follow from access and body. handler None: answered in front of this table.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    handler: Handler | None
    answer: Any = None
    status: int = 200
    access: Access = Access.ADMIN
    body: Any = None
    body_optional: bool = False
    query: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    media: str = "application/json"
    request_media: Mapping[str, Any] = field(default_factory=dict)


PAGING: Final = (
    Parameter(
        "limit",
        "How many items at most",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    ),
    Parameter("after", "`next` of the previous part", {"type": "string"}),
)
