"""Producers, consumers and subscriptions over HTTP."""

import logging
import re

from notify_core import sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_a_producer_from_creation_to_deletion(api, run):
    async def scenario():
        async with api() as it:
            made = await it.producer("shop")
            assert made["api_key"].startswith("nk_")
            assert len(made["api_key"]) == 46
            assert TIME.fullmatch(made["created_at"])
            stored = it.directory.current.producers[made["id"]]
            assert made["api_key"] not in str(stored)
            path = f"/v1/producers/{made['id']}"
            shown = (await it.admin("GET", path)).json()
            assert shown == {key: made[key] for key in made if key != "api_key"}
            again = await it.admin("POST", "/v1/producers", {"name": "shop"})
            assert again.status_code == 409
            assert again.headers["content-type"] == "application/problem+json"
            assert (await it.admin("PATCH", path, {"name": "store"})).json()["name"] == "store"
            other = await it.producer("shop")
            taken = await it.admin("PATCH", f"/v1/producers/{other['id']}", {"name": "store"})
            assert taken.status_code == 409
            fresh = (await it.admin("POST", path + "/rotate-key")).json()["api_key"]
            one = {"type": "a", "payload": 1}
            assert (await it.post(made["api_key"], one)).status_code == 401
            assert (await it.post(fresh, one)).status_code == 202
            assert (await it.admin("DELETE", path)).status_code == 204
            assert (await it.post(fresh, one)).status_code == 401
            for method in ("GET", "PATCH", "DELETE"):
                body = {} if method == "PATCH" else None
                assert (await it.admin(method, path, body)).status_code == 404
            await it.producer("store")

    run(scenario())


def test_secrets_are_shown_once_and_rotate_with_an_overlap(api, run, caplog):
    caplog.set_level(logging.DEBUG)
    seen = []

    async def scenario():
        async with api() as it:
            made = await it.consumer("made")
            assert len(sign.decode_secret(made["secret"])) == 32
            given = await it.consumer("given", secret=SECRET, headers={"Authorization": "Basic x"})
            assert given["secret"] == SECRET
            assert given["headers"] == {"authorization": "***"}
            stored = it.directory.current.consumers
            assert stored[given["id"]].headers == {"authorization": "Basic x"}
            path = f"/v1/consumers/{given['id']}"
            assert (await it.admin("DELETE", path + "/previous-secret")).status_code == 404
            first = (await it.admin("POST", path + "/rotate-secret")).json()
            assert first["previous_secret"] == "whsec_…LaSw"
            assert it.directory.current.consumers[given["id"]].secrets == (first["secret"], SECRET)
            same = await it.admin("POST", path + "/rotate-secret", {"secret": first["secret"]})
            assert same.status_code == 409
            second = (await it.admin("POST", path + "/rotate-secret", {})).json()
            secrets = it.directory.current.consumers[given["id"]].secrets
            assert secrets == (second["secret"], first["secret"])
            dropped = await it.admin("DELETE", path + "/previous-secret")
            assert dropped.json()["previous_secret"] is None
            assert it.directory.current.consumers[given["id"]].secrets == (second["secret"],)
            seen.extend([made["secret"], SECRET, first["secret"], second["secret"], "Basic x"])
            for answer in (
                dropped,
                await it.admin("GET", path),
                await it.admin("GET", "/v1/consumers"),
                await it.admin("PATCH", path, {"timeout_ms": 500}),
                await it.admin("GET", "/v1/stats"),
                await it.client.get("/metrics"),
            ):
                assert not [secret for secret in seen if secret in answer.text]

    run(scenario())
    assert not [secret for secret in seen if secret in caplog.text]


def test_a_consumer_can_be_changed_and_keeps_the_rest(api, run):
    async def scenario():
        async with api() as it:
            made = await it.consumer()
            assert made["timeout_ms"] == 10_000
            path = f"/v1/consumers/{made['id']}"
            changes = {
                "url": "https://example.com/in",
                "headers": {"X-One": "1"},
                "timeout_ms": 900,
            }
            changed = (await it.admin("PATCH", path, changes)).json()
            assert changed["url"] == changes["url"]
            assert changed["headers"] == {"x-one": "1"}
            assert changed["timeout_ms"] == 900
            assert changed["name"] == made["name"]
            reset = (await it.admin("PATCH", path, {"timeout_ms": None})).json()
            assert reset["timeout_ms"] == 10_000
            assert reset["headers"] == {"x-one": "1"}

    run(scenario())


def test_what_is_wrong_with_a_consumer_is_said(api, run):
    async def scenario():
        async with api() as it:
            good = {"name": "n", "url": "https://example.com/"}
            for change, says in (
                ({"name": ""}, "name"),
                ({"name": " x"}, "name"),
                ({"name": "a\u0007"}, "name"),
                ({"name": "x" * 101}, "name"),
                ({"url": "ftp://example.com"}, "http"),
                ({"url": "https://u:p@example.com"}, "credentials"),
                ({"secret": "whsec_short"}, "base64"),
                ({"secret": "x"}, "whsec_"),
                ({"timeout_ms": 99}, "timeout_ms"),
                ({"timeout_ms": 60_001}, "timeout_ms"),
                ({"timeout_ms": "5"}, "timeout_ms"),
                ({"headers": {"host": "x"}}, "host"),
                ({"headers": {"webhook-id": "x"}}, "webhook-id"),
                ({"headers": {"a b": "x"}}, "a b"),
                ({"headers": {"a": "x\r\ny"}}, "printable"),
                ({"headers": {"a": "***"}}, "mask"),
                ({"headers": {f"h{n}": "x" for n in range(33)}}, "32"),
                ({"headers": {"a": "x" * 4096}}, "4096"),
                ({"extra": 1}, "extra"),
            ):
                answer = await it.admin("POST", "/v1/consumers", {**good, **change})
                assert answer.status_code == 422, change
                assert says in answer.json()["detail"], answer.text
            assert (await it.admin("GET", "/v1/consumers")).json() == {"items": [], "next": None}

    run(scenario())


def test_a_subscription_and_its_states(api, run):
    async def scenario():
        async with api() as it:
            retry = {"schedule_ms": [1000, 2000], "jitter": 0.1}
            made = await it.subscription(types=["order.*"], retry=retry, concurrency_max=3)
            assert made["status"] == "normal"
            assert made["retry"] == retry
            path = f"/v1/subscriptions/{made['id']}"
            for word, status in (
                ("pause", "paused"),
                ("discard", "discarded"),
                ("resume", "normal"),
            ):
                body = {"reason": "maintenance"} if word == "pause" else None
                shown = (await it.admin("POST", f"{path}/{word}", body)).json()
                assert shown["status"] == status
                assert shown["status_reason"] == ("maintenance" if word == "pause" else "")
                assert it.directory.live_subscriptions[made["id"]].status == status
            await it.admin("POST", path + "/pause")
            changed = (
                await it.admin(
                    "PATCH", path, {"types": None, "retry": None, "concurrency_max": None}
                )
            ).json()
            assert changed["status"] == "paused"
            assert changed["types"] == ["*"]
            assert changed["retry"] is None
            assert changed["concurrency_max"] is None
            for kind in ("producer", "consumer"):
                answer = await it.admin("DELETE", f"/v1/{kind}s/{made[kind + '_id']}")
                assert answer.status_code == 409
                assert "subscriptions" in answer.json()["detail"]
            assert (await it.admin("DELETE", path)).status_code == 204
            assert (await it.admin("POST", path + "/pause")).status_code == 404
            for kind in ("producer", "consumer"):
                answer = await it.admin("DELETE", f"/v1/{kind}s/{made[kind + '_id']}")
                assert answer.status_code == 204

    run(scenario())


POLICY = {
    "retry": {"schedule_ms": [1000], "total_ms": 5000},
    "concurrency_max": 2,
    "rate_per_s": 2.5,
    "rate_burst": 10,
    "permanent_codes": [404, "5xx"],
    "ordering": "key",
    "batch": {"size_max": 50, "format": "ndjson", "wait_ms": 20},
}
DEFAULTS = dict.fromkeys(POLICY) | {"permanent_codes": [410], "ordering": "none"}


def test_a_delivery_policy_is_set_shown_and_reset(api, run):
    async def scenario():
        async with api() as it:

            def policy(shown):
                return {name: shown[name] for name in POLICY}

            made = await it.subscription()
            assert policy(made) == DEFAULTS
            path = f"/v1/subscriptions/{made['id']}"
            assert policy((await it.admin("PATCH", path, POLICY)).json()) == POLICY
            stored = it.directory.live_subscriptions[made["id"]]
            assert (stored.rate_per_s, stored.burst) == (2.5, 10)
            for name in POLICY:
                if name != "rate_per_s":
                    reset = (await it.admin("PATCH", path, {name: None})).json()
                    assert reset[name] == DEFAULTS[name]
            both = {"producer_id": made["producer_id"], "consumer_id": made["consumer_id"]}
            whole = await it.made("/v1/subscriptions", both | POLICY)
            nothing = await it.made("/v1/subscriptions", both | dict.fromkeys(POLICY))
            assert whole["batch"] == POLICY["batch"]
            assert policy(nothing) == DEFAULTS

    run(scenario())


def test_a_change_is_checked_with_what_it_leaves(api, run):
    async def scenario():
        async with api() as it:
            made = await it.subscription(rate_per_s=5, rate_burst=10)
            path = f"/v1/subscriptions/{made['id']}"
            refused = await it.admin("PATCH", path, {"rate_per_s": None})
            assert refused.status_code == 422
            assert "rate_burst needs rate_per_s" in refused.json()["detail"]
            assert (await it.admin("GET", path)).json()["rate_per_s"] == 5
            both = await it.admin("PATCH", path, {"rate_per_s": None, "rate_burst": None})
            assert both.json()["rate_per_s"] is None

    run(scenario())


def test_what_is_wrong_with_a_subscription_is_said(api, run):
    async def scenario():
        async with api() as it:
            producer, consumer = await it.producer(), await it.consumer()
            good = {"producer_id": producer["id"], "consumer_id": consumer["id"]}
            for change, says in (
                ({"producer_id": 99}, "producer 99"),
                ({"consumer_id": 99}, "consumer 99"),
                ({"types": []}, "types"),
                ({"types": ["a b"]}, "types"),
                ({"types": [""]}, "types"),
                ({"types": ["x" * 129]}, "types"),
                ({"types": ["a"] * 51}, "types"),
                ({"retry": {"schedule_ms": [-1]}}, "schedule_ms"),
                ({"retry": {"attempts": 3}}, "retry"),
                ({"retry": {"schedule_ms": [1], "x": 1}}, "x"),
                ({"concurrency_max": 0}, "concurrency_max"),
                ({"concurrency_max": 1001}, "concurrency_max"),
                ({"retry": {"schedule_ms": [1], "total_ms": 0}}, "retry.total_ms must be 1 to"),
                ({"rate_per_s": 0.001}, "rate_per_s must be at least 0.01"),
                ({"rate_per_s": 100_001}, "rate_per_s must be at most 100000"),
                ({"rate_per_s": "5"}, "rate_per_s must be a number"),
                ({"rate_per_s": 1, "rate_burst": 0}, "rate_burst must be at least 1"),
                ({"rate_burst": 5}, "rate_burst needs rate_per_s"),
                ({"permanent_codes": [200]}, "permanent_codes[0] must be at least 300"),
                ({"permanent_codes": ["2xx"]}, "permanent_codes[0] cannot be '2xx'"),
                ({"permanent_codes": [404] * 51}, "permanent_codes must have at most 50 items"),
                ({"permanent_codes": 410}, "permanent_codes must be an array"),
                ({"ordering": "random"}, "ordering cannot be 'random'"),
                ({"batch": {"size_max": 5}}, "batch.format is missing"),
                ({"batch": {"size_max": 5, "format": "xml"}}, "batch.format cannot be 'xml'"),
                ({"batch": {"size_max": 1, "format": "json"}}, "batch.size_max must be 2 to 1000"),
                ({"batch": {"size_max": 2, "format": "json", "x": 1}}, 'unknown field "batch.x"'),
            ):
                answer = await it.admin("POST", "/v1/subscriptions", {**good, **change})
                assert answer.status_code == 422, change
                assert says in answer.json()["detail"], answer.text

    run(scenario())


def test_lists_are_paged_without_gaps_while_objects_go(api, run):
    async def scenario():
        async with api() as it:
            made = [(await it.producer(f"p{n}"))["id"] for n in range(7)]
            first = (await it.admin("GET", "/v1/producers?limit=3")).json()
            assert [item["id"] for item in first["items"]] == made[:3]
            await it.admin("DELETE", f"/v1/producers/{made[2]}")
            await it.admin("DELETE", f"/v1/producers/{made[4]}")
            path = f"/v1/producers?limit=3&after={first['next']}"
            second = (await it.admin("GET", path)).json()
            assert [item["id"] for item in second["items"]] == [made[3], *made[5:]]
            assert second["next"] is None
            for wrong in (
                "limit=0",
                "limit=1001",
                "limit=x",
                "after=x",
                "page=2",
                "limit=1&limit=2",
            ):
                assert (await it.admin("GET", "/v1/producers?" + wrong)).status_code == 422, wrong

    run(scenario())


def test_bodies_and_credentials_of_admin_calls(api, run):
    async def scenario():
        async with api() as it:
            key = (await it.producer())["api_key"]
            for given in (None, f"Bearer {key}", "Bearer wrong", "Basic x", "Bearer"):
                headers = {"authorization": given} if given else {}
                answer = await it.client.get("/v1/producers", headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
            headers = {"authorization": "Bearer the-admin-token"}
            for body, content_type, status in (
                (b"{", "application/json", 400),
                (b"", "application/json", 400),
                (b'{"name":NaN}', "application/json", 400),
                (b'{"name":"\xff"}', "application/json", 400),
                (b'{"name":"\\ud800"}', "application/json", 400),
                (b"[" * 40_000, "application/json", 422),
                (b'{"name":1}', "application/json", 422),
                (b'{"name":"x"}', "text/plain", 415),
                (b'{"name":"' + b"x" * 70_000 + b'"}', "application/json", 413),
            ):
                answer = await it.client.post(
                    "/v1/producers",
                    content=body,
                    headers={**headers, "content-type": content_type},
                )
                assert answer.status_code == status, (body[:20], answer.text)
                assert answer.headers["content-type"] == "application/problem+json"

    run(scenario())


def test_without_an_admin_token_nobody_is_admin(api, run):
    async def scenario():
        async with api(api_admin_token="") as it:
            for given in ("Bearer", "Bearer x"):
                answer = await it.client.get(
                    "/v1/producers", headers=[(b"authorization", given.encode())]
                )
                assert answer.status_code == 401

    run(scenario())
