"""What a Sender keeps of one consumer while it holds it: its endpoint's state, its lanes."""

from collections import deque
from typing import TYPE_CHECKING

from notify.domain.errors import InvalidInput, TransportError
from notify.domain.model import Consumer
from notify.sender.pace import Pace
from notify.sender.protocols.target import Target
from notify.sender.rate import Rate
from notify.sender.targets import Targets

if TYPE_CHECKING:
    from notify.sender.lane import Lane


class Destination:
    """One consumer. held_since_ms: since when this Sender holds it (unix ms)."""

    def __init__(self, consumer_id: int, pace: Pace, held_since_ms: int) -> None:
        self.consumer_id = consumer_id
        self.pace = pace
        self.held_since_ms = held_since_ms
        self.lanes: deque[Lane] = deque()
        self.target: Target | None = None
        # Nothing but 2xx makes a delivery here, and nothing has to be fetched before a try.
        self.plain = False
        self._problem = ""
        # What a CloudEvents endpoint allows, once it said so.
        self.rate: Rate | None = None
        self._consumer: Consumer | None = None
        self._pumping = False

    @property
    def name(self) -> str:
        """How the operator knows it."""
        name = self._consumer.name if self._consumer else "?"
        return f"consumer {self.consumer_id} ({name})"

    def aim(self, consumer: Consumer, targets: Targets) -> None:
        """Take its configuration, where it changed; no target: it cannot be called by that."""
        if self._consumer is consumer:
            return
        self._consumer = consumer
        self.rate = None
        try:
            self.target = targets.of(consumer)
            self.plain = not self.target.kept_bytes and not self.target.has_access
        except InvalidInput as error:
            self.target, self.plain, self._problem = None, False, str(error)

    def checked_target(self) -> Target:
        """The target. Raises TransportError where there is none."""
        if self.target is None:
            raise TransportError("address", self._problem)
        return self.target

    def pump(self, now_ms: int = 0) -> None:
        """Have its lanes begin what they may, in turn; now_ms: for who knows what time it is."""
        if len(self.lanes) == 1:
            self.lanes[0].pump(now_ms)
            return
        if self._pumping:
            return
        self._pumping = True
        try:
            self.lanes.rotate(-1)
            for lane in list(self.lanes):
                lane.pump(now_ms)
        finally:
            self._pumping = False
