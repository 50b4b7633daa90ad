"""What a Sender keeps of one consumer while it holds it: its endpoint's state, its lanes."""

from collections import deque
from typing import Protocol

from notify.domain.model import Consumer
from notify.sender.pace import Pace
from notify.sender.rate import Rate
from notify.sender.targets import Target


class Pumped(Protocol):
    """A lane, as far as its destination knows it."""

    def pump(self) -> None:
        """Begin what may begin now."""


class Destination:
    """One consumer. held_since_ms: since when this Sender holds it (unix ms)."""

    def __init__(self, consumer_id: int, pace: Pace, held_since_ms: int) -> None:
        self.consumer_id = consumer_id
        self.pace = pace
        self.held_since_ms = held_since_ms
        self.lanes: deque[Pumped] = deque()
        self.target: Target | None = None
        self.problem = ""
        # What a CloudEvents endpoint allows, once it said so.
        self.rate: Rate | None = None
        self._consumer: Consumer | None = None
        self._pumping = False

    @property
    def name(self) -> str:
        """How the operator knows it."""
        name = self._consumer.name if self._consumer else "?"
        return f"consumer {self.consumer_id} ({name})"

    def aim(self, consumer: Consumer, make: "MakeTarget") -> None:
        """Take its configuration, where it changed; problem: why it cannot be called."""
        if self._consumer is not consumer:
            self._consumer = consumer
            self.target, self.problem = make(consumer)
            self.rate = None

    def pump(self) -> None:
        """Have its lanes begin what they may, in turn."""
        if self._pumping:
            return
        self._pumping = True
        try:
            if len(self.lanes) > 1:
                self.lanes.rotate(-1)
                for lane in list(self.lanes):
                    lane.pump()
            elif self.lanes:
                self.lanes[0].pump()
        finally:
            self._pumping = False


class MakeTarget(Protocol):
    """How a target is made of a consumer."""

    def __call__(self, consumer: Consumer, /) -> tuple[Target | None, str]:
        """The target, or None and why there is none."""
