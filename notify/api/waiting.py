"""Who waits for messages to be stored, and what they brought, from asking to being told."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from notify_core import receive

# Requests of one message share a batch up to so many messages and request bytes.
SHARED_ROWS_MAX: Final = 500
SHARED_BYTES_MAX: Final = 1 << 20


class Asker(Protocol):
    """Is told once how it ended: by `stored` or by `refused`, neither of which raises."""

    @property
    def gone(self) -> bool:
        """Nobody waits for the answer any more, so nothing need be stored."""

    def stored(self, ids: list[int]) -> None:
        """The messages are committed under these ids, in their order."""

    def refused(self, error: Exception) -> None:
        """Nothing was promised."""


class Caller:
    """An asker that awaits `ids`."""

    def __init__(self) -> None:
        self.ids: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    @property
    def gone(self) -> bool:
        """The call was cancelled."""
        return self.ids.done()

    def stored(self, ids: list[int]) -> None:
        """Return from the call."""
        if not self.gone:
            self.ids.set_result(ids)

    def refused(self, error: Exception) -> None:
        """Raise from the call."""
        if not self.gone:
            self.ids.set_exception(error)


@dataclass(slots=True, eq=False)
class Waiting:
    """Messages with their producers but without ids, that are stored all or none.

    askers: who brought them, one after the other. of_one: each brought one message, so that
    others may join; else there is one asker.
    """

    batch: receive.Batch
    body_bytes: int = 0
    askers: list[Asker] = field(default_factory=list)
    of_one: bool = False

    def has_room(self, body_bytes: int, rows_max: int) -> bool:
        """Whether another message of so many bytes may join."""
        return (
            self.of_one
            and len(self.askers) < min(SHARED_ROWS_MAX, rows_max)
            and self.body_bytes + body_bytes <= SHARED_BYTES_MAX
        )

    @property
    def gone(self) -> bool:
        """Nobody waits for these any more."""
        return all(asker.gone for asker in self.askers)

    def apart(self) -> "list[Waiting]":
        """The same, each asker for itself; nobody is left waiting here."""
        if len(self.askers) == 1:
            return [self]
        askers, self.askers = self.askers, []
        size = self.body_bytes // max(1, len(askers))
        return [Waiting(self.batch.take([n]), size, [one]) for n, one in enumerate(askers)]

    def stored(self, ids: list[int]) -> None:
        """Tell the askers."""
        askers, self.askers = self.askers, []
        if len(askers) == 1:
            askers[0].stored(ids)
        else:
            for asker, id_ in zip(askers, ids, strict=True):
                asker.stored([id_])

    def refused(self, error: Exception) -> None:
        """Tell those who were not told yet."""
        askers, self.askers = self.askers, []
        for asker in askers:
            asker.refused(error)


def refuse(several: Iterable[Waiting], error: Exception) -> None:
    """Tell all askers who were not told yet."""
    for waiting in several:
        waiting.refused(error)
