"""Consumers that misbehave: each costs only its own deliveries, and the log says what it did."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.support.hostile import HOSTILE, NEVER_DONE, Elsewhere, hostile_process
from tests.support.receiver import Receiver, refusing
from tests.support.waiting import until

ONCE = {"schedule_ms": [], "jitter": 0}
OFTEN = {"schedule_ms": [100] * 90, "jitter": 0}
TIMEOUT_MS = 400


LOGGED = {
    # what the consumer does: the code that is logged, and words that the log must say
    "answers_garbage": (None, "not HTTP/1.1"),
    "never_answers": (None, f"no answer within {TIMEOUT_MS} ms"),
    "drips_bytes": (None, f"no complete answer within {TIMEOUT_MS} ms"),
    "drips_its_body": (None, f"no complete answer within {TIMEOUT_MS} ms"),
    "sends_endless_headers": (None, "headers"),
    "sends_an_endless_error": (500, "answered 500"),
    "closes_early": (None, "before the answer was complete"),
    "closes_at_once": (None, "closed"),
    "redirects_to_itself": (302, "answered 302"),
    "switches_protocols": (None, "101"),
    "answers_with_a_huge_body": (500, "answered 500"),
}


def test_every_behaviour_is_judged():
    assert list(LOGGED) == list(HOSTILE)


def test_a_hostile_answer_is_a_recorded_failure(run, notify):
    async def scenario():
        async with AsyncExitStack() as stack:
            _, api = await stack.enter_async_context(notify())
            shop = await api.producer()
            receivers = {}
            for name, answering in HOSTILE.items():
                one = await stack.enter_async_context(Receiver(answering))
                sub = await api.subscribe(shop, one, name, TIMEOUT_MS, retry=ONCE)
                receivers[sub] = name, one
            [message] = await api.send(shop, {"type": "a", "payload": {"n": 1}})
            await api.settled(len(HOSTILE))
            for sub, (name, receiver) in receivers.items():
                code, words = LOGGED[name]
                delivery = await api.delivery(message, sub)
                assert (delivery["status"], delivery["reason"]) == ("dropped", "exhausted"), name
                [attempt] = delivery["log"]
                assert attempt["code"] == code, name
                assert words in attempt["error"], name
                assert len(attempt["response"]) <= 1024, name
                assert attempt["latency_ms"] < TIMEOUT_MS + 2000, name
                assert len(receiver.arrivals) == 1, name

    run(scenario())


def test_nobody_there_is_a_recorded_failure(run, notify):
    async def scenario():
        async with Receiver() as receiver:
            pass  # its port is free again
        async with notify() as (_, api):
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "gone", retry=ONCE)
            [message] = await api.send(shop, {"type": "a", "payload": 1})
            delivery = await api.became(message, sub, ["dropped"])
            [attempt] = delivery["log"]
            assert attempt["code"] is None
            assert attempt["error"].startswith("connect: ")

    run(scenario())


def test_an_address_that_is_not_allowed_is_a_recorded_failure(run, notify):
    async def scenario():
        flags = {"sender.allow_cidrs": ["10.0.0.0/8"]}
        async with notify(flags) as (_, api), Receiver() as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "loopback", retry=ONCE)
            [message] = await api.send(shop, {"type": "a", "payload": 1})
            delivery = await api.became(message, sub, ["dropped"])
            assert "127.0.0.1" in delivery["log"][0]["error"]
            assert not receiver.arrivals

    run(scenario())


def test_hostile_consumers_slow_down_nobody_else(run, notify):
    """All of them at once, called again and again, with dozens of messages each to wait for."""
    count = 40

    async def scenario():
        # In a process of their own: what they burn shall not be taken for Notify's.
        flags = {"sender.breaker_failures": 100_000}  # or they would soon be called less
        async with (
            hostile_process() as urls,
            notify(flags) as (it, api),
            Receiver() as healthy,
        ):
            shop = await api.producer()
            bad = {
                name: await api.subscribe(shop, Elsewhere(url), name, 2000, retry=OFTEN)
                for name, url in urls.items()
            }
            good = await api.subscribe(shop, healthy, "healthy")
            [first] = await api.send(shop, {"type": "a", "payload": "first"})
            await api.send(shop, [{"type": "a", "payload": n} for n in range(count)])
            await healthy.holding(1 + count, 30)

            latencies_s = []
            for n in range(count):
                begun = asyncio.get_running_loop().time()
                await api.send(shop, {"type": "b", "payload": n})
                await healthy.holding(2 + count + n, 30)
                latencies_s.append(asyncio.get_running_loop().time() - begun)
            # Had it to wait for one of them it would take their time-out of 2 s, again and again.
            assert sorted(latencies_s)[count // 2] < 1.0

            rows = await api.stats()
            row = rows.pop(good)
            assert row["matched"] == 1 + 2 * count
            for row in rows.values():
                assert row["delivered"] == row["dropped"] == 0
                assert row["queued"] + row["pending"] == 1 + 2 * count
            assert set(healthy.taken.values()) == {1}
            for name in set(urls) - set(NEVER_DONE):

                async def again(subscription=bad[name]):
                    return (await api.delivery(first, subscription))["attempts"] >= 2

                await until(again, f"a second attempt where the consumer {name}")
        assert it.services.transport.connections_open == 0

    run(scenario())


def test_410_drops_and_pauses(run, notify):
    async def scenario():
        async with notify() as (_, api), Receiver(refusing(410)) as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "gone", retry=OFTEN)
            [first] = await api.send(shop, {"type": "a", "payload": 1})
            delivery = await api.became(first, sub, ["dropped"])
            assert (delivery["reason"], delivery["log"][0]["code"]) == ("refused", 410)
            shown = await api.call("GET", f"/v1/subscriptions/{sub}")
            assert shown["status"] == "paused"
            [second] = await api.send(shop, {"type": "a", "payload": 2})
            await api.became(second, sub, ["pending"])
            assert receiver.messages == [first]

    run(scenario())


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_obeyed(run, notify, code):
    async def scenario():
        async with notify() as (_, api), Receiver(refusing(code, retry_after="1")) as receiver:
            shop = await api.producer()
            sub = await api.subscribe(shop, receiver, "busy", retry=OFTEN)
            [message] = await api.send(shop, {"type": "a", "payload": 1})
            await until(lambda: len(receiver.arrivals) >= 2, "a second attempt")
            first, second, *_ = receiver.arrivals
            assert 0.95 <= second.at - first.at < 3
            delivery = await api.delivery(message, sub)
            assert delivery["log"][0]["code"] == code

    run(scenario())


def test_a_retry_after_without_end_is_cut(run, notify):
    async def scenario():
        flags = {"sender.retry_after_ms_max": 200}
        busy = refusing(503, retry_after="999999999999")
        async with notify(flags) as (_, api), Receiver(busy) as receiver:
            shop = await api.producer()
            await api.subscribe(shop, receiver, "busy", retry=OFTEN)
            await api.send(shop, {"type": "a", "payload": 1})
            await until(lambda: len(receiver.arrivals) >= 3, "attempts go on", 5)

    run(scenario())
