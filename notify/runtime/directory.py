"""What is configured, cached: services look here instead of asking the database per message."""

import asyncio

from notify.domain.model import Directory, Producer, Subscription
from notify.domain.ports import Random, Storage
from notify.runtime.steps import Stopping, run_every
from notify_core import fanout


class DirectoryCache:
    """The latest directory seen, with the lookups that hot paths need.

    A chunk carries the config version of the Api that accepted it; a Maker whose cache is
    older refreshes before it splits, so a subscription takes effect for every message that
    the same Api accepts after it answered 201.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._refreshing = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._set(Directory(version=-1, producers={}, consumers={}, subscriptions={}))

    @property
    def version(self) -> int:
        """The version of `current`."""
        return self.current.version

    def producer_of_key(self, key_hash: str) -> Producer | None:
        """The existing producer whose API key has this SHA-256 (hex)."""
        return self._by_key_hash.get(key_hash)

    async def refresh(self) -> None:
        """Look for changes now; after this `current` is at least as new as the call."""
        async with self._refreshing:
            if await self._storage.config_version() == self.version:
                return
            self._set(await self._storage.directory())
        async with self._changed:
            self._changed.notify_all()

    async def keep(self, interval_ms: int, stopping: Stopping, random: Random) -> None:
        """Look for changes until stopping."""
        await run_every("directory", self.refresh, interval_ms, stopping, random)

    async def wait_change(self, since: int) -> None:
        """Return when the version is not `since` any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.version != since)

    def _set(self, directory: Directory) -> None:
        self.current = directory
        self._by_key_hash = {
            producer.key_hash: producer
            for producer in directory.producers.values()
            if not producer.deleted_ms
        }
        self.live_subscriptions: dict[int, Subscription] = {
            subscription.id: subscription
            for subscription in directory.subscriptions.values()
            if not subscription.deleted_ms
        }
        self.table = fanout.Table(
            [
                (subscription.id, subscription.producer_id, subscription.types)
                for subscription in self.live_subscriptions.values()
            ]
        )
