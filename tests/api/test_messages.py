"""POST /v1/messages over HTTP: what is accepted, what is refused, and how it is said."""

import asyncio
import gc
import json

import msgpack
import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from notify.api.auth import LOOK_AGAIN_MS, hash_key
from notify.api.service import serving
from notify.domain.errors import StorageRefused, StorageUnavailable
from tests.api.conftest import long_way


@pytest.fixture(params=[serving, long_way])
def way(request):
    return request.param


ADMIN = "the-admin-token"
ONE = {"type": "order.paid", "payload": {"n": 1}}


def test_one_object_is_stored_and_its_id_is_a_string(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            answer = await it.post(key, ONE)
            assert answer.status_code == 202
            assert answer.headers["content-type"] == "application/json"
            body = answer.json()
            assert body["accepted"] == 1
            (message_id,) = body["ids"]
            assert isinstance(message_id, str)
            assert (await it.storage.message(int(message_id))).payload == b'{"n":1}'

    run(scenario())


def test_ids_keep_the_order_of_the_request(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            batch = [{"type": "t", "payload": n} for n in range(300)]
            ids = (await it.post(key, batch)).json()["ids"]
            assert ids == sorted(ids, key=int)
            for n in (0, 1, 150, 299):
                assert (await it.storage.message(int(ids[n]))).payload == b"%d" % n

    run(scenario())


PAYLOADS = [
    b'{ "a" :\t1 ,\n "b": [ ] }',
    b"123456789012345678901234567890.000100E+2",
    b'"\\u00e9 \\/ \xc3\xa9 \\ud83d\\ude00"',
    b'{"a":1,"a":2}',
    b"null",
]


def test_payload_bytes_are_kept_and_shown_verbatim(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            for payload in PAYLOADS:
                answer = await it.post(key, b'{"type":"t","payload":' + payload + b"}")
                message_id = answer.json()["ids"][0]
                assert (await it.storage.message(int(message_id))).payload == payload
                shown = await it.admin("GET", f"/v1/messages/{message_id}")
                assert b'"payload":' + payload + b"," in shown.content

    run(scenario())


def test_ndjson_and_msgpack(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            lines = b'{"type":"a","payload":1}\n\n{"type":"b","payload":2}\n'
            answer = await it.post(key, lines, "application/x-ndjson; charset=utf-8")
            assert answer.json()["accepted"] == 2
            packed = msgpack.packb([{"type": "c", "payload": {"x": b"\xff"}}])
            answer = await it.post(key, packed, "application/msgpack")
            assert answer.status_code == 202, answer.text
            shown = (await it.admin("GET", "/v1/messages/" + answer.json()["ids"][0])).json()
            assert shown["payload_encoding"] == "base64"
            assert shown["content_type"] == "application/msgpack"

    run(scenario())


MALFORMED = {
    "empty": b"",
    "not json": b"hello",
    "cut off": b'{"type":"a","payload":',
    "nan": b'{"type":"a","payload":NaN}',
    "lone surrogate": b'{"type":"\\ud800","payload":1}',
    "not utf-8": b'{"type":"a","payload":"\xff"}',
    "no messages": b"[]",
    "scalar": b"17",
    "rest": b'{"type":"a","payload":1} x',
}
BAD_ITEMS = {
    "unknown field": ({"type": "a", "payload": 1, "x": 1}, "x"),
    "wrong type": ({"type": 1, "payload": 1}, "str"),
    "no payload": ({"type": "a"}, "payload"),
    "type characters": ({"type": "a b", "payload": 1}, "type"),
    "empty key": ({"type": "a", "payload": 1, "key": ""}, "key"),
    "time without zone": (
        {"type": "a", "payload": 1, "deliver_at": "2030-01-01T00:00:00"},
        "zone",
    ),
    "too far ahead": (
        {"type": "a", "payload": 1, "deliver_at": "2090-01-01T00:00:00Z"},
        "30 days",
    ),
    "reserved header": ({"type": "a", "payload": 1, "headers": {"Host": "x"}}, "host"),
}


def test_what_cannot_be_parsed_is_400(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            for name, body in MALFORMED.items():
                answer = await it.post(key, body)
                assert answer.status_code == 400, name
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["status"] == 400
            assert await it.stored() == 0

    run(scenario())


def test_a_bad_message_is_422_with_its_index_and_stores_nothing(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            for name, (item, reason) in BAD_ITEMS.items():
                answer = await it.post(key, [ONE, ONE, item])
                assert answer.status_code == 422, name
                problem = answer.json()
                assert problem["index"] == 2, name
                assert reason in problem["reason"], name
            assert await it.stored() == 0

    run(scenario())


def test_deep_nesting_and_bad_ndjson_line(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            deep = b'{"type":"a","payload":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
            assert (await it.post(key, deep)).status_code == 422
            shallow = b'{"type":"a","payload":' + b"[" * 101 + b"]" * 101 + b"}"
            assert (await it.post(key, shallow)).status_code == 422
            answer = await it.post(
                key, b'{"type":"a","payload":1}\n{"type"', "application/x-ndjson"
            )
            assert answer.status_code == 400
            assert answer.json()["index"] == 1

    run(scenario())


def test_too_much_is_413(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            large = b'{"type":"a","payload":"' + b"x" * (10 << 20) + b'"}'
            answer = await it.post(key, large)
            assert answer.status_code == 413
            assert answer.headers["connection"] == "close"

            async def parts():
                for start in range(0, len(large), 1 << 16):
                    yield large[start : start + (1 << 16)]

            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            answer = await it.client.post("/v1/messages", headers=headers, content=parts())
            assert answer.status_code == 413
            many = b"[" + b",".join([json.dumps(ONE).encode()] * 1001) + b"]"
            assert (await it.post(key, many)).status_code == 413
            fits = b'{"type":"a","payload":"' + b"x" * (1 << 20) + b'"}'
            assert (await it.post(key, fits)).status_code == 422  # one payload is too large
            assert await it.stored() == 0
            assert (await it.post(key, ONE)).status_code == 202

    run(scenario())


def test_who_and_what_is_refused(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            for wrong in ("nk_wrong", "x", ADMIN):
                answer = await it.post(wrong, ONE)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
            assert (await it.client.post("/v1/messages", json=ONE)).status_code == 401
            body = json.dumps(ONE).encode()
            for content_type in ("text/plain", "", "application/json; charset=latin-1"):
                assert (await it.post(key, body, content_type)).status_code == 415
            headers = {
                "authorization": f"bearer {key}",
                "content-type": "application/json",
                "content-encoding": "gzip",
            }
            answer = await it.client.post("/v1/messages", content=body, headers=headers)
            assert answer.status_code == 415
            assert (await it.client.get("/v1/messages")).status_code == 405
            assert await it.stored() == 0

    run(scenario())


def test_a_key_made_by_another_process_is_found(api, run):
    async def scenario():
        async with api() as it:
            await it.storage.add_producer("elsewhere", hash_key(b"nk_other"), 1)
            assert (await it.post("nk_other", ONE)).status_code == 202

    run(scenario())


@pytest.mark.parametrize("error", [StorageUnavailable("gone"), StorageRefused("no table")])
def test_a_key_that_cannot_be_checked_is_503_not_401(api, run, error):
    async def scenario():
        async with api() as it:
            known = (await it.producer())["api_key"]
            await it.storage.add_producer("elsewhere", hash_key(b"nk_other"), 1)
            it.storage.down = error
            posts = [it.post("nk_other", ONE) for _ in range(3)]
            answers = [*await asyncio.gather(*posts), await it.post("nk_other", ONE)]
            for answer in answers:  # the last is not looked up again, yet no 401 either
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert "database" in answer.json()["detail"]
            assert (await it.post("other", ONE)).status_code == 401  # no API key looks like this
            assert (await it.post(known, ONE)).status_code == 202
            it.storage.down = None
            async with asyncio.timeout(5):
                while (await it.post("nk_other", ONE)).status_code != 202:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(LOOK_AGAIN_MS / 1000)

    run(scenario())


def test_requests_with_the_same_unknown_key_wait_for_one_look(api, run):
    async def scenario():
        async with api() as it:
            await it.storage.add_producer("elsewhere", hash_key(b"nk_other"), 1)
            answers = await asyncio.gather(*(it.post("nk_other", ONE) for _ in range(20)))
            assert {answer.status_code for answer in answers} == {202}

    run(scenario())


def test_an_answered_request_leaves_no_cycle_behind(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            gc.collect()
            gc.disable()
            for _ in range(20):
                assert (await it.post(key, ONE)).status_code == 202
                assert (await it.post(key, {})).status_code == 422
            held = [one for one in gc.get_objects() if type(one) is RequestResponseCycle]
            assert len(held) <= 2  # what the connection itself holds: its last one

    try:
        run(scenario())
    finally:
        gc.enable()


def test_expect_100_continue(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            body = json.dumps(ONE).encode()
            head = (
                f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
                "expect: 100-continue\r\n\r\n"
            )
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(head.encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(head.replace("Bearer nk", "Bearer no").encode())
            refused = await reader.readuntil(b"\r\n\r\n")
            assert refused.startswith(b"HTTP/1.1 401 ")
            assert b"connection: close" in refused.lower()
            writer.close()

    run(scenario())


def test_a_client_that_leaves_in_the_middle_harms_nobody(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            head = (
                f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
                "content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
            )
            _, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(head.encode())
            await writer.drain()
            writer.close()
            assert (await it.post(key, ONE)).status_code == 202
            metrics = (await it.client.get("/metrics")).text
            assert "notify_api_requests_in_flight 0.0" in metrics
            assert 'notify_api_requests_total{code="500"}' not in metrics

    run(scenario())


def test_two_requests_in_one_packet(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            body = json.dumps(ONE)
            request = (
                f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
            )
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(request.encode() * 2)
            for _ in range(2):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
                await reader.readuntil(b"]}")
            writer.close()
            assert await it.stored() == 2

    run(scenario())


def test_request_heads_are_bounded(api, run):
    async def scenario():
        async with api() as it:
            answer = await it.client.get("/healthz", headers={"x": "y" * 40_000})
            assert answer.status_code == 431
            assert answer.headers["content-type"] == "application/problem+json"
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(b"nonsense\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()

    run(scenario())
