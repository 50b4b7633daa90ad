"""The cached directory: read anew only when it changed."""

import asyncio
from typing import Any

from notify.domain.model import Directory, Subscription, SubscriptionStatus
from notify.runtime.directory import DirectoryCache
from notify.storage.sqlite import SqliteStorage
from tests.conformance.storage.samples import new_consumer


class CountingStorage(SqliteStorage):
    """Counts how often the whole directory is read; reading takes a moment."""

    def __init__(self) -> None:
        super().__init__(":memory:", inline=True)
        self.reads = 0

    async def directory(self) -> Directory:
        self.reads += 1
        read = await super().directory()
        await asyncio.sleep(1)
        return read


async def opened() -> tuple[CountingStorage, DirectoryCache]:
    storage = CountingStorage()
    await storage.open()
    return storage, DirectoryCache(storage)


async def configured(storage: SqliteStorage) -> tuple[int, int, int]:
    """One producer, consumer and subscription; their ids."""
    producer = await storage.add_producer("shop", "hash", 1)
    consumer = await storage.add_consumer(new_consumer("mail"))
    subscription = await storage.add_subscription(
        Subscription(
            id=0,
            created_ms=1,
            updated_ms=1,
            producer_id=producer.id,
            consumer_id=consumer.id,
            types=("order.*",),
        )
    )
    return producer.id, consumer.id, subscription.id


def test_it_is_read_again_only_where_the_version_changed(simulate: Any) -> None:
    async def work() -> None:
        storage, directory = await opened()
        assert directory.version == -1
        for _ in range(3):
            await directory.refresh()
        assert (storage.reads, directory.version) == (1, await storage.config_version())
        await storage.add_producer("shop", "hash", 1)
        await asyncio.gather(*[directory.refresh() for _ in range(5)])
        assert storage.reads == 2
        assert directory.producer_of_key("hash")
        await storage.close()

    simulate(work())


def test_a_refresh_sees_what_changed_during_another_one(simulate: Any) -> None:
    async def work() -> None:
        storage, directory = await opened()
        first = asyncio.create_task(directory.refresh())
        await asyncio.sleep(0.5)  # it has read the rows already
        await storage.add_producer("late", "hash", 1)
        await directory.refresh()
        assert first.done()
        assert directory.producer_of_key("hash")
        await storage.close()

    simulate(work())


def test_lookups_know_what_exists_and_keep_what_was_deleted_apart(simulate: Any) -> None:
    async def work() -> None:
        storage, directory = await opened()
        producer_id, consumer_id, sub_id = await configured(storage)
        await directory.refresh()
        assert directory.table.match(producer_id, "order.paid") == (sub_id,)
        assert directory.table.match(producer_id, "stock.changed") == ()
        assert directory.producer_of_key("hash") == directory.current.producers[producer_id]
        assert directory.producer_of_key("other") is None

        await storage.set_subscription_status(sub_id, SubscriptionStatus.PAUSED, "why", 2)
        await directory.refresh()
        paused = directory.live_subscriptions[sub_id]
        assert (paused.status, paused.status_reason) == (SubscriptionStatus.PAUSED, "why")
        assert directory.table.match(producer_id, "order.paid") == (sub_id,)

        for changed, store in (
            (paused, storage.update_subscription),
            (directory.current.producers[producer_id], storage.update_producer),
            (directory.current.consumers[consumer_id], storage.update_consumer),
        ):
            fields = {name: getattr(changed, name) for name in changed.__struct_fields__}
            await store(type(changed)(**fields | {"deleted_ms": 3}))
        await directory.refresh()
        assert not directory.live_subscriptions
        assert directory.table.match(producer_id, "order.paid") == ()
        assert directory.producer_of_key("hash") is None
        assert directory.current.subscriptions[sub_id].deleted_ms == 3
        assert directory.current.consumers[consumer_id].deleted_ms == 3
        await storage.close()

    simulate(work())


def test_a_change_wakes_who_waits_for_it(simulate: Any) -> None:
    async def work() -> None:
        storage, directory = await opened()
        await directory.refresh()
        await directory.wait_change(-1)  # long past
        waiting = asyncio.create_task(directory.wait_change(directory.version))
        await directory.refresh()
        assert not waiting.done()
        await storage.add_producer("shop", "hash", 1)
        await directory.refresh()
        await waiting
        await storage.close()

    simulate(work())
