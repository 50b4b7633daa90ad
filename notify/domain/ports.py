"""What services need of the world. Adapters implement these; services know nothing else.

Every adapter of Storage and of Queue passes one conformance suite (tests/conformance).
All times are unix milliseconds. Storage methods raise StorageUnavailable (retry) or
StorageRefused (give up); queue methods raise QueueUnavailable (retry) or QueueLost (rebuild).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from notify.domain.errors import TransportError
from notify.domain.model import (
    Attempt,
    Consumer,
    Delivery,
    DeliveryStatus,
    Directory,
    LedgerRow,
    Message,
    Producer,
    Subscription,
    SubscriptionStatus,
)
from notify_core import fanout, receive
from notify_core.records import DeliveryRecord, MessageRecord


class Clock(Protocol):
    """Time, handed in so that a simulation can own it."""

    def now_ms(self) -> int:
        """Unix milliseconds."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Random(Protocol):
    """Randomness, handed in so that a simulation can repeat it."""

    def random(self) -> float:
        """0 <= x < 1."""

    def token_bytes(self, n: int) -> bytes:
        """So many bytes fit for keys and secrets."""


# --- storage ------------------------------------------------------------------------------


class Inserted(NamedTuple):
    """The answer to insert_messages, in the order of the batch.

    ids: each message's id; of a message whose idempotency key is known, the earlier one.
    fresh: the positions that became new messages.
    """

    ids: list[int]
    fresh: list[int]


class Standing(NamedTuple):
    """How far a delivery is: its status, and the HTTP tries that were marked so far."""

    status: DeliveryStatus
    attempts: int


class OrderHead(NamedTuple):
    """The latest delivery of a key that was begun, of a subscription that delivers in order.

    sequence: its number, from 1 on. previous_id: the message before it, 0 for none.
    """

    key: str
    sequence: int
    message_id: int
    previous_id: int


class WorkerLease(NamedTuple):
    """A worker number (0..255) of the id maker, held until expires_ms.

    floor_ms: no id at or before this moment, an earlier holder may have made it.
    """

    worker: int
    expires_ms: int
    floor_ms: int


class DeliveryFilter(NamedTuple):
    """Which deliveries to list; None leaves a field open.

    Times are of message acceptance, since_ms <= t < until_ms. What matched nobody is listed
    for subscription 0 only.
    """

    subscription_id: int | None = None
    status: DeliveryStatus | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class Difference(NamedTuple):
    """By how much an account is wrong: what was counted less what is kept, column by column.

    places: where an adapter keeps queued deliveries by place too: (place, counted less kept) of
    each that is wrong.
    """

    matched: int
    delivered: int
    dropped: int
    queued: int
    pending: int
    places: tuple[tuple[int, int], ...] = ()


class QueuedSpan(NamedTuple):
    """Messages above after_id, up to last_id, some of which a subscription has queued."""

    subscription_id: int
    after_id: int
    last_id: int


class QueuedRow(NamedTuple):
    """A queued delivery of one subscription, as it was when it was read."""

    message_id: int
    attempts: int
    updated_ms: int


class Audit(NamedTuple):
    """What counting every delivery found.

    counted: the accounts. differences: of the accounts that are kept wrong, by subscription.
    unlisted: pending or dropped deliveries (message id, subscription id) that are missing in the
    lists by which these are found, so many as the adapter's bound allows. spans: where the queued
    ones are. page_ends: rising message ids, the last of each page that was read. corrections: how
    often accounts were corrected before, see `correct_ledger`. moving: accounts that were seen to
    change meanwhile, which is none where all was read as of one moment.
    """

    counted: list[LedgerRow]
    differences: dict[int, Difference]
    unlisted: list[tuple[int, int]]
    spans: list[QueuedSpan]
    page_ends: list[int]
    corrections: int
    moving: frozenset[int] = frozenset()


class Storage(Protocol):
    """The database: the only truth. Every write is idempotent unless it says otherwise."""

    async def open(self) -> None:
        """Connect and check the schema (the embedded one is created or upgraded).

        It may be called again after it raised: StorageUnavailable says that this can succeed.
        """

    async def close(self) -> None:
        """Finish what runs and disconnect."""

    # What is configured. Every change raises the version that `config_version` answers.

    async def config_version(self) -> int:
        """The version of the directory; cheap."""

    async def directory(self) -> Directory:
        """Everything configured, deleted objects included."""

    async def add_producer(self, name: str, key_hash: str, now_ms: int) -> Producer:
        """A new producer. Raises Conflict where the name is taken."""

    async def add_consumer(self, new: Consumer) -> Consumer:
        """A new consumer; the id in `new` is ignored. Raises Conflict where the name is taken."""

    async def add_subscription(self, new: Subscription) -> Subscription:
        """A new subscription; the id in `new` is ignored, the stored one is in the answer.

        Ids of producers, consumers and subscriptions rise and are never used again.
        """

    async def update_producer(self, changed: Producer) -> None:
        """Store a changed or deleted producer. Raises NotFound, or Conflict (name taken).

        What is deleted stays so: a change of it raises NotFound, deleting it again does not.
        The same holds for consumers and subscriptions. Its name may be given anew.
        """

    async def update_consumer(self, changed: Consumer) -> None:
        """Store a changed or deleted consumer. Raises NotFound, or Conflict (name taken)."""

    async def update_subscription(self, changed: Subscription) -> None:
        """Store a changed or deleted subscription. Raises NotFound."""

    async def set_subscription_status(
        self,
        subscription_id: int,
        status: SubscriptionStatus,
        reason: str,
        now_ms: int,
        seen: Subscription | None = None,
    ) -> Subscription:
        """Change only the status; the stored subscription. NotFound, also where it is deleted.

        seen: change nothing unless status and updated_ms are still as they were seen, so that
        what follows from an old state does not undo what an operator did since.
        """

    # Messages.

    async def insert_messages(self, batch: receive.Batch, now_ms: int) -> Inserted:
        """Store a stamped batch durably, all or nothing; committed when this returns.

        The same (producer, key) again, in this batch or ever, stores no second message; nor
        does the same id, so a batch whose answer got lost may be inserted again.
        """

    async def message(self, message_id: int) -> Message | None:
        """One message with its payload."""

    async def payloads(self, message_ids: Sequence[int]) -> dict[int, bytes]:
        """The payloads of messages; ids that do not exist are absent."""

    async def last_message_id(self) -> int:
        """The highest message id stored, 0 for none."""

    # Deliveries. The ledger changes in the same transaction, by what really changed.

    async def insert_deliveries(self, split: fanout.Split) -> set[int]:
        """Store the rows of a fan-out; a row that exists is left as it is.

        Answers the ids of messages of which rows were there before: they were split already.
        """

    async def mark(self, outcome_chunks: Sequence[bytes]) -> None:
        """Apply outcome chunks: statuses, attempts log, per-minute counters.

        delivered and dropped are final, the first of them counts. A retry or a parking never
        undoes a later state: one of more attempts, or of as many and a later time. An outcome
        that comes again counts once, also where the delivery was replayed meanwhile; one of a
        delivery that does not exist (purged) changes nothing. Raises ChunkError, then nothing
        was applied.
        """

    async def replay(self, keys: Collection[tuple[int, int]], now_ms: int) -> int:
        """Dropped deliveries (message id, subscription id) become pending; how many.

        Due at once, with no attempts: the policy's budget begins anew. The log of the tries so
        far stays; the reason too, until the delivery is finished again. What is not dropped is
        left alone, and so are the rows of messages that matched nobody.
        """

    async def deliveries(self, message_id: int) -> list[Delivery]:
        """A message's deliveries by subscription id; [] while it is not split."""

    async def attempts(self, message_id: int, subscription_id: int | None = None) -> list[Attempt]:
        """The logged tries of a message, by subscription id and attempt.

        Numbered through where a delivery was replayed.
        """

    async def list_deliveries(
        self, wanted: DeliveryFilter, after: tuple[int, int] | None, limit: int
    ) -> list[Delivery]:
        """Deliveries newest message first, below `after` (message id, subscription id)."""

    async def ledger(self) -> list[LedgerRow]:
        """The account of every subscription that ever matched, from kept counters."""

    async def counted_ledger(self) -> list[LedgerRow]:
        """The same, by counting every row: slow, the proof of `ledger`."""

    async def audit(self, progress: Callable[[int, int], None]) -> Audit:
        """Count every delivery and compare: slow, but no statement reads more than a page.

        Rows and accounts are of one moment where the database can read so over many statements;
        where it cannot (sharded), what is written meanwhile may look like a difference.
        progress: told after each page how many deliveries were counted, and of how many; it may
        run on another thread, and what it raises ends the audit.
        """

    async def correct_ledger(self, corrections: int, differences: Mapping[int, Difference]) -> bool:
        """Add differences to the accounts. Right whatever was written since the audit.

        False, and nothing is changed, where accounts were corrected since the audit that counted
        so many corrections: so that nothing is ever added twice.
        """

    async def relist(self, keys: Collection[tuple[int, int]]) -> None:
        """Put deliveries (message id, subscription id) into the lists that they belong in now."""

    async def queued(self, span: QueuedSpan, before_ms: int, limit: int) -> list[QueuedRow]:
        """Queued deliveries in a span that were last touched before before_ms, rising."""

    async def forget_rows(
        self, subscription_id: int, rows: Sequence[QueuedRow], now_ms: int
    ) -> int:
        """As forget_queued, these rows alone and only while they are as they were read."""

    # What the Rescuer and the feeder need.

    async def unsplit(
        self, after_id: int, below_id: int, limit: int, inline_bytes_max: int
    ) -> list[MessageRecord]:
        """Messages in the open id window without delivery rows, rising.

        A payload above inline_bytes_max stays behind (None).
        """

    async def pending(
        self, subscription_id: int, now_ms: int, limit: int, inline_bytes_max: int
    ) -> list[DeliveryRecord]:
        """Pending deliveries that are due, by due time, then message: those with none first.

        A payload above inline_bytes_max stays behind (None).
        """

    async def set_queued(
        self, subscription_id: int, message_ids: Sequence[int], now_ms: int
    ) -> int:
        """Turn pending deliveries to queued; others are left as they are. How many it turned."""

    async def drop_pending(self, subscription_id: int, reason: int, now_ms: int, limit: int) -> int:
        """Drop up to `limit` pending deliveries of a subscription; how many were dropped."""

    async def forget_queued(
        self, subscription_ids: Collection[int] | None, before_ms: int, now_ms: int
    ) -> int:
        """Turn queued deliveries last touched before before_ms back to pending.

        One that is due later than now_ms (deliver_at, a retry) stays so, all others are due at
        once. subscription_ids: only these; None for all. Answers how many. For deliveries that
        the queue no longer holds: their chunk was lost.
        """

    async def standings(self, keys: Collection[tuple[int, int]]) -> dict[tuple[int, int], Standing]:
        """How deliveries stand, by (message id, subscription id); unknown ones are absent."""

    # What a Sender needs of subscriptions that deliver in order, whose deliveries stay pending.

    async def waiting(
        self, subscription_id: int, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        """Keys (due_ms, message id) of pending deliveries, rising, behind `after`.

        Whatever their due time; (-1, 0) to begin. A key may outlive its delivery for a while
        (sharded): `pending_records` tells.
        """

    async def pending_records(
        self, subscription_id: int, message_ids: Collection[int], inline_bytes_max: int
    ) -> list[DeliveryRecord]:
        """Those of these deliveries that are pending, by message id, with their attempts so far.

        A payload above inline_bytes_max stays behind (None).
        """

    async def order_heads(
        self, subscription_id: int, keys: Collection[str]
    ) -> dict[str, OrderHead]:
        """The heads of these keys; a key of which nothing was begun is absent."""

    async def set_order_heads(
        self, subscription_id: int, heads: Collection[OrderHead], now_ms: int
    ) -> None:
        """Keep the heads of keys, durably.

        One of a lower or equal sequence than the stored one changes nothing: its writer was
        replaced meanwhile. Several of one key may come together.
        """

    # Small state of services.

    async def lease_worker(self, owner: str, now_ms: int, ttl_ms: int) -> WorkerLease:
        """A free worker number for `owner`. Raises Busy where all 256 are taken.

        Never one whose lease runs, not even the owner's own: two id makers with one number
        would make the same ids.
        """

    async def renew_worker(self, lease: WorkerLease, owner: str, now_ms: int, ttl_ms: int) -> bool:
        """Prolong a lease; False where somebody else holds it now."""

    async def release_worker(self, lease: WorkerLease, owner: str, floor_ms: int) -> None:
        """Give a worker number back; the next holder makes no id at or before floor_ms."""

    async def note(self, name: str) -> int:
        """A small number that services keep (progress marks), 0 at first."""

    async def set_note(self, name: str, value: int) -> None:
        """Keep a small number."""


# --- queue --------------------------------------------------------------------------------


class StreamKind(StrEnum):
    """What a stream carries."""

    INGEST = "in"
    SUBSCRIPTION = "s"
    MARK = "mark"


class Stream(NamedTuple):
    """A stream of chunks: an ingest or mark partition, or a subscription's queue."""

    kind: StreamKind
    number: int


class Push(NamedTuple):
    """A chunk to append. items: how many messages, deliveries or outcomes it holds.

    due_ms: not before (the stream's delay set keeps it until `promote`, even if that moment
    has passed); 0: at once. since_ms: since when its oldest item is under way, where the chunk
    follows from an earlier one; 0: since now.
    """

    stream: Stream
    chunk: bytes
    items: int
    due_ms: int = 0
    since_ms: int = 0


class Claim(NamedTuple):
    """A chunk that a worker holds under a lease until it acknowledges it.

    entry: opaque, names this one holding. Once the chunk was acknowledged or taken over, or
    the queue was lost, the claim is dead: `ack` and `renew` leave the chunk and its new holder
    alone. (Redis: the stream id and the delivery count, which XCLAIM JUSTID leaves as it is.)
    redelivered: somebody held it before, part of its work may be done. since_ms: since when
    its oldest item is under way: pass it on with what follows from it.
    """

    stream: Stream
    entry: str
    chunk: bytes
    items: int
    redelivered: bool
    since_ms: int


class Gauge(NamedTuple):
    """The state of a stream.

    depth: items waiting, delayed and claimed together. oldest_ms: the least since_ms of all
    these, 0 where empty: what was queued before it is in this stream no more.
    spilling: further items stay in the database (`spill`).
    """

    depth: int
    oldest_ms: int
    spilling: bool


class Content(NamedTuple):
    """A chunk in a stream, seen without claiming it. entry: opaque, names it until it moves.

    due_ms: 0 unless it is delayed. claimed: somebody holds it.
    """

    entry: str
    chunk: bytes
    items: int
    due_ms: int
    since_ms: int
    claimed: bool


class Share(NamedTuple):
    """What a member of a group knows after its heartbeat.

    members: who is alive, sorted. held: the keys that the caller holds now. begun: it was no
    member: it is new, its time ran out, or the queue was lost.
    """

    members: tuple[str, ...]
    held: frozenset[int]
    begun: bool = False


class Queue(Protocol):
    """The queue: fast and disposable. All its contents can be rebuilt from the database.

    It has an epoch: a token that is gone exactly when the contents may be gone. While there
    is none every method but open, close, epoch, begin_epoch, lease, release, share, leave and
    wait raises QueueLost.

    A stream exists while it holds something: there is nothing to create or to remove. A call
    that raised QueueUnavailable or QueueLost may have been carried out in part or in whole;
    doing it again may double chunks, never lose them.
    """

    async def open(self) -> None:
        """Connect. Raises QueueUnavailable; it may be called again, then and when it is open."""

    async def close(self) -> None:
        """Disconnect; who waits returns. Until the next `open`, calls raise QueueUnavailable."""

    async def epoch(self) -> str | None:
        """The present epoch, None where the contents were lost or never were."""

    async def begin_epoch(self, epoch: str) -> bool:
        """Start an epoch where there is none; True for the one caller who did."""

    async def push(self, pushes: Sequence[Push]) -> None:
        """Append chunks and wake who waits for their streams, also for a delayed chunk.

        Not atomic over streams; the chunks of one stream keep their order.
        """

    async def claim(self, streams: Sequence[Stream], worker: str, chunks_max: int) -> list[Claim]:
        """Take up to chunks_max waiting chunks of each stream, oldest first; never waits.

        The answer is in the order of `streams`. Raises QueueLost once also where a new epoch
        began since this worker's last call: what it held until then is gone.
        """

    async def ack(self, claims: Sequence[Claim], pushes: Sequence[Push] = ()) -> None:
        """Push what follows from claims, then let the claims go; a dead claim is no error.

        The pushes are made in any case: whether a claim is dead is known only afterwards.
        """

    async def renew(self, claims: Sequence[Claim], worker: str) -> None:
        """Prolong the leases of claims; a claim that somebody took over is no error."""

    async def takeover(
        self, streams: Sequence[Stream], worker: str, idle_ms: int, chunks_max: int
    ) -> list[Claim]:
        """Claim chunks whose holder has not renewed them for idle_ms (redelivered).

        Up to chunks_max of each stream, the worker's own included: it may have restarted.
        """

    async def promote(self, streams: Sequence[Stream], now_ms: int) -> int:
        """Move delayed chunks that are due into their streams; when the next is due, 0: none.

        A stream's chunks move in the order in which they are due (equally due ones: of push),
        behind what waits there, and wake who waits for the stream.
        """

    async def gauges(self, streams: Sequence[Stream]) -> list[Gauge]:
        """The state of streams, in their order."""

    async def spill(self, streams: Sequence[Stream], on: bool) -> None:
        """Say whether further items of these streams stay in the database for now.

        Only a flag for `gauges`: push does not look at it. It outlives an empty stream.
        """

    async def contents(self, stream: Stream, after: str, limit: int) -> tuple[list[Content], str]:
        """A page of about `limit` chunks, and the `after` of the next page, "" behind the last.

        after: "" to begin with. Delayed chunks come first, then the stream from its oldest on,
        so that what is promoted between two pages is seen, perhaps twice. What was there from
        the first page to the last is in one of them.
        """

    async def replace(self, stream: Stream, content: Content, chunk: bytes, items: int) -> bool:
        """Put a chunk, of the same age and due time, in the place of one; b"": remove it.

        False, and nothing is changed, where it is claimed, or moved or went since it was seen.
        One that is not delayed may lose its place in the stream to those behind it.
        """

    async def lease(self, name: str, owner: str, ttl_ms: int) -> bool:
        """Take or prolong a named lease; False while somebody else holds it."""

    async def release(self, name: str, owner: str) -> None:
        """Give a named lease back, where owner holds it."""

    async def share(
        self,
        group: str,
        member: str,
        ttl_ms: int,
        wanted: Collection[int],
        released: Collection[int] = (),
    ) -> Share:
        """Stay a member of a group for ttl_ms more, give back `released`, take what is free.

        Taken is each of `wanted` that nobody holds, or whose holder is no member any more: its
        time ran out, or it left. Holding lasts as long as membership: one heartbeat prolongs
        all of it. `wanted` names what is held already too; what is neither wanted nor released
        stays held, what is both is wanted. Whoever comes back after its time ran out, or after
        the queue was lost, holds only what it takes then: `held` says so. A call that raised
        may have been carried out in part: no work on what it released until a later one tells.
        One call of a member at a time.
        """

    async def leave(self, group: str, member: str) -> None:
        """Be no member any more; everything that was held is free at once."""

    async def wait(
        self, streams: Sequence[Stream], worker: str, timeout_s: float
    ) -> Sequence[Stream]:
        """Return when one of the streams was pushed to since the last wait, or at time-out.

        Answers the streams that were pushed to, in no order, none at time-out. Each worker
        sees each push: what arrived before or during the wait, or during one that was
        cancelled, is answered at once, unless the stream is empty again. A stream that the
        worker never waited for counts as pushed to while it holds anything. One wait of a
        worker at a time. A wait during which the queue is lost may last until its time-out.
        """


# --- transport ----------------------------------------------------------------------------


class Identity(NamedTuple):
    """Who we are to an endpoint, whom we trust there, and which way leads to it.

    PEM texts: ca instead of the system's authorities, certificate (with its chain) and key of
    our own. proxy: http://[user:password@]host:port. "" stands for none. Holds secrets.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    proxy: str = ""

    def __repr__(self) -> str:
        return f"Identity({', '.join(name for name in self._fields if getattr(self, name))})"


class Endpoint(NamedTuple):
    """A parsed consumer URL. host: lower-case name or literal address without brackets.

    Endpoints that differ in their target alone, the last field, share connections.
    """

    tls: bool
    host: str
    port: int
    identity: Identity | None
    target: str


class Answer(NamedTuple):
    """A consumer's answer. body: its first bytes, up to the kept bound.

    retry_after: the header's value, "" where absent. allowed: those of webhook-allowed-origin and
    webhook-allowed-rate, which answer a validation request.
    """

    code: int
    body: bytes
    retry_after: str
    allowed: tuple[str, str] = ("", "")


class Exchange(Protocol):
    """A request under way."""

    def cancel(self) -> None:
        """Close its connection; `done` is not called any more. Safe to call when it is over."""


class Transport(Protocol):
    """Delivers HTTP requests to endpoints, within strict bounds."""

    def send(
        self,
        endpoint: Endpoint,
        head: bytes,
        body: bytes,
        timeout_ms: int,
        kept_bytes: int,
        done: Callable[[Answer | None, TransportError | None], None],
    ) -> Exchange:
        """Begin a request whose head is complete, and keep so many bytes of its answer's body.

        done is called exactly once, later, never from within send: with the answer, or with
        the error, which names its stage.
        """

    async def close(self) -> None:
        """Close every connection."""
