"""The judge's book: what was promised with a 202, what arrived, and what arrived again."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.support.receiver import Key


class Taken(NamedTuple):
    """A delivery that a consumer answered with 2xx. number: the payload says which message.

    at: the machine's monotonic clock, which all its processes share.
    """

    message: int
    subscription: int
    number: int
    at: float

    @property
    def key(self) -> Key:
        return self.message, self.subscription


@dataclass
class Book:
    """matching: the subscriptions that each event type goes to."""

    matching: dict[str, tuple[int, ...]]
    ids: dict[int, int] = field(default_factory=dict)
    first_taken: dict[Key, float] = field(default_factory=dict)
    again: list[Taken] = field(default_factory=list)
    _owed: dict[Key, float] = field(default_factory=dict)
    _unpromised: dict[Key, int] = field(default_factory=dict)

    @property
    def subscriptions(self) -> set[int]:
        """All of them."""
        return {subscription for matching in self.matching.values() for subscription in matching}

    def promise(self, number: int, message: int, event_type: str, at: float) -> None:
        """A message was accepted; the same number again must have the same id."""
        if number in self.ids:
            assert self.ids[number] == message, f"message {number} was stored twice"
            return
        self.ids[number] = message
        for subscription in self.matching[event_type]:
            key = message, subscription
            if key not in self.first_taken:
                self._owed[key] = at
            else:
                assert self._unpromised.pop(key) == number, f"{key} had another one's payload"

    def take(self, arrivals: Iterable[Taken]) -> None:
        """Deliveries arrived, in any order."""
        for taken in arrivals:
            if taken.key in self.first_taken:
                self.again.append(taken)
                continue
            self.first_taken[taken.key] = taken.at
            if self._owed.pop(taken.key, None) is None:
                # Its request may be under way still, or have ended without an answer.
                self._unpromised[taken.key] = taken.number
            else:
                assert self.ids[taken.number] == taken.message, f"{taken} has a wrong payload"

    def owed(self, until: float) -> list[Key]:
        """What was promised until then and did not arrive."""
        return [key for key, at in self._owed.items() if at <= until]

    @property
    def unpromised(self) -> Collection[Key]:
        """What arrived although nobody was told that it was accepted, or to the wrong one."""
        return self._unpromised.keys()

    def in_flight(self, since: float, until: float, unmarked: Collection[Key]) -> set[Key]:
        """Deliveries that a fault may have doubled.

        unmarked: what the database showed as open at `since`, just before the fault. Of these,
        what consumers had taken already; and whatever they took from then on until the fault had
        had its effect: nothing of that was marked when it began.
        """
        began = {key for key, at in self.first_taken.items() if since <= at <= until}
        return began | {key for key in unmarked if key in self.first_taken}
