"""The whole product speaking to consumers as they want, over real HTTP."""

import base64
import json
from urllib.parse import parse_qs

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.support.waiting import until
from tests.support.web import Asked, Reply, web

RETRY = {"schedule_ms": [50] * 20, "jitter": 0}


class Consumers:
    """Each path is a consumer of its own."""

    def __init__(self) -> None:
        self.x5_code = "500"

    async def reply(self, asked: Asked) -> Reply:
        if asked.path == "/x5":
            code, self.x5_code = self.x5_code, "200"
            return Reply(200, {}, json.dumps({"header": {"code": code, "desc": "busy"}}).encode())
        if asked.path == "/token":
            return Reply(200, {}, b'{"access_token":"t0k","token_type":"Bearer","expires_in":600}')
        if asked.path == "/guarded":
            return Reply(204 if asked.headers.get("authorization") == "Bearer t0k" else 401)
        if asked.method == "OPTIONS":
            return Reply(200, {"webhook-allowed-origin": "notify"})
        return Reply(204)


def test_each_gets_its_own_form_and_all_are_delivered(run, notify):
    async def scenario():
        async with web(Consumers().reply) as server, notify() as (it, _):
            shop = await it.add_producer("shop")
            account = {"appid": "notify_demo", "appkey": "k3y"}
            auth = {
                "kind": "oauth2",
                "token_url": server.url("/token"),
                "client_id": "me",
                "client_secret": "s",
            }
            options = {
                "/x5": {"protocol": "x5", "x5": account},
                "/guarded": {"auth": auth},
                "/events": {"protocol": "cloudevents-structured", "handshake": True},
                "/keys": {"secret_kind": "v1a"},
            }
            made = {
                path: await it.add_consumer(path, server.url(path), **given)
                for path, given in options.items()
            }
            for consumer in made.values():
                await it.subscribe(shop.id, consumer.id, retry=RETRY)
            [id_] = await it.send(shop.id, {"type": "order.paid", "payload": {"n": 1}})

            async def delivered():
                shown = (await it.message(id_)).deliveries
                return [one.status for one in shown] == ["delivered"] * 4

            await until(delivered, "all four delivered")
            first, second = server.got("POST", "/x5")
            assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(id_)
            request = json.loads(base64.b64decode(parse_qs(second.body.decode())["data"][0]))
            assert request["body"] == '{"n":1}'
            [traced] = [one for one in (await it.message(id_)).deliveries if one.attempts == 2]
            assert [(one.code, one.error) for one in traced.log] == [
                (200, "X5 code 500: busy"),
                (200, None),
            ]
            assert [asked.path for asked in server.asked].count("/token") == 1
            [event] = server.got("POST", "/events")
            assert from_http_event(HTTPMessage(event.headers, event.body)).get_id() == str(id_)
            assert len(server.got("OPTIONS", "/events")) == 1
            [signed] = server.got("POST", "/keys")
            public = base64.b64decode(made["/keys"].public_key.removeprefix("whpk_"))
            Ed25519PublicKey.from_public_bytes(public).verify(
                base64.b64decode(signed.headers["webhook-signature"].removeprefix("v1a,")),
                f"{id_}.{signed.headers['webhook-timestamp']}.".encode() + signed.body,
            )

    run(scenario())
