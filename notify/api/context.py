"""What the handlers of the Api work with, handed in once."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from notify.api.accept import Acceptor
from notify.api.auth import Keys
from notify.api.metrics import ApiMetrics
from notify.config import Config
from notify.domain.errors import Conflict, StorageError
from notify.domain.ports import Clock, Queue, Random, Storage
from notify.runtime.directory import DirectoryCache
from notify.runtime.message_ids import MessageIds

_NAMED_MAX: Final = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """The ports and parts of one Api process.

    changing is held from reading to writing a configured object: storage writes whole objects,
    so two changes of one object must not overlap.
    """

    storage: Storage
    queue: Queue
    directory: DirectoryCache
    message_ids: MessageIds
    clock: Clock
    random: Random
    config: Config
    acceptor: Acceptor
    metrics: ApiMetrics
    keys: Keys
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def changed(self) -> None:
        """Make this process see a change at once; a failure does not undo what is stored."""
        try:
            await self.directory.refresh()
        except StorageError as error:
            _log.warning("a change is stored, but not seen yet: %s", error)

    def check_unsubscribed(self, kind: str, field_name: str, number: int) -> None:
        """Raises Conflict while subscriptions of this producer or consumer exist."""
        held = sorted(
            subscription.id
            for subscription in self.directory.live_subscriptions.values()
            if getattr(subscription, field_name) == number
        )
        if held:
            some = ", ".join(map(str, held[:_NAMED_MAX])) + ("…" if len(held) > _NAMED_MAX else "")
            raise Conflict(f"the {kind} still has subscriptions (ids {some}); delete them first")
