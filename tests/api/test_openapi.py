"""The OpenAPI document: valid, complete, and true of the answers that the Api really gives."""

import jsonschema
import openapi_spec_validator

from notify.api.openapi import document, path_names
from notify.api.table import ROUTES
from tests.conformance.storage.samples import DROPPED, split


def test_the_document_is_valid_and_has_every_route():
    made = document(ROUTES)
    openapi_spec_validator.validate(made)
    listed = {(path, method.upper()) for path, of in made["paths"].items() for method in of}
    assert listed == {(route.path, route.method) for route in ROUTES}
    names = [route.name for route in ROUTES]
    assert len(names) == len(set(names))


def test_the_document_reads_well():
    made = document(ROUTES)
    for name, schema in made["components"]["schemas"].items():
        assert schema["description"], name
        assert "\n " not in schema["description"], name
    for of in made["paths"].values():
        for operation in of.values():
            if "503" in operation["responses"]:
                assert "retry-after" in operation["responses"]["503"]["headers"]


def test_every_route_answers_as_the_document_says(api, run):
    async def scenario():
        async with api() as it:
            made = (await it.client.get("/openapi.json")).json()
            checked = set()

            async def check(method, path, status, body=None, query="", key=None, **ids):
                route = next(r for r in ROUTES if (r.method, r.path) == (method, path))
                assert list(path_names(path)) == list(ids)
                if key:
                    answer = await it.post(key, body)
                else:
                    answer = await it.admin(method, path.format(**ids) + query, body)
                assert answer.status_code == status, answer.text
                described = made["paths"][path][method.lower()]["responses"]
                content = described.get(str(status), described["default"]).get("content", {})
                if not content:
                    assert answer.content == b""
                else:
                    media = answer.headers["content-type"].partition(";")[0]
                    assert media in content
                    if media != "text/plain":
                        schema = {**content[media]["schema"], "components": made["components"]}
                        jsonschema.Draft202012Validator(
                            closed(schema), format_checker=jsonschema.FormatChecker()
                        ).validate(answer.json())
                if status == route.status:
                    checked.add((method, path))
                return answer.json() if content and media != "text/plain" else None

            p = await check("POST", "/v1/producers", 201, {"name": "p"})
            c = await check("POST", "/v1/consumers", 201, {"name": "c", "url": "http://x.test/"})
            s = await check(
                "POST",
                "/v1/subscriptions",
                201,
                {"producer_id": p["id"], "consumer_id": c["id"], "types": ["a*"]}
                | {"retry": {"initial_ms": 5, "factor": 2.5, "max_ms": 9, "attempts": 3}},
            )
            sent = [{"type": "a", "payload": 1}, {"type": "b", "payload": "x"}]
            m = await check("POST", "/v1/messages", 202, sent, key=p["api_key"])
            await check("POST", "/v1/messages", 422, [{"type": ""}], key=p["api_key"])
            await check("GET", "/v1/messages/{id}", 200, id=m["ids"][0])
            await check("GET", "/v1/messages/{id}", 404, id="5")
            await check("GET", "/v1/deliveries", 200, query="?limit=5")
            await check("GET", "/v1/deliveries", 422, query="?limit=0")
            await check("GET", "/v1/stats", 200)
            for path, one in (
                ("/v1/producers", p),
                ("/v1/consumers", c),
                ("/v1/subscriptions", s),
            ):
                await check("POST", path, 422, {"x": 1})
                await check("GET", path, 200, query="?limit=1")
                await check("GET", path + "/{id}", 200, id=one["id"])
                await check("GET", path + "/{id}", 404, id=99)
                await check("PATCH", path + "/{id}", 200, {}, id=one["id"])
            await check("POST", "/v1/producers", 409, {"name": "p"})
            await check("POST", "/v1/producers/{id}/rotate-key", 200, id=p["id"])
            await check("POST", "/v1/consumers/{id}/rotate-secret", 200, id=c["id"])
            await check("DELETE", "/v1/consumers/{id}/previous-secret", 200, id=c["id"])
            replay = "/v1/subscriptions/{id}/replay"
            await check("POST", replay, 200, {"reasons": ["refused"]}, id=s["id"])
            await check("POST", replay, 404, id=99)
            number = int(m["ids"][0])
            await it.storage.insert_deliveries(split((number, s["id"], DROPPED)))
            replay = "/v1/deliveries/{message}/{subscription}/replay"
            await check("POST", replay, 200, message=number, subscription=s["id"])
            await check("POST", replay, 409, message=number, subscription=s["id"])
            for word in ("pause", "discard", "resume"):
                await check("POST", "/v1/subscriptions/{id}/" + word, 200, {}, id=s["id"])
            await check("DELETE", "/v1/producers/{id}", 409, id=p["id"])
            await check("DELETE", "/v1/subscriptions/{id}", 204, id=s["id"])
            await check("DELETE", "/v1/producers/{id}", 204, id=p["id"])
            await check("DELETE", "/v1/consumers/{id}", 204, id=c["id"])
            for path in ("/healthz", "/readyz", "/metrics"):
                await check("GET", path, 200)
            it.queue.flush()
            await check("GET", "/readyz", 503)
            assert checked == {(route.method, route.path) for route in ROUTES}

    run(scenario())


def closed(schema):
    """The schema, with every object refusing fields that it does not name."""
    if isinstance(schema, dict):
        shut = {key: closed(value) for key, value in schema.items()}
        if "properties" in shut and shut.get("type") == "object":
            shut.setdefault("additionalProperties", False)
        return shut
    return [closed(item) for item in schema] if isinstance(schema, list) else schema
