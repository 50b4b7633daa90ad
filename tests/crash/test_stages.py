"""SIGKILL at every stage of a message's way; then a normal start on what is left on the disk.

Six messages in one request make ten deliveries to two subscriptions. For every stage it is
known how many of them the consumers had answered 2xx without the database knowing: exactly
these come twice, and nothing else does.
"""

import asyncio

import httpx
import pytest

from notify.domain.model import DeliveryStatus
from tests.support import data_file
from tests.support.http_api import HttpApi
from tests.support.receiver import Receiver, refusing, taking
from tests.support.waiting import until

pytestmark = pytest.mark.crash

DELIVERIES = 10
MESSAGES = [
    {"type": type_, "payload": {"n": n}, "key": f"event-{n}"}
    for n, type_ in enumerate(["order.paid", "stock.changed", "order.paid"] * 2)
]
# All outcomes travel together, so that each later stage is one call about all ten.
TOGETHER = {"SENDER__OUTCOME_ROWS_MAX": DELIVERIES, "SENDER__OUTCOME_WAIT_MS": 10_000}
RETRY = {"schedule_ms": [50] * 9, "jitter": 0}


async def prepare(api, receiver, **options):
    """A producer with two subscriptions: everything, and orders only."""
    shop = await api.producer()
    everything = await api.subscribe(shop, receiver, "everything", retry=RETRY, **options)
    orders = await api.subscribe(
        shop, receiver, "orders", retry=RETRY, types=["order.*"], **options
    )
    return shop, everything, orders


async def send_to_the_doomed(api, shop):
    """The request during which, or soon after which, the process dies: whatever it answers."""
    try:
        return await api.send(shop, MESSAGES)
    except httpx.TransportError:
        return None


async def check_nothing_lost(api, shop, receiver, data_dir, promised):
    """The producer tries again; every delivery arrives, and there is no second message."""
    ids = await api.send(shop, MESSAGES)
    assert promised in (None, ids)
    await api.settled(DELIVERIES)
    rows = await api.stats()
    assert [row["delivered"] for row in rows.values()] == [6, 4]
    assert {message for message, _ in receiver.taken} == set(ids)
    assert len(receiver.taken) == DELIVERIES
    assert not receiver.unverified
    assert data_file.messages(data_dir) == set(ids)


def duplicates(receiver):
    return {key for key, times in receiver.taken.items() if times > 1}


STAGES = {
    "accepting": [
        ("before storage.insert_messages", 0),
        ("after storage.insert_messages", 0),
        ("before queue.push/in", 0),
        ("after queue.push/in", 0),
    ],
    "splitting": [
        ("before storage.insert_deliveries", 0),
        ("after storage.insert_deliveries", 0),
        ("before queue.ack/in", 0),
        ("after queue.ack/in", 0),
    ],
    "delivering": [
        ("before transport.send", 0),
        ("after transport.send 10", DELIVERIES),
        ("before queue.ack/s", DELIVERIES),
        ("after queue.ack/s", DELIVERIES),
    ],
    "marking": [
        ("before storage.mark", DELIVERIES),
        ("after storage.mark", 0),
        ("before queue.ack/mark", 0),
        ("after queue.ack/mark", 0),
    ],
}


@pytest.mark.parametrize("stage", STAGES)
def test_killed_while(side_by_side, notify, doomed, stage):
    async def scenario(data_dir, moment, expected):
        async with Receiver() as receiver:
            async with doomed(data_dir, moment, **TOGETHER) as it, HttpApi(it.url, it.token) as api:
                shop, *_ = await prepare(api, receiver)
                promised = await send_to_the_doomed(api, shop)
                assert await it.program.wait() == -9
            await receiver.disconnected()
            had = set(receiver.taken)
            marked = {
                key
                for key, status in data_file.statuses(data_dir).items()
                if status is DeliveryStatus.DELIVERED
            }
            assert len(had - marked) == expected
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                await check_nothing_lost(api, shop, receiver, data_dir, promised)
                assert duplicates(receiver) == had - marked
                assert max(receiver.taken.values()) <= 2
                assert await it.terminate() == 0
            await data_file.check_ledger(data_dir)

    side_by_side(scenario, STAGES[stage])


def test_killed_while_consumers_hold_their_answers_back(run, notify, data_dir):
    """All ten requests were received, none was answered: the most that can come twice."""

    async def scenario():
        silent = asyncio.Event()

        async def answering(wire):
            if not silent.is_set():
                wire.arrival.taken = True  # done, says the consumer, but nobody hears it
                await wire.reader.read()
            else:
                await wire.answer(200)

        async with Receiver(answering) as receiver:
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                shop, *_ = await prepare(api, receiver)
                promised = await api.send(shop, MESSAGES)
                await receiver.holding(DELIVERIES)
                await it.kill()
            await receiver.disconnected()
            silent.set()
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                await check_nothing_lost(api, shop, receiver, data_dir, promised)
            assert set(receiver.taken.values()) == {2}
            assert {arrival.attempt for arrival in receiver.arrivals} == {1}

    run(scenario())


def test_killed_between_deliveries_that_go_one_by_one(run, notify, doomed, data_dir):
    """Only what was begun before comes again, not the deliveries still in the queue."""

    async def scenario():
        async with Receiver() as receiver:
            moment = "before transport.send 5"
            async with doomed(data_dir, moment, **TOGETHER) as it, HttpApi(it.url, it.token) as api:
                shop, *_ = await prepare(api, receiver, concurrency_max=1)
                promised = await send_to_the_doomed(api, shop)
                assert await it.program.wait() == -9
            await receiver.disconnected()
            had = set(receiver.taken)
            assert 3 <= len(had) <= 4  # one may be under way in the other subscription
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                await check_nothing_lost(api, shop, receiver, data_dir, promised)
            assert duplicates(receiver) == had

    run(scenario())


def test_killed_with_failed_attempts(side_by_side, notify, doomed):
    """What failed is tried again; the attempts go on where the database knows of them."""

    async def scenario(data_dir, moment):
        async with Receiver(refusing(500)) as receiver:
            async with doomed(data_dir, moment, **TOGETHER) as it, HttpApi(it.url, it.token) as api:
                shop, *_ = await prepare(api, receiver)
                promised = await send_to_the_doomed(api, shop)
                assert await it.program.wait() == -9
            await receiver.disconnected()
            first = len(receiver.arrivals)
            receiver.answering = taking
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                await check_nothing_lost(api, shop, receiver, data_dir, promised)
            assert set(receiver.taken.values()) == {1}
            known = {arrival.attempt for arrival in receiver.arrivals[first:]}
            if moment.startswith("before"):
                assert known == {1}
            else:
                assert known == {2}

    side_by_side(scenario, [("before storage.mark",), ("after storage.mark",)])


FEEDING = [
    "before storage.set_queued",
    "after storage.set_queued",
    "before queue.push/s",
    "after queue.push/s",
]


def test_killed_while_queues_are_fed(side_by_side, notify, doomed):
    """After a pause: queued says the database, but the queue never got it, or just did."""

    async def scenario(data_dir, moment):
        async with Receiver() as receiver:
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                shop, *subscriptions = await prepare(api, receiver)
                for subscription in subscriptions:
                    await api.set_status(subscription, "pause")
                promised = await api.send(shop, MESSAGES)

                async def stored():
                    rows = await api.stats()
                    return sum(row["pending"] for row in rows.values()) == DELIVERIES

                await until(stored, "everything pending")
            async with doomed(data_dir, moment) as it, HttpApi(it.url, it.token) as api:
                for subscription in subscriptions:
                    try:
                        await api.set_status(subscription, "resume")
                    except httpx.TransportError:
                        break  # it may die as soon as it feeds the first one
                assert await it.program.wait() == -9
            await receiver.disconnected()
            assert not receiver.arrivals
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                for subscription in subscriptions:
                    await api.set_status(subscription, "resume")
                await check_nothing_lost(api, shop, receiver, data_dir, promised)
            assert not duplicates(receiver)

    side_by_side(scenario, [(moment,) for moment in FEEDING])


REBUILDS = [
    ("after storage.insert_messages", "after queue.push/in"),
    ("after storage.insert_deliveries", "after storage.forget_queued"),
    ("before queue.ack/in", "before storage.set_note"),
    ("after queue.ack/in", "after storage.set_queued"),
]


def test_killed_again_while_the_queue_is_rebuilt(side_by_side, notify, doomed):
    """A start that is cut off is followed by one that does it all."""

    async def scenario(data_dir, first, second):
        async with Receiver() as receiver:
            async with doomed(data_dir, first) as it, HttpApi(it.url, it.token) as api:
                shop, *_ = await prepare(api, receiver)
                promised = await send_to_the_doomed(api, shop)
                assert await it.program.wait() == -9
            try:
                async with doomed(data_dir, second) as it:
                    assert await it.program.wait() == -9
            except AssertionError as error:
                assert "ended at once (-9)" in str(error)  # noqa: PT017 - either is a kill
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                await check_nothing_lost(api, shop, receiver, data_dir, promised)
            assert not duplicates(receiver)

    side_by_side(scenario, REBUILDS)


def test_killed_while_a_410_disables_its_subscription(side_by_side, notify, doomed):
    """The refusal is asked for again, or the delivery waits in the subscription it paused."""

    async def scenario(data_dir, when):
        async with Receiver(refusing(410)) as receiver:
            moment = f"{when} storage.set_subscription_status"
            async with doomed(data_dir, moment) as it, HttpApi(it.url, it.token) as api:
                shop = await api.producer()
                gone = await api.subscribe(shop, receiver, "gone", retry=RETRY)
                [message] = await api.send(shop, {"type": "order.paid", "payload": 1})
                assert await it.program.wait() == -9
            assert len(receiver.arrivals) == 1
            async with notify(data_dir) as it, HttpApi(it.url, it.token) as api:
                if when == "before":
                    delivery = await api.became(message, gone, ["dropped"])
                    assert delivery["reason"] == "refused"
                    assert len(receiver.arrivals) == 2
                shown = await api.call("GET", f"/v1/subscriptions/{gone}")
                assert shown["status"] == "paused"
                assert "410" in shown["status_reason"]
                if when == "after":
                    await api.became(message, gone, ["pending"])
                    receiver.answering = taking
                    await api.set_status(gone, "resume")
                    await api.became(message, gone, ["delivered"])
                    assert set(receiver.messages) == {message}

    side_by_side(scenario, [("before",), ("after",)])
