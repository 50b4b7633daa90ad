"""What is said of a configuration body of the wrong shape."""
# ruff: noqa: E501 - a case and what is said about it stand on one line

import pytest

NAME = {"name": "n"}
PAIR = {"producer_id": 1, "consumer_id": 1}


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("producers", [1], "the body must be an object, not an array"),
        ("producers", {}, "name is missing"),
        ("producers", {"name": 7}, "name must be a string, not an integer"),
        ("producers", {"name": ""}, "name must have at least 1 character"),
        ("producers", {"name": "x" * 101}, "name must have at most 100 characters"),
        ("producers", {"nam": "x"}, 'unknown field "nam" (known: name)'),
        ("consumers", NAME, "url is missing"),
        ("consumers", {**NAME, "url": "u", "headers": []}, "headers must be an object, not an array"),
        ("consumers", {**NAME, "url": "u", "headers": {"a": 1}}, "a value in headers must be a string, not an integer"),
        ("consumers", {**NAME, "url": "u", "timeout_ms": 5}, "timeout_ms must be at least 100"),
        ("consumers", {**NAME, "url": "u", "timeout_ms": 10**6}, "timeout_ms must be at most 60000"),
        ("consumers", {**NAME, "url": "u", "timeout_ms": "5"}, "timeout_ms must be an integer or null, not a string"),
        ("subscriptions", {**PAIR, "types": []}, "types must have at least 1 item"),
        ("subscriptions", {**PAIR, "types": ["a", "b c"]}, "types[1] may only have the characters A-Z a-z 0-9 _ . : / - *"),
        ("subscriptions", {**PAIR, "ordering": "x"}, "ordering cannot be 'x'; /openapi.json lists what it can"),
        ("subscriptions", {**PAIR, "retry": {"x": 1}}, 'unknown field "retry.x"'),
        ("subscriptions", {**PAIR, "retry": {"schedule_ms": [1, "x"]}}, "retry.schedule_ms[1] must be an integer, not a string"),
    ],
)  # fmt: skip
def test_a_body_of_the_wrong_shape_is_explained(api, run, path, body, says):
    async def scenario():
        async with api() as it:
            answer = await it.admin("POST", f"/v1/{path}", body)
            assert answer.status_code == 422
            assert answer.json()["detail"] == says

    run(scenario())


@pytest.mark.parametrize(
    ("body", "content_type", "status", "says"),
    [
        (b"", "application/json", 400, "the body is empty; send a JSON object"),
        (b'{"name":"x",}', "application/json", 400, "the body is not valid JSON: trailing comma in object (byte 12)"),
        (b"name=x", "text/plain; charset=utf-8", 415, "content-type must be application/json, not text/plain"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_json_is_explained(api, run, body, content_type, status, says):
    async def scenario():
        async with api() as it:
            headers = {"authorization": "Bearer the-admin-token", "content-type": content_type}
            answer = await it.client.post("/v1/producers", content=body, headers=headers)
            assert answer.status_code == status
            assert answer.json()["detail"] == says

    run(scenario())


def test_the_wrong_kind_of_key_is_explained(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            one = {"type": "a", "payload": 1}
            answer = await it.post("the-admin-token", one)
            assert answer.status_code == 401
            assert "send the API key of a producer" in answer.json()["detail"]
            for path, says in (
                ("/v1/producers", "Bearer <admin token>"),
                ("/v1/messages/1", "Bearer <admin token or API key>"),
            ):
                answer = await it.client.get(path)
                assert answer.status_code == 401
                assert says in answer.json()["detail"]
            answer = await it.client.post("/v1/messages", json=one)
            assert "Bearer <API key of a producer>" in answer.json()["detail"]
            answer = await it.client.get("/v1/stats", headers={"authorization": f"Bearer {key}"})
            assert "needs the admin token" in answer.json()["detail"]
            answer = await it.post(key, b"a=1", "application/x-www-form-urlencoded")
            assert "is application/x-www-form-urlencoded; send" in answer.json()["detail"]

    run(scenario())
