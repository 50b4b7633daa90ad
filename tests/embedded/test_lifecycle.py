"""The ways of a delivery through the whole product, one property of the design at a time."""

import asyncio
import base64
import os
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from notify.domain.ports import Stream, StreamKind
from tests.support.receiver import Receiver, refusing, taking
from tests.support.waiting import until

FAST = {"schedule_ms": [50] * 90, "jitter": 0}


def in_seconds(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def numbered(count, type_="order.paid", **fields):
    return [{"type": type_, "payload": {"n": n}, **fields} for n in range(count)]


async def standing(api, subscription, **counts):
    """Until the subscription's line of the ledger shows these counts."""

    async def so():
        row = (await api.stats()).get(subscription, {})
        return all(row.get(name) == count for name, count in counts.items())

    await until(so, f"subscription {subscription} at {counts}")


def test_as_a_library(run, notify):
    """The methods of Notify itself, without a byte of HTTP on the producer's side."""

    async def scenario():
        async with notify() as (it, _), Receiver() as receiver:
            shop = await it.add_producer("shop")
            crm = await it.add_consumer("crm", receiver.url, secret=receiver.secret)
            made = await it.subscribe(shop.id, crm.id, types=["order.*"])
            ids = await it.send(shop.id, numbered(3))
            await receiver.holding(3)
            assert sorted(receiver.messages) == sorted(ids)
            assert not receiver.unverified
            assert {arrival.body for arrival in receiver.arrivals} == {
                b'{"n":0}',
                b'{"n":1}',
                b'{"n":2}',
            }

            async def marked():
                [row] = (await it.stats()).subscriptions
                return (row.id, row.matched, row.delivered) == (made.id, 3, 3)

            await until(marked, "all three marked")
            shown = await it.message(ids[0])
            assert [one.status for one in shown.deliveries] == ["delivered"]

    run(scenario())


def test_filters_with_wildcards(run, notify):
    async def scenario():
        patterns = {
            "exact": ["order.paid"],
            "prefix": ["order.*"],
            "suffix": ["*.paid"],
            "middle": ["o*.p*d"],
            "several": ["stock.low", "order.created"],
            "all": None,
            "none": ["refund.*"],
        }
        types = ["order.paid", "order.created", "stock.low", "invoice.paid", "order", "ORDER.PAID"]
        async with notify() as (_, api), Receiver() as receiver:
            shop = await api.producer()
            made = {
                await api.subscribe(shop, receiver, name, types=types_): name
                for name, types_ in patterns.items()
            }
            ids = await api.send(shop, [{"type": type_, "payload": 1} for type_ in types])
            rows = await api.settled(6 + 1 + 2 + 2 + 1 + 2)
            got = {name: set() for name in patterns}
            for message, subscription in receiver.taken:
                got[made[subscription]].add(types[ids.index(message)])
            assert got == {
                "exact": {"order.paid"},
                "prefix": {"order.paid", "order.created"},
                "suffix": {"order.paid", "invoice.paid"},
                "middle": {"order.paid"},
                "several": {"stock.low", "order.created"},
                "all": set(types),
                "none": set(),
            }
            assert sum(row["delivered"] for row in rows.values()) == len(receiver.taken)

    run(scenario())


def test_a_message_that_matches_nobody_is_on_record(run, notify):
    async def scenario():
        async with notify() as (_, api):
            shop = await api.producer()
            [message] = await api.send(shop, {"type": "a", "payload": 1})
            delivery = await api.became(message, 0, ["dropped"])
            assert delivery["reason"] == "unmatched"
            shown = await api.message(message)
            assert len(shown["deliveries"]) == 1

    run(scenario())


def test_pause_holds_back_and_resume_delivers_in_order(run, notify):
    async def scenario():
        async with notify() as (_, api), Receiver() as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "crm", concurrency_max=1)
            await api.set_status(sub, "pause")
            held = [i for _ in range(5) for i in await api.send(shop, numbered(5))]
            await standing(api, sub, pending=25)
            assert not receiver.arrivals
            await api.set_status(sub, "resume")
            await api.settled(25)
            assert receiver.messages == held
            assert set(receiver.taken.values()) == {1}

    run(scenario())


def test_pause_with_deliveries_in_flight_and_in_the_queue(run, notify):
    """What is under way ends; what is queued waits, in the queue or in the database."""

    async def scenario():
        gate = asyncio.Event()

        async def gated(wire):
            await gate.wait()
            await wire.answer(200)

        async with notify() as (_, api), Receiver(gated) as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "crm", concurrency_max=2)
            await api.send(shop, numbered(20))
            await until(lambda: len(receiver.arrivals) == 2, "two under way")
            await api.set_status(sub, "pause")
            gate.set()
            await standing(api, sub, delivered=2)
            assert len(receiver.arrivals) == 2
            await api.set_status(sub, "resume")
            rows = await api.settled(20)
            assert rows[sub]["delivered"] == 20
            assert set(receiver.taken.values()) == {1}

    run(scenario())


@pytest.mark.parametrize("waiting", ["pending", "queued"])
@pytest.mark.parametrize("end", ["discard", "delete"])
def test_what_waits_is_dropped_with_its_subscription(run, notify, waiting, end):
    async def scenario():
        gate = asyncio.Event()

        async def gated(wire):
            await gate.wait()
            await wire.answer(200)

        async with notify() as (_, api), Receiver(gated) as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "crm", concurrency_max=1)
            if waiting == "pending":
                await api.set_status(sub, "pause")
            ids = await api.send(shop, numbered(12))
            if waiting == "pending":
                await standing(api, sub, pending=12)
            else:
                await until(lambda: receiver.arrivals, "one under way")
                await standing(api, sub, queued=12)
            if end == "discard":
                await api.set_status(sub, "discard")
            else:
                await api.call("DELETE", f"/v1/subscriptions/{sub}")
            gate.set()
            rows = await api.settled(12)
            begun = len(receiver.arrivals)
            assert begun == (0 if waiting == "pending" else 1)
            assert rows[sub] == {
                "matched": 12, "delivered": begun, "dropped": 12 - begun, "queued": 0, "pending": 0,
            }  # fmt: skip
            delivery = await api.delivery(ids[-1], sub)
            assert delivery["reason"] == ("discarded" if end == "discard" else "deleted")

            [new] = await api.send(shop, {"type": "order.paid", "payload": 1})
            if end == "discard":
                assert (await api.became(new, sub, ["dropped"]))["reason"] == "discarded"
            else:
                assert (await api.became(new, 0, ["dropped"]))["reason"] == "unmatched"
            assert len(receiver.arrivals) == begun

    run(scenario())


def test_attempts_run_out(run, notify):
    async def scenario():
        retry = {"initial_ms": 20, "factor": 2, "max_ms": 50, "attempts": 4, "jitter": 0}
        async with notify() as (_, api), Receiver(refusing(500)) as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "crm", retry=retry)
            [message] = await api.send(shop, {"type": "a", "payload": 1})
            delivery = await api.became(message, sub, ["dropped"])
            assert (delivery["reason"], delivery["attempts"]) == ("exhausted", 4)
            assert [one["attempt"] for one in delivery["log"]] == [1, 2, 3, 4]
            assert [arrival.attempt for arrival in receiver.arrivals] == [1, 2, 3, 4]
            assert set(receiver.messages) == {message}

    run(scenario())


def test_a_retry_beyond_the_horizon_waits_in_the_database(run, notify):
    async def scenario():
        retry = {"schedule_ms": [600], "jitter": 0}
        flags = {"queue.delay_horizon_ms": 100}
        async with notify(flags) as (_, api), Receiver(refusing(500)) as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "crm", retry=retry)
            [message] = await api.send(shop, {"type": "a", "payload": 1})
            delivery = await api.became(message, sub, ["pending"])
            assert delivery["due_at"]
            receiver.answering = taking
            await api.became(message, sub, ["delivered"])
            first, second = receiver.arrivals
            assert second.at - first.at >= 0.59

    run(scenario())


@pytest.mark.parametrize("horizon_ms", [60_000, 1])
def test_deliver_at_is_not_before_its_time(run, notify, horizon_ms):
    """Within the queue's horizon and beyond it."""

    async def scenario():
        flags = {"queue.delay_horizon_ms": horizon_ms}
        async with notify(flags) as (_, api), Receiver() as receiver:
            shop = await api.producer()
            await api.subscribe(shop, receiver, "crm")
            begun = asyncio.get_running_loop().time()
            later = numbered(2, deliver_at=in_seconds(1.0))
            ids = await api.send(shop, [*later, {"type": "now", "payload": 1}])
            await receiver.holding(1)
            assert receiver.messages == ids[2:]
            await receiver.holding(3)
            assert all(arrival.at - begun >= 0.99 for arrival in receiver.arrivals[1:])

    run(scenario())


@pytest.mark.parametrize("horizon_ms", [60_000, 1])
def test_deliver_at_holds_over_a_restart(run, notify, horizon_ms):
    """What the lost queue knew of times is in the database too."""

    async def scenario():
        flags = {"queue.delay_horizon_ms": horizon_ms}
        async with Receiver() as receiver:
            async with notify(flags) as (_, api):
                shop = await api.producer()
                sub = await api.subscribe(shop, receiver, "crm")
                due = asyncio.get_running_loop().time() + 2.0
                await api.send(shop, numbered(2, deliver_at=in_seconds(2.0)))
                await standing(api, sub, matched=2)
            async with notify(flags) as (_, api):
                await receiver.holding(2)
            assert all(arrival.at >= due - 0.01 for arrival in receiver.arrivals)

    run(scenario())


def test_what_expired_is_dropped(run, notify):
    """While it waits for its retry, while it is paused, and when it was too late from the start."""

    async def scenario():
        async with notify() as (_, api), Receiver(refusing(500)) as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "crm", retry=FAST)
            [dead] = await api.send(
                shop, {"type": "a", "payload": 1, "expires_at": in_seconds(-60)}
            )
            assert (await api.became(dead, sub, ["dropped"]))["reason"] == "expired"
            assert not receiver.arrivals

            [failing] = await api.send(
                shop, {"type": "a", "payload": 1, "expires_at": in_seconds(0.5)}
            )
            delivery = await api.became(failing, sub, ["dropped"])
            assert delivery["reason"] == "expired"
            assert 1 <= delivery["attempts"] < 20

            await api.set_status(sub, "pause")
            [held] = await api.send(
                shop, {"type": "a", "payload": 1, "expires_at": in_seconds(0.3)}
            )
            await api.became(held, sub, ["pending"])
            count = len(receiver.arrivals)
            await asyncio.sleep(0.35)  # its time has to run out
            receiver.answering = taking
            await api.set_status(sub, "resume")
            assert (await api.became(held, sub, ["dropped", "delivered"]))["reason"] == "expired"
            assert len(receiver.arrivals) == count

    run(scenario())


def test_an_idempotency_key_is_good_for_one_message(run, notify):
    async def scenario():
        async with Receiver() as receiver:
            async with notify() as (_, api):
                shop, other = await api.producer("shop"), await api.producer("other")
                await api.subscribe(shop, receiver, "crm")
                await api.subscribe(other, receiver, "crm too")
                message = {"type": "a", "payload": 1, "key": "k"}
                [one] = await api.send(shop, message)
                both = await api.send(shop, [message, {"type": "a", "payload": 2, "key": "l"}])
                assert both[0] == one
                many = await asyncio.gather(*(api.send(shop, message) for _ in range(20)))
                assert many == [[one]] * 20
                [others] = await api.send(other, message)
                assert others != one
                await api.settled(3)
            async with notify() as (_, api):
                assert await api.send(shop, message) == [one]
                await api.settled(3)
            assert len(receiver.arrivals) == 3

    run(scenario())


def test_large_payloads_stay_behind_and_arrive_whole(run, notify):
    async def scenario():
        flags = {"queue.inline_bytes_max": 100, "queue.chunk_bytes_max": 2000}
        async with notify(flags) as (_, api), Receiver() as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "crm", retry=FAST)
            texts = ["x" * size for size in (0, 97, 98, 99, 5000, 1_000_000)]
            ids = await api.send(shop, [{"type": "a", "payload": text} for text in texts])
            await receiver.holding(len(texts))
            bodies = {arrival.message: arrival.body.decode() for arrival in receiver.arrivals}
            assert bodies == {id_: f'"{text}"' for id_, text in zip(ids, texts, strict=True)}
            assert not receiver.unverified

            await api.set_status(sub, "pause")  # the way over the database
            again = await api.send(shop, [{"type": "a", "payload": text} for text in texts])
            await standing(api, sub, pending=len(texts))
            await api.set_status(sub, "resume")
            await receiver.holding(2 * len(texts))
            bodies = {arrival.message: arrival.body.decode() for arrival in receiver.arrivals}
            assert [bodies[id_] for id_ in again] == [f'"{text}"' for text in texts]

    run(scenario())


def test_a_restart_keeps_everything(run, notify):
    """Configuration, keys, what waits in every way, and what became of everything before."""

    async def scenario():
        async with Receiver() as healthy, Receiver(refusing(500)) as failing:
            async with notify() as (it, api):
                token = it.admin_token
                shop = await api.producer()
                done = await api.subscribe(shop, healthy, "done", types=["order.*"])
                held = await api.subscribe(shop, healthy, "held")
                retried = await api.subscribe(shop, failing, "retried", retry=FAST)
                await api.set_status(held, "pause")
                ids = await api.send(shop, numbered(10))
                await standing(api, done, delivered=10)
                await standing(api, held, pending=10)
                await until(lambda: len(failing.keys) == 10, "everything tried")
                before = await api.call("GET", "/v1/subscriptions")
            attempts = max(arrival.attempt for arrival in failing.arrivals)
            failing.answering = taking
            async with notify() as (it, api):
                assert it.admin_token == token
                assert await api.call("GET", "/v1/subscriptions") == before
                await standing(api, retried, delivered=10)
                await standing(api, done, delivered=10)
                await standing(api, held, pending=10)
                await api.set_status(held, "resume")
                await standing(api, held, delivered=10)
                delivery = await api.delivery(ids[0], retried)
                codes = [one["code"] for one in delivery["log"]]
                assert codes == [500] * (len(codes) - 1) + [204]
                assert [one["attempt"] for one in delivery["log"]] == list(range(1, len(codes) + 1))
                assert attempts <= max(arrival.attempt for arrival in failing.arrivals)
                await api.send(shop, numbered(1))
                await api.settled(33)
            assert set(healthy.taken.values()) == set(failing.taken.values()) == {1}

    run(scenario())


def test_a_secret_rotates_without_a_gap(run, notify):
    """While two secrets sign, a consumer that knows either of them is satisfied."""

    def fits(secret, arrival):
        try:
            Webhook(secret).verify(arrival.body, arrival.headers)
        except WebhookVerificationError:
            return False
        return True

    async def scenario():
        async with notify() as (it, api), Receiver() as receiver:
            old = receiver.secret
            shop = await it.add_producer("shop")
            crm = await it.add_consumer("crm", receiver.url, secret=old)
            await it.subscribe(shop.id, crm.id)

            async def arrival():
                [message] = await it.send(shop.id, {"type": "a", "payload": {"é": 1}})
                return await until(
                    lambda: next((a for a in receiver.arrivals if a.message == message), None),
                    "the message",
                )

            async def rotate(method, path, body):
                return await api.call(method, f"/v1/consumers/{crm.id}/{path}", body)

            new = "whsec_" + base64.b64encode(os.urandom(24)).decode()
            only_old = await arrival()
            assert (fits(old, only_old), fits(new, only_old)) == (True, False)
            await rotate("POST", "rotate-secret", {"secret": new})
            both = await arrival()
            assert (fits(old, both), fits(new, both)) == (True, True)
            assert len(both.headers["webhook-signature"].split(" ")) == 2
            await rotate("DELETE", "previous-secret", None)
            only_new = await arrival()
            assert (fits(old, only_new), fits(new, only_new)) == (False, True)

    run(scenario())


def test_a_full_queue_spills_to_the_database_and_keeps_its_bound(run, notify):
    """A consumer slower than its producer costs disk, not memory, and everything arrives."""
    depth_max, count = 20, 400

    async def scenario():
        deepest = 0

        async def slowly(wire):
            nonlocal deepest
            [gauge] = await it.services.queue.gauges([Stream(StreamKind.SUBSCRIPTION, sub)])
            deepest = max(deepest, gauge.depth)
            await asyncio.sleep(0.005)
            await wire.answer(200)

        flags = {
            "queue.depth_max": depth_max,
            "queue.chunk_rows_max": 5,
            "rescuer.feed_interval_ms": 20,
        }
        async with notify(flags) as (it, api), Receiver(slowly) as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "slow", concurrency_max=4)
            ids = []
            spilled = False
            for _ in range(count // 10):
                ids += await api.send(shop, numbered(10))
                spilled = spilled or (await api.stats())[sub]["pending"] > 0
            rows = await api.settled(count, 30)
            assert rows[sub]["delivered"] == count
            assert set(receiver.messages) == set(ids)
            assert set(receiver.taken.values()) == {1}
            assert spilled
            assert 0 < deepest <= depth_max

    run(scenario())
