"""Dead letters through the whole product: given up, replayed, delivered, and still balanced."""

import asyncio
import json

import pytest

from notify.cli import main
from tests.support.receiver import Receiver, refusing, taking

ONE_RETRY = {"schedule_ms": [20], "jitter": 0}


def numbered(count):
    return [{"type": "order.paid", "payload": {"n": n}} for n in range(count)]


async def given_up(api, receiver, name, shop, count, code=500):
    """A subscription whose endpoint refuses this many messages until Notify gives up."""
    receiver.answering = refusing(code)
    sub = await api.subscribe(shop, receiver, name, retry=ONE_RETRY, permanent_codes=[404])
    messages = await api.send(shop, numbered(count))
    for message in messages:
        await api.became(message, sub, ["dropped"])
    receiver.answering = taking
    return sub, messages


def test_a_delivery_out_of_attempts_is_replayed_and_delivered(run, notify):
    async def scenario():
        async with notify() as (it, api), Receiver() as receiver:
            shop = await api.producer()
            sub, [message] = await given_up(api, receiver, "crm", shop, 1)
            dead = await api.delivery(message, sub)
            assert (dead["reason"], dead["attempts"], len(dead["log"])) == ("exhausted", 2, 2)
            path = f"/v1/deliveries/{message}/{sub}/replay"
            receiver.answering = refusing(503)
            assert (await api.call("POST", path))["status"] == "pending"
            failed = await api.became(message, sub, ["dropped"])
            assert [entry["attempt"] for entry in failed["log"]] == [1, 2, 3, 4]
            assert [entry["code"] for entry in failed["log"]] == [500, 500, 503, 503]
            receiver.answering = taking
            await api.call("POST", path)
            done = await api.became(message, sub, ["delivered"])
            assert (done["attempts"], done["reason"], len(done["log"])) == (1, None, 4)
            assert receiver.taken == {(message, sub): 1}
            # Each run counts from 1: its budget began anew.
            assert [arrival.attempt for arrival in receiver.arrivals] == [1, 2, 1, 2, 1]
            await balanced(it, delivered=1)

    run(scenario())


def test_the_command_replays_what_was_dropped_for_a_reason(run, notify, monkeypatch, capsys):
    """A burst of dead letters, through `notify replay` as its operator would call it."""

    def command(*args):
        with pytest.raises(SystemExit) as caught:
            main(["replay", *args, "--json"])
        assert caught.value.code == 0
        return json.loads(capsys.readouterr().out)

    async def scenario():
        async with notify() as (it, api), Receiver() as receiver:
            monkeypatch.setenv("NOTIFY_CLI__API_URL", it.url)
            monkeypatch.setenv("NOTIFY_API__ADMIN_TOKEN", it.admin_token)
            shop = await api.producer()
            sub, messages = await given_up(api, receiver, "crm", shop, 20, code=404)
            reason = ("--reason", "exhausted")
            none = await asyncio.to_thread(command, str(sub), *reason)
            assert none == {"subscription": sub, "replayed": 0}
            one = await asyncio.to_thread(command, str(sub), "--message", str(messages[0]))
            rest = await asyncio.to_thread(command, str(sub), "--reason", "refused")
            assert (one["replayed"], rest["replayed"]) == (1, 19)
            await api.settled(20)
            assert receiver.taken == {(message, sub): 1 for message in messages}
            assert len(receiver.arrivals) == 40, "a permanent answer was tried again"
            await balanced(it, delivered=20)

    run(scenario())


async def balanced(it, **counts):
    """The kept account of the one subscription, proven by counting every row."""
    storage = it.services.storage
    [row] = await storage.counted_ledger()
    assert await storage.ledger() == [row]
    assert row.difference == 0
    shown = {name: getattr(row, name) for name in ("delivered", "dropped", "queued", "pending")}
    assert shown == {"delivered": 0, "dropped": 0, "queued": 0, "pending": 0} | counts
