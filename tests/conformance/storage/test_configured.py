"""Producers, consumers, subscriptions and the directory."""

import asyncio
from itertools import pairwise

import msgspec
import pytest

from notify.domain.dialect import Basic, Bearer, ClientIdentity, OAuth2, Protocol, X5Account
from notify.domain.errors import Conflict, NotFound
from notify.domain.model import Consumer, Subscription, SubscriptionStatus
from notify.domain.policy import Batch, BatchFormat, Ordering
from notify.domain.ports import Storage
from notify.domain.retry import Retry
from tests.conformance.storage.backends import Backend, Run
from tests.conformance.storage.samples import NOW, new_consumer

SECRETS = ("whsec_bmV3", "whsec_b2xk")


def new_subscription(**fields: object) -> Subscription:
    given = {"id": 0, "producer_id": 1, "consumer_id": 1, "created_ms": NOW, "updated_ms": NOW}
    return Subscription(**{**given, **fields})  # type: ignore[arg-type]


def replace(thing, **changes):  # type: ignore[no-untyped-def]
    return msgspec.structs.replace(thing, **changes)


async def add_consumer(storage: Storage, name: str, **fields: object) -> Consumer:
    return await storage.add_consumer(new_consumer(name, secrets=SECRETS, **fields))


def test_an_empty_storage_has_an_empty_directory(storage: Storage, run: Run) -> None:
    directory = run(storage.directory())
    assert directory.version == run(storage.config_version())
    assert not directory.producers
    assert not directory.consumers
    assert not directory.subscriptions


def test_what_is_added_is_in_the_directory(storage: Storage, run: Run) -> None:
    producer = run(storage.add_producer("订单系统 🛒", "ab" * 32, NOW))
    consumer = run(add_consumer(storage, "物流", headers={"x-team": "1"}))
    retry = Retry(initial_ms=100, factor=2.0, max_ms=5000, attempts=4)
    new = new_subscription(
        types=("order.*", "a"), retry=retry, concurrency_max=3, status=SubscriptionStatus.PAUSED,
        status_reason="not yet", id=99,
    )  # fmt: skip
    subscription = run(storage.add_subscription(new))
    assert producer.created_ms == producer.updated_ms == NOW
    assert not producer.deleted_ms
    assert consumer == new_consumer(
        "物流", id=consumer.id, headers={"x-team": "1"}, secrets=SECRETS
    )
    assert subscription == replace(new, id=subscription.id)
    directory = run(storage.directory())
    assert directory.producers == {producer.id: producer}
    assert directory.consumers == {consumer.id: consumer}
    assert directory.subscriptions == {subscription.id: subscription}


@pytest.mark.parametrize(
    "fields",
    [
        {"auth": Basic("ü", "pass:wörd"), "handshake": True},
        {"auth": Bearer("t"), "protocol": Protocol.CLOUDEVENTS_BINARY, "signed": False},
        {"auth": OAuth2("https://id.example/token", "me", "s", "a b", {"audience": "x"})},
        {"protocol": Protocol.X5, "x5": X5Account("app", "k3y 钥")},
        {"identity": ClientIdentity("ca\n", "certificate\n" * 2000, "key", "http://p:1")},
    ],
)
def test_how_a_consumer_is_spoken_to_is_stored(
    storage: Storage, run: Run, fields: dict[str, object]
) -> None:
    plain = run(add_consumer(storage, "plain"))
    stored = run(add_consumer(storage, "special", **fields))
    assert stored == replace(plain, id=stored.id, name="special", **fields)
    assert run(storage.directory()).consumers == {plain.id: plain, stored.id: stored}
    changed = replace(plain, **fields)
    run(storage.update_consumer(changed))
    assert run(storage.directory()).consumers[plain.id] == changed


def test_retry_and_types_may_be_left_to_the_defaults(storage: Storage, run: Run) -> None:
    stored = run(storage.add_subscription(new_subscription()))
    read = run(storage.directory()).subscriptions[stored.id]
    assert (read.types, read.retry, read.concurrency_max) == ((), None, None)
    scheduled = replace(stored, retry=Retry(schedule_ms=(1, 2), jitter=0.0))
    run(storage.update_subscription(scheduled))
    assert run(storage.directory()).subscriptions[stored.id] == scheduled


@pytest.mark.parametrize(
    "policy",
    [
        {"rate_per_s": 0.5, "rate_burst": 3, "ordering": Ordering.STRICT},
        {"rate_per_s": 5.0, "permanent_codes": (400, "5xx", 410), "ordering": Ordering.KEY},
        {"permanent_codes": (), "batch": Batch(size_max=2, format=BatchFormat.NDJSON)},
        {"batch": Batch(size_max=9, format=BatchFormat.JSON, wait_ms=5, bytes_max=2048)},
        {"retry": Retry(schedule_ms=(1, 2), total_ms=77)},
    ],
)
def test_a_delivery_policy_is_kept_as_it_is(
    storage: Storage, run: Run, policy: dict[str, object]
) -> None:
    stored = run(storage.add_subscription(new_subscription(**policy)))
    assert run(storage.directory()).subscriptions[stored.id] == stored
    assert all(getattr(stored, name) == value for name, value in policy.items())
    plain = new_subscription(id=stored.id)
    run(storage.update_subscription(plain))
    assert run(storage.directory()).subscriptions[stored.id] == plain


def test_ids_begin_at_1_and_are_never_used_again(storage: Storage, run: Run) -> None:
    first = run(storage.add_producer("one", "h", NOW))
    second = run(storage.add_producer("two", "h", NOW))
    assert (first.id, second.id) == (1, 2)
    run(storage.update_producer(replace(second, deleted_ms=NOW + 1)))
    assert run(storage.add_producer("three", "h", NOW)).id == 3
    for _ in range(2):
        stored = run(storage.add_subscription(new_subscription()))
        run(storage.update_subscription(replace(stored, deleted_ms=NOW)))
    assert set(run(storage.directory()).subscriptions) == {1, 2}
    gone = run(add_consumer(storage, "gone"))
    run(storage.update_consumer(replace(gone, deleted_ms=NOW)))
    assert run(add_consumer(storage, "gone")).id == gone.id + 1


def test_a_name_is_taken_until_its_holder_is_deleted(storage: Storage, run: Run) -> None:
    producer = run(storage.add_producer("same", "h", NOW))
    consumer = run(add_consumer(storage, "same"))
    with pytest.raises(Conflict, match="same"):
        run(storage.add_producer("same", "h", NOW))
    with pytest.raises(Conflict, match="same"):
        run(add_consumer(storage, "same"))
    run(storage.update_producer(replace(producer, deleted_ms=NOW + 1)))
    run(storage.update_consumer(replace(consumer, deleted_ms=NOW + 1)))
    assert run(storage.add_producer("same", "h", NOW)).id != producer.id
    assert run(add_consumer(storage, "same")).id != consumer.id
    # Both deleted ones and their successors are told apart by id.
    assert len(run(storage.directory()).producers) == 2


def test_names_differ_by_case_and_accent(storage: Storage, run: Run) -> None:
    names = ["Shop", "shop", "shóp", "shop "]
    stored = [run(storage.add_producer(name, "h", NOW)) for name in names]
    read = run(storage.directory()).producers
    assert [read[producer.id].name for producer in stored] == names


def test_a_refused_name_changes_nothing(storage: Storage, run: Run) -> None:
    run(storage.add_producer("taken", "h", NOW))
    other = run(storage.add_producer("other", "h", NOW))
    consumer = run(add_consumer(storage, "taken"))
    second = run(add_consumer(storage, "second"))
    before = run(storage.directory())
    with pytest.raises(Conflict, match="taken"):
        run(storage.update_producer(replace(other, name="taken", key_hash="new")))
    with pytest.raises(Conflict, match="taken"):
        run(storage.update_consumer(replace(second, name=consumer.name)))
    assert run(storage.directory()) == before


def test_an_update_stores_every_field_and_may_be_repeated(storage: Storage, run: Run) -> None:
    producer = run(storage.add_producer("p", "h", NOW))
    consumer = run(add_consumer(storage, "c"))
    subscription = run(storage.add_subscription(new_subscription()))
    producer = replace(producer, name="p2", key_hash="h2", updated_ms=NOW + 5)
    consumer = replace(
        consumer, name="c2", url="http://x", secrets=(), headers={"é": "ü"}, timeout_ms=1,
        updated_ms=NOW + 5,
    )  # fmt: skip
    subscription = replace(
        subscription, producer_id=4, consumer_id=5, types=("x",), concurrency_max=1,
        status=SubscriptionStatus.DISCARDED, status_reason="410", updated_ms=NOW + 5,
    )  # fmt: skip
    for _ in range(2):
        run(storage.update_producer(producer))
        run(storage.update_consumer(consumer))
        run(storage.update_subscription(subscription))
    directory = run(storage.directory())
    assert directory.producers == {producer.id: producer}
    assert directory.consumers == {consumer.id: consumer}
    assert directory.subscriptions == {subscription.id: subscription}


def test_what_does_not_exist_is_not_found(storage: Storage, run: Run) -> None:
    producer = replace(run(storage.add_producer("p", "h", NOW)), id=77)
    consumer = replace(run(add_consumer(storage, "c")), id=77)
    with pytest.raises(NotFound, match="77"):
        run(storage.update_producer(replace(producer, name="other")))
    with pytest.raises(NotFound, match="77"):
        run(storage.update_consumer(replace(consumer, name="other")))
    with pytest.raises(NotFound, match="77"):
        run(storage.update_subscription(new_subscription(id=77)))
    with pytest.raises(NotFound, match="77"):
        run(storage.set_subscription_status(77, SubscriptionStatus.PAUSED, "", NOW))


def test_what_is_deleted_stays_deleted(storage: Storage, run: Run) -> None:
    producer = run(storage.add_producer("p", "h", NOW))
    consumer = run(add_consumer(storage, "c"))
    subscription = run(storage.add_subscription(new_subscription()))
    for update, thing in (
        (storage.update_producer, producer),
        (storage.update_consumer, consumer),
        (storage.update_subscription, subscription),
    ):
        for _ in range(2):
            run(update(replace(thing, deleted_ms=NOW + 1)))
        with pytest.raises(NotFound):
            run(update(replace(thing, updated_ms=NOW + 2)))
    with pytest.raises(NotFound):
        run(
            storage.set_subscription_status(subscription.id, SubscriptionStatus.PAUSED, "", NOW + 2)
        )
    assert run(storage.directory()).producers[producer.id].deleted_ms == NOW + 1


def test_the_status_is_changed_alone(storage: Storage, run: Run) -> None:
    stored = run(storage.add_subscription(new_subscription(types=("a",), concurrency_max=2)))
    for _ in range(2):
        changed = run(
            storage.set_subscription_status(
                stored.id, SubscriptionStatus.PAUSED, "maintenance ✋", NOW + 9
            )
        )
    expected = replace(
        stored,
        status=SubscriptionStatus.PAUSED,
        status_reason="maintenance ✋",
        updated_ms=NOW + 9,
    )
    assert changed == expected
    assert run(storage.directory()).subscriptions[stored.id] == expected


def test_every_change_raises_the_version(storage: Storage, run: Run) -> None:
    versions = [run(storage.config_version())]

    def note() -> None:
        versions.append(run(storage.config_version()))
        assert run(storage.directory()).version == versions[-1]

    producer = run(storage.add_producer("p", "h", NOW))
    note()
    consumer = run(add_consumer(storage, "c"))
    note()
    subscription = run(storage.add_subscription(new_subscription()))
    note()
    run(storage.update_producer(producer))
    note()
    run(storage.update_consumer(consumer))
    note()
    run(storage.update_subscription(subscription))
    note()
    run(storage.set_subscription_status(1, SubscriptionStatus.PAUSED, "", NOW))
    note()
    assert all(before < after for before, after in pairwise(versions))


def test_nothing_else_raises_the_version(storage: Storage, run: Run) -> None:
    run(storage.add_producer("p", "h", NOW))
    before = run(storage.config_version())
    with pytest.raises(Conflict):
        run(storage.add_producer("p", "h", NOW))
    run(storage.set_note("anything", 5))
    run(storage.lease_worker("me", NOW, 1000))
    assert run(storage.config_version()) == before


def test_concurrent_additions_get_ids_of_their_own(storage: Storage, run: Run) -> None:
    async def add_many() -> list[int]:
        added = await asyncio.gather(
            *(storage.add_producer(f"p{n}", "h", NOW) for n in range(10)),
            *(add_consumer(storage, f"c{n}") for n in range(10)),
        )
        return [thing.id for thing in added]

    made = run(add_many())
    assert sorted(made[:10]) == sorted(made[10:]) == list(range(1, 11))


def test_one_of_two_takes_a_name(storage: Storage, run: Run) -> None:
    async def race() -> list[object]:
        return await asyncio.gather(
            *(storage.add_producer("same", "h", NOW) for _ in range(4)), return_exceptions=True
        )

    answers = run(race())
    assert sum(isinstance(answer, Conflict) for answer in answers) == 3
    assert len(run(storage.directory()).producers) == 1


def test_the_directory_outlives_a_restart(durable: Backend, run: Run) -> None:
    storage = durable.storage
    run(storage.add_producer("p", "h", NOW))
    run(add_consumer(storage, "c"))
    run(storage.add_subscription(new_subscription(types=("a.*",))))
    before = run(storage.directory())
    assert run(run_reopened(durable)) == before


async def run_reopened(durable: Backend) -> object:
    return await (await durable.reopen()).directory()
