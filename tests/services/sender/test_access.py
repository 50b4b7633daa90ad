"""OAuth2 tokens and the validation handshake, over real HTTP."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest

from notify.config import load
from notify.domain.dialect import OAuth2, Protocol
from notify.domain.errors import InvalidInput, TransportError
from notify.domain.ports import Answer
from notify.runtime.clock import SystemClock
from notify.sender.protocols.target import Target
from notify.sender.targets import Targets
from notify.transport import HttpTransport, post
from tests.services.sender.sent import consumer, message
from tests.support.web import Asked, Reply, Web, web

SECRET = "hidden&secret"


class Clock(SystemClock):
    """The system's clock, which a test may set ahead."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class Consumer:
    """A token endpoint, and a hook that takes the last token alone and says what it allows."""

    def __init__(self) -> None:
        self.tokens = 0
        self.token_reply: Reply | None = None
        self.expires_in: Any = 3600
        self.valid = ""
        self.consent = {"WebHook-Allowed-Origin": "notify.example", "WebHook-Allowed-Rate": "120"}
        self.consent_code = 200

    async def reply(self, asked: Asked) -> Reply:
        if asked.method == "OPTIONS":
            return Reply(self.consent_code, self.consent)
        if asked.path == "/hook":
            good = asked.headers.get("authorization") == f"Bearer {self.valid}"
            return Reply(204 if good else 401)
        if self.token_reply:
            return self.token_reply
        self.tokens += 1
        self.valid = f"token-{self.tokens}"
        given = {"access_token": self.valid, "token_type": "bearer", "expires_in": self.expires_in}
        return Reply(200, {"content-type": "application/json"}, json.dumps(given).encode())


class Case:
    def __init__(self, server: Web, they: Consumer, transport: HttpTransport) -> None:
        self.server = server
        self.they = they
        self.transport = transport
        self.clock = Clock()

    def target(self, **fields: Any) -> Target:
        url = self.server.url("/hook")
        return Targets("notify.example").of(consumer(**{"url": url, "timeout_ms": 5000, **fields}))

    def oauth2(self, **fields: Any) -> Target:
        given = {"client_id": "a client", "client_secret": SECRET, **fields}
        return self.target(auth=OAuth2(self.server.url("/token"), **given))

    async def ready(self, target: Target) -> None:
        await target.make_ready(self.transport, self.clock)

    async def deliver(self, target: Target) -> int:
        """As the Sender does it; the code of the answer."""
        if target.needs_care:
            await self.ready(target)
        head, body = target.request(message(), b"{}", 1, 1, self.clock.now_ms())
        answer = await post(self.transport, target.endpoint, head, body, target.timeout_ms, 100)
        target.met(answer)
        return answer.code


@asynccontextmanager
async def opened() -> AsyncIterator[Case]:
    they = Consumer()
    config = load(environ={}, flags={"sender.allow_cidrs": ["127.0.0.0/8"]}).sender
    transport = HttpTransport(config)
    try:
        async with web(they.reply) as server:
            yield Case(server, they, transport)
    finally:
        await transport.close()


def test_a_token_is_fetched_once_for_all_and_sent(run: Any) -> None:
    async def scenario() -> None:
        async with opened() as it:
            target = it.oauth2(scope="send all", extra={"audience": "ä"})
            assert target.needs_care
            assert await asyncio.gather(*(it.deliver(target) for _ in range(20))) == [204] * 20
            assert not target.needs_care
            [asked] = it.server.got("POST", "/token")
            # RFC 6749 2.3.1: form-encoded before they are user and password.
            client = base64.b64encode(b"a+client:hidden%26secret").decode()
            assert asked.headers["authorization"] == f"Basic {client}"
            assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
            assert parse_qs(asked.body.decode()) == {
                "grant_type": ["client_credentials"],
                "scope": ["send all"],
                "audience": ["ä"],
            }

    run(scenario())


def test_it_is_renewed_before_its_end(run: Any) -> None:
    async def scenario() -> None:
        async with opened() as it:
            it.they.expires_in = "3600"  # a text, as some servers have it
            target = it.oauth2()
            assert await it.deliver(target) == 204
            it.clock.ahead_ms = 3_530_000
            assert not target.needs_care
            it.clock.ahead_ms = 3_545_000
            assert target.needs_care
            assert await it.deliver(target) == 204
            assert it.they.tokens == 2

    run(scenario())


def test_a_token_without_a_life_is_renewed_all_the_same(run: Any) -> None:
    async def scenario() -> None:
        async with opened() as it:
            for it.they.expires_in in (None, "soon", -1, 0, True, 10**400, []):
                target = it.oauth2()
                assert await it.deliver(target) == 204
                it.clock.ahead_ms += 86_400_000
                assert target.needs_care

    run(scenario())


def test_a_401_forgets_the_token_once(run: Any) -> None:
    async def scenario() -> None:
        async with opened() as it:
            target = it.oauth2()
            assert await it.deliver(target) == 204
            it.they.valid = "revoked"
            # So soon it might be an answer to the token before; later it is this one's.
            assert await it.deliver(target) == 401
            assert await it.deliver(target) == 401
            assert it.they.tokens == 1
            it.clock.ahead_ms = 6000
            assert await it.deliver(target) == 401
            assert await it.deliver(target) == 204
            target.met(Answer(401, b"", ""))
            assert await it.deliver(target) == 204
            assert it.they.tokens == 2

    run(scenario())


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(401, {}, b'{"error":"invalid_client"}'), "answered 401 (invalid_client): check"),
        (Reply(400, {}, b'{"error":"hidden&secret"}'), "answered 400: check"),
        (Reply(302, {"location": "/"}), "answered 302: check"),
        (Reply(200, {}, b"<html>hidden&secret"), "without a usable access_token"),
        (Reply(200, {}, b"[]"), "without a usable access_token"),
        (
            Reply(200, {}, b'{"access_token":"hidden\\r\\nx: y","token_type":"Bearer"}'),
            "without a usable access_token",
        ),
        (Reply(200, {}, b'{"access_token":"t","token_type":"mac"}'), "not of the type Bearer"),
    ],
)
def test_no_token_says_why_and_no_secret(run: Any, caplog: Any, reply: Reply, says: str) -> None:
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with opened() as it:
            it.they.token_reply = reply
            target = it.oauth2()
            with pytest.raises(TransportError) as caught:
                await it.ready(target)
            assert caught.value.stage == "auth"
            assert says in str(caught.value)
            assert "hidden" not in str(caught.value)
            with pytest.raises(TransportError):
                await it.ready(target)
            assert len(it.server.asked) == 1

    run(scenario())
    assert "hidden" not in caplog.text


def test_a_token_endpoint_is_held_to_the_same_addresses(run: Any) -> None:
    async def scenario() -> None:
        async with opened() as it:
            target = it.target(auth=OAuth2("http://169.254.169.254/token", "me", "s"))
            with pytest.raises(
                TransportError, match=r"no token from 169\.254\.169\.254: address: "
            ):
                await it.ready(target)
        with pytest.raises(InvalidInput):
            it.target(auth=OAuth2("file:///token", "me", "s"))

    run(scenario())


def test_a_consumer_is_asked_before_it_gets_deliveries(run: Any) -> None:
    async def scenario() -> None:
        async with opened() as it:
            it.they.valid = "t"
            target = it.target(
                handshake=True,
                protocol=Protocol.CLOUDEVENTS_BINARY,
                headers={"authorization": "Bearer t"},
            )
            assert target.needs_care
            assert await asyncio.gather(*(it.deliver(target) for _ in range(9))) == [204] * 9
            [asked] = it.server.got("OPTIONS", "/hook")
            assert asked.headers["webhook-request-origin"] == "notify.example"
            assert asked.headers["authorization"] == "Bearer t"
            assert target.allowed_rate_per_s == 2.0
            assert not target.needs_care
            it.clock.ahead_ms = 86_400_000
            assert await it.deliver(target) == 204
            assert len(it.server.got("OPTIONS", "/hook")) == 2

    run(scenario())


def test_it_is_asked_with_the_token(run: Any) -> None:
    async def scenario() -> None:
        async with opened() as it:
            auth = OAuth2(it.server.url("/token"), "me", SECRET)
            target = it.target(handshake=True, auth=auth)
            assert await it.deliver(target) == 204
            assert [asked.method for asked in it.server.asked] == ["POST", "OPTIONS", "POST"]
            assert it.server.asked[1].headers["authorization"] == "Bearer token-1"

    run(scenario())


@pytest.mark.parametrize(
    ("allowed", "rate_per_s"),
    [
        ({"webhook-allowed-origin": "*"}, None),
        ({"webhook-allowed-origin": "*", "webhook-allowed-rate": "*"}, None),
        ({"webhook-allowed-origin": "NOTIFY.example", "webhook-allowed-rate": "30"}, 0.5),
        ({"webhook-allowed-origin": "*", "webhook-allowed-rate": "0"}, None),
        ({"webhook-allowed-origin": "*", "webhook-allowed-rate": "many"}, None),
    ],
)
def test_what_it_may_allow(run: Any, allowed: dict[str, str], rate_per_s: float | None) -> None:
    async def scenario() -> None:
        async with opened() as it:
            it.they.consent = allowed
            target = it.target(handshake=True)
            await it.ready(target)
            assert target.allowed_rate_per_s == rate_per_s

    run(scenario())


@pytest.mark.parametrize(
    ("code", "allowed", "says"),
    [
        (405, {"webhook-allowed-origin": "*"}, "answered 405 to the validation request"),
        (200, {}, "without webhook-allowed-origin"),
        (200, {"webhook-allowed-origin": "other.example"}, "with another webhook-allowed-origin"),
    ],
)
def test_without_its_consent_nothing_is_delivered(
    run: Any, code: int, allowed: dict[str, str], says: str
) -> None:
    async def scenario() -> None:
        async with opened() as it:
            it.they.consent, it.they.consent_code = allowed, code
            target = it.target(handshake=True)
            with pytest.raises(TransportError, match=says) as caught:
                await it.deliver(target)
            assert caught.value.stage == "auth"
            assert not it.server.got("POST", "/hook")

    run(scenario())
