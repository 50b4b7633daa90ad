"""Debian's `webhook` as a consumer: its rules decide, its command verifies the signature.

Version 2.8 has no rule for Standard Webhooks: its HMAC rules sign the body alone. So a rule looks
at the token and the event type, and a command does what a consumer's own code would do, with the
public `standardwebhooks` package. The program hands a command the payload as it wrote it again
(compact, names in order), and never the bytes that came: payloads here are written that way.
That every byte arrives unchanged is shown by its own HMAC rule, over a payload that is not.
"""

import hashlib
import hmac
import sys
from typing import Any

import pytest

from notify_core import sign
from tests.receivers.conftest import AUTHORITY, SECRET, TRUSTING
from tests.servers.nginx import Nginx
from tests.servers.webhook import WebhookServer

TOKEN = "Bearer a token of the consumer"
HEADERS = {"authorization": TOKEN}
BODY = b'{"amount":1250,"items":["a","b"],"order":"Z-17"}'
VERIFY = """
import sys
from standardwebhooks import Webhook, WebhookVerificationError

secret, body, *values = sys.argv[1:]
names = ("webhook-id", "webhook-timestamp", "webhook-signature")
try:
    Webhook(secret).verify(body, dict(zip(names, values)))
except WebhookVerificationError as error:
    sys.exit(f"refused: {error}")
print("verified", values[0])
"""


def header(name: str) -> dict[str, str]:
    return {"source": "header", "name": name}


def equal(name: str, value: str) -> dict[str, Any]:
    return {"match": {"type": "value", "value": value, "parameter": header(name)}}


VERIFIED = {
    "id": "orders",
    "execute-command": sys.executable,
    "pass-arguments-to-command": [
        {"source": "string", "name": "-c"},
        {"source": "string", "name": VERIFY},
        {"source": "string", "name": SECRET},
        {"source": "entire-payload"},
        header("webhook-id"),
        header("webhook-timestamp"),
        header("webhook-signature"),
    ],
    "include-command-output-in-response": True,
    "include-command-output-in-response-on-error": True,
    "trigger-rule": {
        "and": [equal("authorization", TOKEN), equal("notify-event-type", "order.paid")]
    },
    "trigger-rule-mismatch-http-response-code": 403,
}
SIGNED_BODY = {
    "id": "signed-body",
    "execute-command": "/bin/true",
    "response-message": "intact",
    "trigger-rule": {
        "match": {
            "type": "payload-hmac-sha256",
            "secret": "between us",
            "parameter": header("x-hub-signature-256"),
        }
    },
    "trigger-rule-mismatch-http-response-code": 403,
}
BUSY = {
    "id": "busy",
    "execute-command": "/bin/true",
    "success-http-response-code": 503,
    "response-headers": [{"name": "Retry-After", "value": "7"}],
}


@pytest.fixture(scope="module")
def webhook():
    with WebhookServer([VERIFIED, SIGNED_BODY, BUSY]) as server:
        yield server


@pytest.fixture
def send(run, client, webhook):
    """Send one message to a hook of it; its answer."""

    def sent(hook: str, body: bytes = BODY, **message: Any):
        async def scenario():
            async with client() as c:
                url = f"http://127.0.0.1:{webhook.port}/hooks/{hook}"
                return await c.send(url, body, **{"headers": HEADERS, **message})

        return run(scenario())

    return sent


def test_its_rule_lets_the_event_in_and_its_command_verifies_the_signature(send) -> None:
    assert send("orders")[:2] == (200, b"verified 1\n")


@pytest.mark.parametrize(
    "message",
    [{"headers": {}}, {"headers": {"authorization": "Bearer x"}}, {"event": "order.lost"}],
)
def test_its_rule_keeps_out_what_has_another_token_or_type(send, message) -> None:
    assert send("orders", **message).code == 403


def test_its_command_refuses_what_was_signed_with_another_secret(send) -> None:
    answer = send("orders", secret=sign.encode_secret(b"a secret of somebody else's, also 24"))
    assert answer.code == 500
    assert b"refused" in answer.body


def test_the_bytes_that_its_hmac_rule_signs_are_the_payloads_own(send) -> None:
    body = '{"z": 1.0,  "a": "<é> \\u00e9", "a": null}\n'.encode()
    made = hmac.new(b"between us", body, hashlib.sha256).hexdigest()
    signed = {"headers": {"x-hub-signature-256": f"sha256={made}"}}
    assert send("signed-body", body, **signed)[:2] == (200, b"intact")
    # A wrong HMAC is an error to version 2.8, a mismatch to others.
    assert send("signed-body", body[:-1], **signed).code in (403, 500)


def test_its_retry_after_is_told(send) -> None:
    assert send("busy")[:3] == (503, b"", "7")


def test_a_hook_that_it_does_not_have(send) -> None:
    assert send("nothing").code == 404


def test_behind_nginx_with_tls_as_it_would_be_run(run, client, webhook) -> None:
    async def scenario():
        with Nginx(AUTHORITY, behind=webhook.port) as front:
            async with client() as c:
                url = f"https://hook.example:{front.tls_port}/hooks/orders"
                return await c.send(url, BODY, headers=HEADERS, identity=TRUSTING)

    assert run(scenario())[:2] == (200, b"verified 1\n")
