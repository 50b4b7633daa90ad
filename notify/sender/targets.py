"""The target of each consumer: everything that its requests share, worked out once per change."""

from collections.abc import Mapping
from typing import Final

from notify.domain.dialect import Protocol
from notify.domain.model import Consumer
from notify.sender.protocols.cloudevents import BinaryTarget, StructuredTarget
from notify.sender.protocols.target import Target
from notify.sender.protocols.x5 import X5Target

_KINDS: Final[Mapping[Protocol, type[Target]]] = {
    Protocol.STANDARD: Target,
    Protocol.X5: X5Target,
    Protocol.CLOUDEVENTS_BINARY: BinaryTarget,
    Protocol.CLOUDEVENTS_STRUCTURED: StructuredTarget,
}


class Targets:
    """The targets by consumer; rebuilt when the consumer changed.

    origin: who asks, where consumers are asked whether they want deliveries (sender.origin).
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._by_consumer: dict[int, Target] = {}

    def of(self, consumer: Consumer) -> Target:
        """The target of a consumer. Raises InvalidInput where it cannot be called."""
        target = self._by_consumer.get(consumer.id)
        if target is None or target.consumer is not consumer:
            # Read again for another's change it is equal, and what was fetched for it still good.
            if target is not None and target.consumer == consumer:
                target.consumer = consumer
                return target
            target = _KINDS[consumer.protocol](consumer, self._origin)
            self._by_consumer[consumer.id] = target
        return target
