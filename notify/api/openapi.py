"""The OpenAPI 3.1 document, made from the route table and the structs: it cannot drift."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from inspect import cleandoc
from typing import Any, Final

import msgspec

from notify import __version__
from notify.api.problems import CONTENT_TYPE, Problem
from notify.api.routing import Access, Route

_REF: Final = "#/components/schemas/{name}"
_SECURITY: Final[Mapping[Access, list[dict[str, list[str]]]]] = {
    Access.ADMIN: [{"admin": []}],
    Access.PRODUCER: [{"producer": []}],
    Access.EITHER: [{"admin": []}, {"producer": []}],
    Access.ANYONE: [],
}
_SCHEMES: Final = {
    "admin": {
        "type": "http",
        "scheme": "bearer",
        "description": "The option api.admin_token; `notify up` makes one where none is set",
    },
    "producer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A producer's API key, as createProducer and rotateProducerKey show it",
    },
}
_DESCRIPTION: Final = """\
A producer hands over a message once; Notify stores it, makes one delivery for each subscription
that matches, and tries each until the consumer answers 2xx or its policy gives up.

With the admin token create a producer (keep its API key), a consumer and a subscription; with
the API key send messages. Every error is `application/problem+json`; `detail` says what to
correct. 503 carries Retry-After: nothing was stored, send the same again.
"""
_RETRY_AFTER: Final = {
    "description": "Seconds until it makes sense to try again",
    "schema": {"type": "integer"},
}
# Schemas made from structs of the core, whose docstrings are for those who work on it.
_DESCRIPTIONS: Final = {
    "Item": """\
One message. type: what subscriptions select by; 1 to 128 characters of A-Z a-z 0-9 _ . : / -
payload: any JSON; it is delivered byte for byte as it was sent.
key: idempotency key; the same key of the same producer gives the same id and no second message.
ordering_key: subscriptions with `ordering` `key` deliver messages of one key one after the other.
deliver_at: not tried before. expires_at: dropped if not delivered by then.
headers: sent along to consumers; content-type among them replaces application/json.""",
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    structs = [Problem]
    for route in routes:
        structs += [kind for kind in (route.answer, route.body) if kind not in (None, str)]
    unique = list(dict.fromkeys(structs))
    references, components = msgspec.json.schema_components(unique, ref_template=_REF)
    schemas = dict(zip(unique, references, strict=True))
    for name, schema in components.items():
        if "description" in schema:
            schema["description"] = _DESCRIPTIONS.get(name, cleandoc(schema["description"]))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Notify",
            "version": __version__,
            "summary": "Durable message delivery to HTTP endpoints",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SCHEMES},
    }


def _operation(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "security": _SECURITY[route.access],
        "responses": _responses(route, schemas),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in path_names(route.path)
    ] + [
        {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": dict(parameter.schema),
        }
        for parameter in route.query
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = schemas[route.body]
        media = route.request_media or {"application/json": None}
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {name: {"schema": _wrapped(schema, form)} for name, form in media.items()},
        }
    return operation


def _wrapped(schema: Any, form: str | None) -> Any:
    """The schema of a body: one object, a list of them, or either."""
    many = {"type": "array", "minItems": 1, "items": schema}
    if form == "many":
        return many
    return {"oneOf": [schema, many]} if form == "one or many" else schema


def _responses(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.answer is str:
        success["content"] = {route.media: {"schema": {"type": "string"}}}
    elif route.answer is not None:
        success["content"] = {route.media: {"schema": schemas[route.answer]}}
    responses = {str(route.status): success}
    for status in sorted(_errors(route)):
        responses[str(status)] = _problem(HTTPStatus(status).phrase, schemas)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            responses[str(status)]["headers"] = {"retry-after": _RETRY_AFTER}
    responses["default"] = _problem("Any other error", schemas)
    return responses


def _errors(route: Route) -> set[int]:
    errors = set(route.errors)
    if route.access is not Access.ANYONE:
        errors |= {401, 503}
    if route.body is not None:
        errors |= {400, 413, 415, 422}
    if route.query:
        errors.add(422)
    return errors


def _problem(description: str, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    return {"description": description, "content": {CONTENT_TYPE: {"schema": schemas[Problem]}}}


def path_names(path: str) -> Iterable[str]:
    """The names in braces of a path."""
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]
