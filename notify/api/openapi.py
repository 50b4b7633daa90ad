"""The OpenAPI 3.1 document, made from the route table and the structs: it cannot drift."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
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
    "admin": {"type": "http", "scheme": "bearer", "description": "The option api.admin_token"},
    "producer": {"type": "http", "scheme": "bearer", "description": "A producer's API key"},
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    structs = [Problem]
    for route in routes:
        structs += [kind for kind in (route.answer, route.body) if kind not in (None, str)]
    unique = list(dict.fromkeys(structs))
    references, components = msgspec.json.schema_components(unique, ref_template=_REF)
    schemas = dict(zip(unique, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Notify",
            "version": __version__,
            "summary": "Durable message delivery to HTTP endpoints",
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
