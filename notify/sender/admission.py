"""How many tries may be in flight in all, fairly shared."""

from math import inf
from typing import Protocol


class Guest(Protocol):
    """Who wants places: a lane."""

    places: int

    def pump(self) -> None:
        """Begin what may begin now."""


class Admission:
    """Bounds the tries in flight of one Sender: in_flight_max in all.

    A lane may have as many in flight as places are still free (the dynamic threshold of
    Choudhury and Hahne, made for the shared memory of switches). So k lanes that want
    everything come to equal shares and leave one share free, and the last place goes only to
    a lane that has none: endpoints that hang do not shut out the others.
    """

    def __init__(self, in_flight_max: int) -> None:
        self._max = in_flight_max
        self._waiting: dict[Guest, None] = {}
        # No lane that waits has fewer places than this.
        self._fewest: float = inf
        self._waking = False
        self.in_flight = 0

    def enter(self, guest: Guest) -> bool:
        """Take a place; False where it has to wait: it is pumped when it may have one."""
        if guest.places < self._max - self.in_flight:
            guest.places += 1
            self.in_flight += 1
            return True
        self._waiting[guest] = None
        self._fewest = min(self._fewest, guest.places)
        return False

    def leave(self, guest: Guest) -> None:
        """Give a place back, and let in who waits for one."""
        guest.places -= 1
        self.in_flight -= 1
        if self._waiting:
            if guest in self._waiting:
                self._fewest = min(self._fewest, guest.places)
            if not self._waking and self._fewest < self._max - self.in_flight:
                self._wake()

    def forget(self, guest: Guest) -> None:
        """It wants nothing any more."""
        self._waiting.pop(guest, None)

    def _wake(self) -> None:
        """Who has the fewest places goes first; of equals, who waits longest."""
        self._waking = True  # a lane that gives a place back at once must not come in here
        try:
            while self._waiting:
                guest = min(self._waiting, key=lambda one: one.places)
                self._fewest = guest.places
                if self._fewest >= self._max - self.in_flight:
                    return
                del self._waiting[guest]
                guest.pump()
            self._fewest = inf
        finally:
            self._waking = False
