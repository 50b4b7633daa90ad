"""How many tries may be in flight in all, fairly shared."""

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
        # Who waits, and how many places it had then: those with as many stand in one line.
        self._waiting: dict[Guest, int] = {}
        self._lines: dict[int, dict[Guest, None]] = {}
        self._waking = False
        self.in_flight = 0

    def enter(self, guest: Guest) -> bool:
        """Take a place; False where it has to wait: it is pumped when it may have one."""
        if guest.places < self._max - self.in_flight:
            if guest in self._waiting:
                self.forget(guest)
            guest.places += 1
            self.in_flight += 1
            return True
        if guest not in self._waiting:
            self._line_up(guest)
        return False

    def leave(self, guest: Guest) -> None:
        """Give a place back, and let in who waits for one."""
        guest.places -= 1
        self.in_flight -= 1
        if self._waiting:
            if guest in self._waiting:
                self.forget(guest)
                self._line_up(guest)
            if not self._waking:
                self._wake()

    def forget(self, guest: Guest) -> None:
        """It wants nothing any more."""
        places = self._waiting.pop(guest, None)
        if places is not None:
            line = self._lines[places]
            del line[guest]
            if not line:
                del self._lines[places]

    def _line_up(self, guest: Guest) -> None:
        self._waiting[guest] = guest.places
        self._lines.setdefault(guest.places, {})[guest] = None

    def _wake(self) -> None:
        """Who has the fewest places goes first; of equals, who waits longest."""
        self._waking = True  # a lane that gives a place back at once must not come in here
        try:
            while self._lines:
                fewest = min(self._lines)
                if fewest >= self._max - self.in_flight:
                    return
                guest = next(iter(self._lines[fewest]))
                self.forget(guest)
                guest.pump()
        finally:
            self._waking = False
