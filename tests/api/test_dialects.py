"""How a consumer is spoken to, over HTTP: set, shown without secrets, refused with what to do."""

import base64
import logging

import pytest

from notify.domain.dialect import Basic, Bearer, ClientIdentity, OAuth2, Protocol, X5Account
from notify_core import ed25519, sign
from tests.support.authority import Authority

GOOD = {"name": "n", "url": "https://example.com/"}
OAUTH2 = {
    "kind": "oauth2",
    "token_url": "https://id.example.com/token",
    "client_id": "me",
    "client_secret": "hidden-1",
    "scope": "send",
    "extra": {"audience": "shop", "assertion_key": "hidden-2"},
}
WHSK = ed25519.encode_private(b"a seed that has 32 bytes, rather")


@pytest.mark.parametrize(
    ("given", "stored", "shown"),
    [
        (
            {"protocol": "x5", "signed": False, "x5": {"appid": "app", "appkey": "hidden"}},
            {"protocol": Protocol.X5, "signed": False, "x5": X5Account("app", "hidden")},
            {"protocol": "x5", "signed": False, "x5": {"appid": "app", "appkey": "***"}},
        ),
        (
            {"auth": {"kind": "basic", "user": "ü", "password": "hidden:"}, "handshake": True},
            {"auth": Basic("ü", "hidden:"), "handshake": True},
            {"auth": {"kind": "basic", "user": "ü", "password": "***"}, "handshake": True},
        ),
        (
            {"auth": {"kind": "bearer", "token": "hidden"}, "protocol": "cloudevents-binary"},
            {"auth": Bearer("hidden"), "protocol": Protocol.CLOUDEVENTS_BINARY},
            {"auth": {"kind": "bearer", "token": "***"}, "protocol": "cloudevents-binary"},
        ),
        (
            {"auth": OAUTH2},
            {
                "auth": OAuth2(
                    OAUTH2["token_url"], "me", "hidden-1", "send", OAUTH2["extra"]
                )
            },
            {
                "auth": {
                    **OAUTH2,
                    "client_secret": "***",
                    "extra": {"audience": "shop", "assertion_key": "***"},
                }
            },
        ),
        (
            {"identity": {"proxy": "http://u:hidden@proxy.example:3128"}},
            {"identity": ClientIdentity(proxy="http://u:hidden@proxy.example:3128")},
            {
                "identity": {
                    "ca": "",
                    "certificate": "",
                    "key": "",
                    "proxy": "http://***@proxy.example:3128",
                }
            },
        ),
    ],
)  # fmt: skip
def test_what_is_set_is_stored_and_shown_without_secrets(api, run, caplog, given, stored, shown):
    caplog.set_level(logging.DEBUG)

    async def scenario():
        async with api() as it:
            made = await it.consumer("made", **{"url": GOOD["url"], **given})
            plain = await it.consumer("plain", url=GOOD["url"])
            path = f"/v1/consumers/{plain['id']}"
            plain = (await it.admin("GET", path)).json()
            patched = (await it.admin("PATCH", path, given)).json()
            kept = it.directory.current.consumers
            for answer in (made, patched, (await it.admin("GET", path)).json()):
                assert {name: answer[name] for name in shown} == shown
                assert "hidden" not in str(answer)
                of_it = kept[answer["id"]]
                assert {name: getattr(of_it, name) for name in stored} == stored
                assert "hidden" not in repr(of_it)
            # Nothing else changed, and null takes it away again.
            assert {**patched, **shown, "updated_at": ""} == {**plain, **shown, "updated_at": ""}
            undone = {name: plain[name] for name in shown}
            again = (await it.admin("PATCH", path, undone)).json()
            assert {**again, "updated_at": ""} == {**plain, "updated_at": ""}

    run(scenario())
    assert "hidden" not in caplog.text


def test_an_identity_has_its_key_hidden_and_its_certificates_shown(api, run):
    authority = Authority()
    issued = authority.issue("client.example.com")
    identity = {"ca": authority.pem, "certificate": issued.certificate, "key": issued.key}

    async def scenario():
        async with api() as it:
            made = await it.consumer("c", url=GOOD["url"], identity=identity)
            assert made["identity"] == {**identity, "key": "***", "proxy": ""}
            assert it.directory.current.consumers[made["id"]].identity == ClientIdentity(**identity)
            wrong = {**identity, "key": authority.issue("other.example.com").key}
            for change, says in (
                ({"identity": wrong}, "does not belong"),
                ({"identity": {**identity, "key": ""}}, "has no key"),
                ({"identity": {"ca": "x"}}, "PEM"),
                ({"url": "http://example.com/", "identity": {"ca": authority.pem}}, "https://"),
            ):
                answer = await it.admin("POST", "/v1/consumers", {**GOOD, **change})
                assert answer.status_code == 422, change
                assert says in answer.json()["detail"]
                assert issued.key not in answer.text
            nothing = await it.consumer("d", identity={})
            assert nothing["identity"] is None

    run(scenario())


def test_keys_of_both_kinds_rotate_and_the_public_one_is_shown(api, run):
    async def scenario():
        async with api() as it:
            made = await it.consumer("made", secret_kind="v1a")
            assert made["public_key"] == ed25519.public_text(made["secret"])
            path = f"/v1/consumers/{made['id']}"
            shown = (await it.admin("GET", path)).json()
            assert shown["public_key"] == made["public_key"]
            assert shown["secret"] == f"whsk_…{made['secret'][-4:]}"
            first = (await it.admin("POST", path + "/rotate-secret")).json()
            assert first["secret"].startswith("whsk_")  # of the kind of the one before
            assert first["previous_public_key"] == made["public_key"]
            second = (await it.admin("POST", path + "/rotate-secret", {"kind": "v1"})).json()
            assert len(sign.decode_secret(second["secret"])) == 32
            assert second["public_key"] is None
            assert second["previous_public_key"] == first["public_key"]
            third = await it.admin("POST", path + "/rotate-secret", {"secret": WHSK})
            assert third.json()["secret"] == WHSK
            stored = it.directory.current.consumers[made["id"]]
            assert stored.secrets == (WHSK, second["secret"])
            for body, says in (
                ({"secret": WHSK, "kind": "v1"}, "of kind v1a, not v1"),
                ({"kind": "v2"}, "kind"),
                ({"secret": "whsk_" + base64.b64encode(b"k" * 31).decode()}, "not 31 bytes"),
            ):
                answer = await it.admin("POST", path + "/rotate-secret", body)
                assert answer.status_code == 422, body
                assert says in answer.json()["detail"]
            assert it.directory.current.consumers[made["id"]] == stored

    run(scenario())


def test_what_is_wrong_is_said(api, run):
    async def scenario():
        async with api() as it:
            for change, says in (
                ({"protocol": "x6"}, "protocol"),
                ({"protocol": "x5"}, "needs x5"),
                ({"x5": {"appid": "a", "appkey": "k"}}, "protocol x5 only"),
                ({"protocol": "x5", "x5": {"appid": "", "appkey": "k"}}, "appid"),
                ({"protocol": "x5", "x5": {"appid": "a", "appkey": "***"}}, "x5.appkey is a mask"),
                ({"signed": False}, "always signed"),
                ({"auth": {"kind": "digest"}}, "digest"),
                ({"auth": {"kind": "basic", "user": "a:b", "password": ""}}, "colon"),
                ({"auth": {"kind": "basic", "user": "a", "password": "\n"}}, "control"),
                ({"auth": {"kind": "basic", "user": "a"}}, "password"),
                ({"auth": {"kind": "bearer", "token": "a b"}}, "bearer token"),
                ({"auth": {"kind": "bearer", "token": "t", "user": "a"}}, "user"),
                ({"auth": {**OAUTH2, "token_url": "ftp://x"}}, "auth.token_url: "),
                ({"auth": {**OAUTH2, "extra": {"grant_type": "x"}}}, "grant_type"),
                ({"auth": {**OAUTH2, "client_secret": "***"}}, "client_secret is a mask"),
                ({"auth": {"kind": "bearer", "token": "t"},
                  "headers": {"Authorization": "x"}}, "authorization is set by auth"),
                ({"protocol": "cloudevents-binary", "headers": {"CE-Id": "x"}}, "ce-id"),
                ({"identity": {"proxy": "socks5://p:1"}}, "proxy"),
                ({"handshake": 1}, "handshake"),
                ({"secret_kind": "v1a", "secret": "whsec_" + "k" * 32}, "of kind v1, not v1a"),
            ):  # fmt: skip
                answer = await it.admin("POST", "/v1/consumers", {**GOOD, **change})
                assert answer.status_code == 422, change
                assert says in answer.json()["detail"], answer.text
            assert (await it.admin("GET", "/v1/consumers")).json()["items"] == []

    run(scenario())


def test_a_change_must_fit_what_stays(api, run):
    async def scenario():
        async with api() as it:
            account = {"appid": "a", "appkey": "k"}
            made = await it.consumer("c", protocol="x5", x5=account, headers={"authorization": "x"})
            path = f"/v1/consumers/{made['id']}"
            for change, says in (
                ({"protocol": "standard"}, "x5 to null"),
                ({"x5": None}, "needs x5"),
                ({"auth": {"kind": "bearer", "token": "t"}}, "give one of the two"),
            ):
                answer = await it.admin("PATCH", path, change)
                assert answer.status_code == 422, change
                assert says in answer.json()["detail"]
            changed = await it.admin("PATCH", path, {"protocol": "standard", "x5": None})
            assert changed.json()["protocol"] == "standard"

    run(scenario())


def test_batches_need_a_protocol_that_has_them(api, run):
    async def scenario():
        async with api() as it:
            shop = (await it.admin("POST", "/v1/producers", {"name": "shop"})).json()
            events = await it.consumer("events", protocol="cloudevents-binary")
            plain = await it.consumer("plain")

            async def subscribe(consumer):
                ids = {"producer_id": shop["id"], "consumer_id": consumer["id"]}
                batch = {"size_max": 10, "format": "json"}
                return await it.admin("POST", "/v1/subscriptions", {**ids, "batch": batch})

            refused = await subscribe(events)
            assert refused.status_code == 422
            assert "cloudevents-binary" in refused.json()["detail"]
            made = await subscribe(plain)
            assert made.status_code == 201
            change = {"protocol": "cloudevents-structured"}
            refused = await it.admin("PATCH", f"/v1/consumers/{plain['id']}", change)
            assert refused.status_code == 422
            assert f"subscription {made.json()['id']}" in refused.json()["detail"]
            shown = (await it.admin("GET", f"/v1/consumers/{plain['id']}")).json()
            assert shown["protocol"] == "standard"

    run(scenario())
