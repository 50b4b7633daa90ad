"""Reading what streams hold, page by page, without claiming anything."""

from collections.abc import AsyncIterator, Collection
from typing import Final, NamedTuple

from notify.domain.ports import Content, Queue, Stream, StreamKind
from notify_core import chunk
from notify_core.errors import ChunkError
from notify_core.records import DeliveryRecord

PAGE_CHUNKS: Final = 20


class Copy(NamedTuple):
    """A delivery in a chunk that nobody has claimed. entry: the chunk."""

    entry: str
    attempts: int


class Look:
    """A subscription's queue at about one moment.

    What a claimed chunk holds is there, but says no more: its holder may have decided it, and
    pushed what follows from it, long before it lets the whole chunk go.
    """

    def __init__(self) -> None:
        self._claimed: set[int] = set()
        self._first: dict[int, Copy] = {}
        self._more: dict[int, list[Copy]] = {}
        self._entries: set[str] = set()

    def __contains__(self, message_id: int) -> bool:
        return message_id in self._claimed or message_id in self._first

    @property
    def waiting(self) -> Collection[int]:
        """The messages that are in chunks which nobody has claimed."""
        return self._first.keys()

    @property
    def doubled(self) -> Collection[int]:
        """Those of them that are there more than once."""
        return self._more.keys()

    def copies(self, message_id: int) -> list[Copy]:
        """Where a message waits."""
        first = self._first.get(message_id)
        return self._more.get(message_id) or ([first] if first else [])

    def add(self, content: Content) -> None:
        """Take in a chunk. The same again changes nothing; one nobody can read is empty."""
        if content.entry in self._entries:
            return
        self._entries.add(content.entry)
        for delivery in deliveries_of(content):
            id_ = delivery.message.id
            if content.claimed:
                self._claimed.add(id_)
                continue
            copy = Copy(content.entry, delivery.attempts)
            if (first := self._first.setdefault(id_, copy)) is not copy:
                self._more.setdefault(id_, [first]).append(copy)


async def look(queue: Queue, stream: Stream) -> Look:
    """All of a subscription's queue."""
    found = Look()
    async for content in contents(queue, stream):
        found.add(content)
    return found


async def contents(queue: Queue, stream: Stream) -> AsyncIterator[Content]:
    """Every chunk of a stream, perhaps twice."""
    after = ""
    while True:
        page, after = await queue.contents(stream, after, PAGE_CHUNKS)
        for content in page:
            yield content
        if not after:
            return


async def held(queue: Queue, stream: Stream, sub_id: int, wanted: set[int]) -> set[int]:
    """Which of these messages (for the mark stream: of a subscription's) a stream holds."""
    found: set[int] = set()
    async for content in contents(queue, stream):
        found |= wanted.intersection(_message_ids(stream, content, sub_id))
    return found


def deliveries_of(content: Content) -> list[DeliveryRecord]:
    """The deliveries of a chunk; none where it cannot be read: its claimer leaves them too."""
    try:
        return chunk.unpack_deliveries(content.chunk)[1]
    except ChunkError:
        return []


def _message_ids(stream: Stream, content: Content, sub_id: int) -> list[int]:
    try:
        if stream.kind is StreamKind.INGEST:
            return [message.id for message in chunk.unpack_messages(content.chunk)[1]]
        if stream.kind is StreamKind.MARK:
            outcomes = chunk.unpack_outcomes(content.chunk)
            return [outcome.msg_id for outcome in outcomes if outcome.sub_id == sub_id]
        return [delivery.message.id for delivery in deliveries_of(content)]
    except ChunkError:
        return []  # whoever claims it leaves it to the Rescuer
