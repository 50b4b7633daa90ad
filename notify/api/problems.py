"""Every error as an answer: RFC 9457 problem details, never internals."""

import logging
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.exceptions import HTTPException

from notify.domain.errors import (
    Busy,
    Conflict,
    InvalidInput,
    NotFound,
    QueueError,
    StorageError,
    StorageRefused,
    Unauthorized,
)
from notify_core.errors import BodyError

CONTENT_TYPE: Final = "application/problem+json"
_RETRY_AFTER_S: Final = 1
_BODY_STATUS: Final = {"malformed": 400, "item": 422, "limit": 413}
_log = logging.getLogger(__name__)


class Problem(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457), the body of every answer that is not a success.

    index, reason: which message of a batch breaks a rule, and how. reasons: everything that
    is not ready.
    """

    type: str
    title: str
    status: int
    detail: str
    index: int | None = None
    reason: str | None = None
    reasons: list[str] | None = None


class Refused(Exception):
    """A request that HTTP itself refuses: `status` with a sentence, perhaps more headers."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}


class NotReady(Exception):
    """What this process needs for its work is missing; `reasons` says what."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Answer(msgspec.Struct, frozen=True):
    """A complete answer: status, extra headers, body."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = {}


def answer_of(error: Exception) -> Answer:
    """The answer to a request that ended with this error; an unforeseen one is logged."""
    problem, headers = _problem_of(error)
    return Answer(problem.status, CONTENT_TYPE, msgspec.json.encode(problem), headers)


def _problem_of(error: Exception) -> tuple[Problem, dict[str, str]]:
    match error:
        case BodyError(kind=kind, reason=reason, index=index):
            problem = _problem(_BODY_STATUS[kind], str(error))
            return msgspec.structs.replace(problem, index=index, reason=reason), {}
        case Unauthorized():
            return _problem(401, str(error)), {"www-authenticate": "Bearer"}
        case NotFound():
            return _problem(404, str(error)), {}
        case Conflict():
            return _problem(409, str(error)), {}
        case InvalidInput():
            return _problem(422, str(error)), {}
        case Busy(retry_after_s=seconds):
            return _problem(503, str(error)), {"retry-after": str(seconds)}
        case StorageError():
            return _later(_of_storage(error))
        case QueueError():
            return _later("the queue does not answer at the moment; try again")
        case NotReady(reasons=reasons):
            problem, headers = _later("this process is not ready")
            return msgspec.structs.replace(problem, reasons=reasons), headers
        case Refused(status=status, headers=headers):
            return _problem(status, str(error)), headers
        case HTTPException(status_code=status):
            return _problem(status, error.detail), dict(error.headers or {})
        case _:
            _log.error("a request failed", exc_info=error)
            return _problem(500, "the request failed; the log of this process says why"), {}


def _of_storage(error: StorageError) -> str:
    if isinstance(error, StorageRefused):
        _log.error("the database refuses a request's work: %s", error)
        return "the database cannot be used as it is; its operator has to act"
    return "the database does not answer at the moment; try again"


def _later(detail: str) -> tuple[Problem, dict[str, str]]:
    return _problem(503, detail), {"retry-after": str(_RETRY_AFTER_S)}


def _problem(status: int, detail: str) -> Problem:
    title = HTTPStatus(status).phrase
    slug = title.lower().replace(" ", "-")
    return Problem(type=f"urn:notify:problem:{slug}", title=title, status=status, detail=detail)
