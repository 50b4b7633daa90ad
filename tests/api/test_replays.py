"""Dead letters delivered after all, over HTTP."""

import pytest

from notify.api import replays
from notify.domain.model import DeliveryStatus, Reason
from tests.conformance.storage.samples import (
    DROPPED,
    NOW,
    QUEUED,
    checked_ledger,
    chunks,
    grid,
    message_ids,
    outcome,
    split,
)

MINUTE_MS = 60_000


async def dead_letters(it, subscription, messages, reason=Reason.EXHAUSTED):
    """Deliveries of messages to a subscription that were tried twice and given up."""
    number = subscription["id"]
    await it.storage.insert_deliveries(grid(messages, [number]))
    tries = [outcome(id_, number, QUEUED, 1, NOW + 1, response=b"busy") for id_ in messages]
    tries += [outcome(id_, number, DROPPED, 2, NOW + 2, reason=reason) for id_ in messages]
    await it.storage.mark(chunks(*tries))


def test_one_dead_letter(api, run):
    async def scenario():
        async with api() as it:
            made = await it.subscription(types=["order.*"])
            [id_] = (await it.post(made["api_key"], {"type": "order.x", "payload": 1})).json()[
                "ids"
            ]
            await dead_letters(it, made, [int(id_)])
            path = f"/v1/deliveries/{id_}/{made['id']}/replay"
            answer = await it.admin("POST", path)
            assert answer.status_code == 200
            shown = answer.json()
            assert (shown["status"], shown["attempts"], shown["reason"]) == ("pending", 0, None)
            assert (shown["message_id"], shown["subscription_id"]) == (id_, made["id"])
            again = await it.admin("POST", path)
            assert again.status_code == 409
            assert "is pending, only a dropped one" in again.json()["detail"]
            third = outcome(int(id_), made["id"], DROPPED, 1, NOW + 9, reason=Reason.REFUSED)
            await it.storage.mark(chunks(third))
            traced = (await it.admin("GET", f"/v1/messages/{id_}")).json()["deliveries"][0]
            assert (traced["attempts"], traced["reason"]) == (1, "refused")
            assert [entry["attempt"] for entry in traced["log"]] == [1, 2, 3]
            assert [entry["response"] for entry in traced["log"]] == ["busy", "", ""]
            await checked_ledger(it.storage)

    run(scenario())


def test_what_cannot_be_replayed_is_said(api, run):
    async def scenario():
        async with api() as it:
            made = await it.subscription()
            [first, second] = message_ids(2)
            await dead_letters(it, made, [first])
            await it.storage.insert_deliveries(split((second, 0, DROPPED, 0, 1)))
            one, many = f"/v1/subscriptions/{made['id']}", f"/v1/deliveries/{first}/{made['id']}"
            await it.admin("POST", one + "/discard")
            for path, status, says in (
                (f"/v1/deliveries/{second}/{made['id']}", 404, f"no delivery of message {second}"),
                (f"/v1/deliveries/5/{made['id']}", 404, "no delivery of message 5"),
                (f"/v1/deliveries/x/{made['id']}", 404, "'x'"),
                (f"/v1/deliveries/{second}/0", 409, "matched no subscription"),
                (many, 409, "discards what matches"),
                (one, 409, "discards what matches"),
                ("/v1/subscriptions/99", 404, "no subscription 99"),
            ):
                answer = await it.admin("POST", path + "/replay")
                assert answer.status_code == status, path
                assert says in answer.json()["detail"], answer.text
            await it.admin("DELETE", one)
            answer = await it.admin("POST", many + "/replay")
            assert (answer.status_code, "is deleted" in answer.text) == (409, True)
            assert (await it.admin("POST", one + "/replay")).status_code == 404
            [row] = await it.storage.deliveries(first)
            assert row.status is DeliveryStatus.DROPPED

    run(scenario())


def test_all_dead_letters_or_those_of_a_time_or_a_reason(api, run):
    async def scenario():
        async with api() as it:
            made = await it.subscription()
            other = await it.made(
                "/v1/subscriptions",
                {"producer_id": made["producer_id"], "consumer_id": made["consumer_id"]},
            )
            early, late = message_ids(4), message_ids(6, NOW + MINUTE_MS)
            await dead_letters(it, made, early)
            await dead_letters(it, made, late[:3], Reason.REFUSED)
            await dead_letters(it, made, late[3:])
            await dead_letters(it, other, early)
            path = f"/v1/subscriptions/{made['id']}/replay"
            noon = "2025-06-15T15:07:00Z"  # NOW is 20 s before
            for body, replayed in (
                ({"until": noon, "reasons": ["refused"]}, 0),
                ({"since": noon, "reasons": ["expired", "deleted", "discarded"]}, 0),
                ({"reasons": []}, 0),
                ({"since": noon, "reasons": ["refused", "expired"]}, 3),
                ({"until": noon}, 4),
                (None, 3),
                ({}, 0),
            ):
                answer = await it.admin("POST", path, body)
                assert answer.json() == {"replayed": replayed, "more": False, "next": None}, body
            ledger = await checked_ledger(it.storage)
            assert (ledger[made["id"]].pending, ledger[made["id"]].dropped) == (10, 0)
            assert ledger[other["id"]].dropped == 4
            for body, says in (
                ({"since": "yesterday"}, "since must be a moment"),
                ({"reasons": ["unmatched"]}, "reasons[0] cannot be 'unmatched'"),
                ({"after": "x"}, "after"),
                ({"from": noon}, "from"),
            ):
                answer = await it.admin("POST", path, body)
                assert (answer.status_code, says in answer.json()["detail"]) == (422, True), body

    run(scenario())


@pytest.mark.parametrize("bound", ["REPLAYED_MAX", "READ_MAX"])
def test_a_request_ends_at_its_bound_and_the_next_goes_on(api, run, monkeypatch, bound):
    monkeypatch.setattr(replays, "STEP_ROWS", 4)
    monkeypatch.setattr(replays, bound, 8)

    async def scenario():
        async with api() as it:
            made = await it.subscription()
            messages = message_ids(18)
            await dead_letters(it, made, messages[::2])
            await dead_letters(it, made, messages[1::2], Reason.REFUSED)
            path = f"/v1/subscriptions/{made['id']}/replay"
            reasons = ["exhausted"] if bound == "READ_MAX" else ["exhausted", "refused"]
            counts, after = [], None
            while True:
                body = {"reasons": reasons} | ({"after": after} if after else {})
                answer = (await it.admin("POST", path, body)).json()
                counts.append(answer["replayed"])
                assert answer["more"] == (answer["next"] is not None)
                after = answer["next"]
                if not after:
                    break
                # What failed again meanwhile is not taken for another dead letter.
                newest = outcome(messages[-2], made["id"], DROPPED, 1, NOW + 99, reason=5)
                await it.storage.mark(chunks(newest))
            assert counts == ([4, 4, 1] if bound == "READ_MAX" else [8, 8, 2])
            await checked_ledger(it.storage)

    run(scenario())
