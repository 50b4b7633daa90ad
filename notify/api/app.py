"""The Api as one ASGI application: messages go their own short way, Starlette routes the rest."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from notify.api import openapi
from notify.api.accept import Acceptor
from notify.api.auth import Keys
from notify.api.context import Context
from notify.api.explain import explain
from notify.api.intake import PATH, Intake
from notify.api.messages import Message, MessagesApp, Receive, Send
from notify.api.metrics import ApiMetrics
from notify.api.problems import Refused, answer_of
from notify.api.routing import Access, Call, Plain, Route
from notify.api.table import OPENAPI_PATH, ROUTES
from notify.config import Config
from notify.domain.errors import InvalidInput
from notify.domain.ports import Clock, Queue, Random, Storage
from notify.runtime.directory import DirectoryCache
from notify.runtime.message_ids import MessageIds

# Bodies of everything but messages.
BODY_BYTES_MAX: Final = 65536
_JSON: Final = "application/json"


class App:
    """The ASGI callable. acceptor: its `run` must be running while this serves.

    intake: where a server hands in requests to accept messages past ASGI.
    """

    def __init__(self, context: Context, extra: Sequence[StarletteRoute] = ()) -> None:
        self.context = context
        self.acceptor = context.acceptor
        self.keys = context.keys
        self._metrics = context.metrics
        self.intake = Intake(context.acceptor, context.keys, context.metrics, context.config.api)
        self._messages = MessagesApp(self.intake)
        self._rest = _starlette(context, self._messages, extra)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        if scope["path"] == PATH and scope["method"] == "POST":
            await self._messages(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.count(message["status"])
            await send(message)

        await self._rest(scope, receive, counted)


def make_app(
    *,
    storage: Storage,
    queue: Queue,
    directory: DirectoryCache,
    message_ids: MessageIds,
    clock: Clock,
    random: Random,
    config: Config,
    registry: CollectorRegistry,
    extra: Sequence[StarletteRoute] = (),
) -> App:
    """The Api over these parts. Whoever serves it also runs `app.acceptor.run()`.

    registry holds the metrics of one Api at most. extra: routes of others, such as a console.
    """
    metrics = ApiMetrics(registry)
    acceptor = Acceptor(storage, queue, directory, message_ids, clock, config, metrics)
    keys = Keys(directory, clock, config.api.admin_token)
    context = Context(
        storage=storage,
        queue=queue,
        directory=directory,
        message_ids=message_ids,
        clock=clock,
        random=random,
        config=config,
        acceptor=acceptor,
        metrics=metrics,
        keys=keys,
    )
    return App(context, extra)


def _starlette(
    context: Context, messages: MessagesApp, extra: Sequence[StarletteRoute]
) -> Starlette:
    by_path: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, {})[route.method] = route
    document = msgspec.json.encode(openapi.document(ROUTES))

    async def show_document(_: Request) -> Response:
        return Response(document, media_type=_JSON)

    routes = [StarletteRoute(OPENAPI_PATH, show_document), *extra]
    for path, methods in by_path.items():
        endpoint = messages if path == PATH else _endpoint(context, methods)
        routes.append(StarletteRoute(path, endpoint, methods=list(methods)))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _failed, Exception: _failed})
    app.router.redirect_slashes = False
    return app


async def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code in (404, 405):
        what = "no route" if error.status_code == 404 else f"no {request.method} for"
        text = f"there is {what} {request.url.path[:200]}; see {OPENAPI_PATH}"
        error = HTTPException(error.status_code, text, error.headers)
    return _response(error)


def _response(error: Exception) -> Response:
    answer = answer_of(error)
    return Response(answer.body, answer.status, answer.headers, answer.content_type)


def _endpoint(context: Context, methods: Mapping[str, Route]) -> Any:
    decoders = {
        name: msgspec.json.Decoder(route.body)
        for name, route in methods.items()
        if route.body is not None
    }

    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            return await _answer(context, methods[method], decoders.get(method), request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Exception as error:
            return _response(error)

    return answer


async def _answer(
    context: Context, route: Route, decoder: msgspec.json.Decoder[Any] | None, request: Request
) -> Response:
    authorization = request.headers.get("authorization", "").encode("latin-1")
    if route.access is Access.ADMIN:
        context.keys.check_admin(authorization)
    call = Call(
        path=request.path_params,
        query=_query(route, request),
        body=None if decoder is None else await _body(route, decoder, request),
        authorization=authorization,
    )
    assert route.handler is not None
    result = await route.handler(context, call)
    if result is None:
        return Response(status_code=route.status)
    if isinstance(result, Plain):
        return Response(result.body, route.status, media_type=result.content_type)
    return Response(msgspec.json.encode(result), route.status, media_type=_JSON)


def _query(route: Route, request: Request) -> dict[str, str]:
    query: dict[str, str] = {}
    known = [parameter.name for parameter in route.query]
    for name, value in request.query_params.multi_items():
        if name not in known:
            there = f"; there are {', '.join(known)}" if known else ""
            raise InvalidInput(f"there is no query parameter {name[:40]!r} here{there}")
        if name in query:
            raise InvalidInput(f"the query parameter {name} is given twice")
        query[name] = value
    return query


async def _body(route: Route, decoder: msgspec.json.Decoder[Any], request: Request) -> Any:
    parts = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            text = f"the body is larger than {BODY_BYTES_MAX} bytes"
            raise Refused(413, text, {"connection": "close"})
        parts.append(part)
    if not size:
        if route.body_optional:
            return None
        raise Refused(400, "the body is empty; send a JSON object")
    media = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    if media != _JSON:
        raise Refused(415, f"content-type must be {_JSON}, not {media[:100]}")
    try:
        return decoder.decode(b"".join(parts))
    except msgspec.ValidationError as error:
        raise InvalidInput(explain(str(error), route.body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        flaw = str(error).removeprefix("JSON is malformed: ")
        raise Refused(400, f"the body is not valid JSON: {flaw}") from None
