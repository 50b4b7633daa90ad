"""What became of messages, the accounts, health, and errors of routing."""

import json

from notify.domain.errors import StorageUnavailable
from notify_core import chunk, fanout
from notify_core.records import DELIVERED, OutcomeRecord

NOW = 1_800_000_000_000


async def split(it):
    """Do the Maker's work for everything accepted so far."""
    table = it.directory.table
    records = await it.storage.unsplit(0, (1 << 63) - 1, 1000, 1 << 20)
    ingest = chunk.pack_messages(it.directory.version, records)
    result = fanout.split(table, [ingest], {}, NOW, 60_000, set(), 100, 1 << 20)
    await it.storage.insert_deliveries(result)


def test_a_message_with_its_deliveries_and_tries(api, run):
    async def scenario():
        async with api() as it:
            made = await it.subscription(types=["order.*"])
            body = {
                "type": "order.paid",
                "payload": {"n": 1},
                "key": "k1",
                "ordering_key": "o1",
                "headers": {"X-A": "b"},
                "deliver_at": "2025-01-01T01:00:00+01:00",
            }
            message_id = (await it.post(made["api_key"], body)).json()["ids"][0]
            shown = (await it.admin("GET", f"/v1/messages/{message_id}")).json()
            assert shown["deliveries"] == []
            await split(it)
            tried = OutcomeRecord(
                int(message_id), made["id"], DELIVERED, 2, NOW, 0, 12, 200, 0, "", b"ok\xff"
            )
            await it.storage.mark([chunk.pack_outcomes([tried])])
            shown = (await it.admin("GET", f"/v1/messages/{message_id}")).json()
            assert shown["id"] == message_id
            assert shown["key"] == "k1"
            assert shown["ordering_key"] == "o1"
            assert shown["headers"] == {"x-a": "b"}
            assert shown["deliver_at"] == "2025-01-01T00:00:00.000Z"
            assert shown["expires_at"] is None
            assert shown["payload"] == {"n": 1}
            (delivery,) = shown["deliveries"]
            assert delivery["subscription_id"] == made["id"]
            assert delivery["status"] == "delivered"
            assert delivery["attempts"] == 2
            assert delivery["reason"] is None
            (entry,) = delivery["log"]
            assert entry["code"] == 200
            assert entry["error"] is None
            assert entry["response"] == "ok\ufffd"
            assert entry["at"] == "2027-01-15T08:00:00.000Z"
            # A producer sees its own messages only, and cannot tell others' from none.
            other = (await it.producer("other"))["api_key"]
            path = f"/v1/messages/{message_id}"
            for key, status in ((made["api_key"], 200), (other, 404), ("nk_x", 401)):
                headers = {"authorization": f"Bearer {key}"}
                assert (await it.client.get(path, headers=headers)).status_code == status
            for wrong in ("1", "x", "-1", "9" * 30, str((1 << 63) + 5), "²"):
                assert (await it.admin("GET", f"/v1/messages/{wrong}")).status_code == 404

    run(scenario())


def test_deliveries_are_filtered_and_paged(api, run):
    async def scenario():
        async with api() as it:
            made = await it.subscription(types=["order.*"])
            batch = [{"type": "order.x", "payload": n} for n in range(5)]
            batch.append({"type": "nobody", "payload": 1})
            ids = (await it.post(made["api_key"], batch)).json()["ids"]
            await split(it)
            seen = []
            after = ""
            while True:
                answer = await it.admin("GET", f"/v1/deliveries?limit=2{after}")
                body = answer.json()
                seen += [item["message_id"] for item in body["items"]]
                if body["next"] is None:
                    break
                after = f"&after={body['next']}"
            assert seen == ids[4::-1]
            for query, count in (
                ("status=queued", 5),
                ("status=dropped", 0),
                (f"subscription_id={made['id']}", 5),
                ("subscription_id=77", 0),
                ("subscription_id=0", 1),
                ("since=2020-01-01T00:00:00Z", 5),
                ("until=2020-01-01T00:00:00+00:00", 0),
            ):
                answer = await it.admin("GET", "/v1/deliveries?" + query)
                assert len(answer.json()["items"]) == count, query
            for wrong in (
                "status=sent",
                "since=yesterday",
                "after=5",
                "subscription_id=x",
                "until=",
            ):
                answer = await it.admin("GET", "/v1/deliveries?" + wrong)
                assert answer.status_code == 422, wrong

    run(scenario())


def test_stats_and_metrics_show_every_account(api, run):
    async def scenario():
        async with api() as it:
            made = await it.subscription(types=["order.*"])
            idle = await it.made(
                "/v1/subscriptions",
                {"producer_id": made["producer_id"], "consumer_id": made["consumer_id"]}
                | {"types": ["never"]},
            )
            await it.post(made["api_key"], [{"type": "order.x", "payload": 1}] * 3)
            await split(it)
            first, second = (await it.admin("GET", "/v1/stats")).json()["subscriptions"]
            assert first["id"] == made["id"]
            assert first["matched"] == first["queued"] == 3
            assert first["producer"] == "shop"
            assert first["consumer"] == "mail"
            assert second["id"] == idle["id"]
            assert second["matched"] == second["difference"] == first["difference"] == 0
            text = (await it.client.get("/metrics")).text
            number = made["id"]
            queued = (
                f'notify_subscription_deliveries{{status="queued",subscription="{number}"}} 3.0'
            )
            assert queued in text.replace(
                f'subscription="{number}",status="queued"',
                f'status="queued",subscription="{number}"',
            )
            assert f'notify_subscription_difference{{subscription="{number}"}} 0.0' in text
            assert "notify_api_messages_accepted_total 3.0" in text
            assert 'notify_api_requests_total{code="202"} 1.0' in text
            await it.admin("DELETE", f"/v1/subscriptions/{made['id']}")
            rows = (await it.admin("GET", "/v1/stats")).json()["subscriptions"]
            assert [row["deleted"] for row in rows] == [True, False]

    run(scenario())


def test_ready_says_what_is_missing(api, run):
    async def scenario():
        async with api() as it:
            assert (await it.client.get("/readyz")).json() == {"status": "ready"}
            it.queue.flush()
            answer = await it.client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["reasons"] == ["the queue is being rebuilt"]
            it.storage.down = StorageUnavailable("password=x")
            answer = await it.client.get("/readyz")
            assert len(answer.json()["reasons"]) == 2
            assert "password" not in answer.text
            assert (await it.client.get("/healthz")).status_code == 200
            answer = await it.admin("GET", "/v1/producers")
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            it.storage.down = None

    run(scenario())


def test_errors_of_routing_and_unforeseen_ones_are_problems(api, run, caplog):
    async def scenario():
        async with api() as it:
            for method, path, status in (
                ("GET", "/", 404),
                ("GET", "/v1/nothing", 404),
                ("GET", "/v1/producers/", 404),
                ("PUT", "/v1/producers", 405),
                ("GET", "/v1/messages", 405),
                ("POST", "/healthz", 405),
            ):
                answer = await it.client.request(method, path)
                assert answer.status_code == status, path
                assert answer.headers["content-type"] == "application/problem+json"
                problem = answer.json()
                assert problem["status"] == status
                assert problem["title"]
                assert problem["type"]
                if status == 405:
                    assert answer.headers["allow"]
            it.storage.down = RuntimeError("inner secret")
            answer = await it.admin("GET", "/v1/producers")
            assert answer.status_code == 500
            assert "inner" not in json.dumps(answer.json())
            it.storage.down = None
            head = await it.client.head("/healthz")
            assert head.status_code == 200
            assert head.content == b""

    run(scenario())
    assert "inner secret" in caplog.text
