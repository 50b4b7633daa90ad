"""The Queue port over Redis."""

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from notify.domain.errors import QueueLost, QueueUnavailable
from notify.domain.ports import Claim, Clock, Content, Gauge, Push, Share, Stream, StreamKind
from notify.queue.redis import keys, leases
from notify.queue.redis import streams as commands
from notify.queue.redis.client import Command, Link, Links, parsed
from notify.queue.redis.errors import is_missing_function
from notify.queue.redis.shares import Shares
from notify.queue.redis.wakeups import Wakeups
from notify.queue.redis.watch import Known, Watch, lines
from notify_core import push as packing

_GET_EPOCH: Command = (b"GET", keys.EPOCH)
_NO_EPOCH = "the queue has no epoch: rebuild its contents from the database"
Ask = Callable[[Stream, bytes], Sequence[Command]]


class RedisQueue:
    """A Queue that any number of processes share. Raises ConfigError for a bad URL.

    Every pipeline asks for the epoch first, so that no call goes on with a lost queue for
    longer than it takes. The epoch names the server run that it was begun in: after a restart
    or a failover there is none, whatever was saved or replicated.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        self._links = Links(url)
        self._watch = Watch()
        self._wakeups = Wakeups(clock, self._links, self._watch)
        self._shares = Shares()
        self._epoch: bytes | None = None  # as the key holds it, when it was last asked
        self._epochs_seen: dict[str, bytes] = {}  # by worker
        # Claims made in the call that told their worker of a new epoch.
        self._untold: dict[str, list[Claim]] = {}

    async def open(self) -> None:
        """Connect. Raises QueueUnavailable; a later call then connects where that is possible."""
        self._links.open()
        async with self._links.link():
            pass

    async def close(self) -> None:
        """Disconnect and wake who waits; until `open`, calls raise QueueUnavailable."""
        await self._links.close()
        await self._wakeups.close()
        self._forget()

    async def epoch(self) -> str | None:
        """Answer the present epoch, None where the server lost it or was restarted."""
        async with self._links.link() as link:
            (value,) = await link.ask([_GET_EPOCH])
            self._meet(link, value)
        return None if self._epoch is None else self._epoch.split(b" ", 2)[2].decode()

    async def begin_epoch(self, epoch: str) -> bool:
        """Start an epoch where there is none; True for the one caller who did."""
        # A token that comes twice must not be taken for an epoch that was never interrupted.
        nonce = secrets.token_hex(8).encode() + b" "
        async with self._links.link() as link:
            began, value = await link.ask(
                [
                    (b"FCALL", b"notify1_begin", 1, keys.EPOCH, link.run, nonce + epoch.encode()),
                    _GET_EPOCH,
                ]
            )
            self._meet(link, value)
        return bool(began)

    async def push(self, pushes: Sequence[Push]) -> None:
        """Append chunks and write down for who waits which streams got some."""
        async with self._links.link() as link:
            await self._check(link)
            await self._push(link, pushes)

    async def claim(self, streams: Sequence[Stream], worker: str, chunks_max: int) -> list[Claim]:
        """Take up to chunks_max waiting chunks of each stream, oldest first."""
        found: dict[Stream, list[Claim]] = {}
        odd: list[Stream] = []

        def take(stream: Stream, known: Known, fresh: bool, replies: Sequence[Any]) -> None:
            if commands.is_odd(link.run, *replies):
                odd.append(stream)
                return
            found[stream] = commands.claimed(stream, replies[1])
            if fresh:
                known.waiting = len(found[stream]) == chunks_max
                known.held = commands.holds(link.run, replies[0])

        async with self._links.link() as link:
            try:
                await self._check(link)
                self._tell(worker)
                untold = self._take_untold(worker, streams)
                if untold:
                    return untold
                await self._each(
                    link,
                    streams,
                    lambda known: known.waiting,
                    lambda stream, _: commands.claim(stream, chunks_max),
                    take,
                )
                if odd:
                    mended = [commands.mend(stream, link.run, chunks_max) for stream in odd]
                    answers, _ = await self._ask(link, mended)
                    for stream, answer in zip(odd, answers, strict=True):
                        found[stream] = commands.claimed(stream, answer)
            except QueueLost:
                if self._epoch is None:
                    self._epochs_seen.pop(worker, None)  # told now, and so not again
                raise
        claims = _in_order(streams, found)
        try:
            self._tell(worker)
        except QueueLost:
            self._untold[worker] = claims
            raise
        return claims

    async def ack(self, claims: Sequence[Claim], pushes: Sequence[Push] = ()) -> None:
        """Push what follows from claims, then let the claims go that are not dead."""
        async with self._links.link() as link:
            await self._check(link)
            if pushes:
                # Only what was taken for certain lets go of what it follows from.
                await self._push(link, pushes)
            if claims:
                calls = list(commands.acks(link.run, claims))
                depths, as_of = await self._ask(link, [command for _, command in calls])
                for (stream, _), depth in zip(calls, depths, strict=True):
                    known = self._watch.known(stream)
                    if depth == 0 and known.mark <= as_of:
                        known.held = False

    async def renew(self, claims: Sequence[Claim], worker: str) -> None:  # noqa: ARG002 - the claim names its holding
        """Prolong the leases of claims that are not dead."""
        async with self._links.link() as link:
            await self._check(link)
            await self._ask(link, list(commands.renewals(link.run, claims)))

    async def takeover(
        self,
        streams: Sequence[Stream],
        worker: str,  # noqa: ARG002 - who holds a chunk matters to no answer
        idle_ms: int,
        chunks_max: int,
    ) -> list[Claim]:
        """Claim up to chunks_max chunks of each stream, not renewed for idle_ms."""
        found: dict[Stream, list[Claim]] = {}

        def take(stream: Stream, known: Known, fresh: bool, replies: Sequence[Any]) -> None:
            (reply,) = replies
            found[stream] = commands.taken_over(stream, reply)
            if fresh:
                known.held = int(reply[0]) > 0

        async with self._links.link() as link:
            await self._check(link)
            await self._each(
                link,
                streams,
                lambda known: known.held,
                lambda stream, run: [commands.takeover(stream, run, idle_ms, chunks_max)],
                take,
            )
        return _in_order(streams, found)

    async def promote(self, streams: Sequence[Stream], now_ms: int) -> int:
        """Move delayed chunks that are due into their streams; when the next is due, 0: none."""
        moved: set[Stream] = set()
        more: set[Stream] = set()

        def take(stream: Stream, known: Known, fresh: bool, replies: Sequence[Any]) -> None:
            ((chunks, next_ms, depth),) = replies
            if chunks:
                moved.add(stream)
            # Where nothing moved although something was due, another process moved it.
            known.waiting = known.waiting or depth > 0
            if 0 < next_ms <= now_ms:
                more.add(stream)
            if fresh:
                known.due_ms = next_ms

        def is_due(known: Known) -> bool:
            return known.due_ms is None or 0 < known.due_ms <= now_ms

        async with self._links.link() as link:
            await self._check(link)
            todo: Collection[Stream] = streams
            while True:
                await self._each(
                    link,
                    todo,
                    is_due,
                    lambda stream, run: [commands.promote(stream, run, now_ms)],
                    take,
                )
                if not more:
                    break
                todo, more = more, set()
            if moved:
                await link.ask(lines(moved, ()))
        due = [self._watch.known(stream).due_ms or 0 for stream in streams]
        return min((due_ms for due_ms in due if due_ms), default=0)

    async def gauges(self, streams: Sequence[Stream]) -> list[Gauge]:
        """Answer the state of streams, in their order."""
        async with self._links.link() as link:
            asked = [commands.gauge(stream, link.run) for stream in streams]
            replies, _ = await self._ask(link, asked)
        return [commands.gauged(reply) for reply in replies]

    async def spill(self, streams: Sequence[Stream], on: bool) -> None:
        """Set or clear the flag that `gauges` shows."""
        async with self._links.link() as link:
            await self._check(link)
            await self._ask(link, [commands.spill(stream, link.run, on) for stream in streams])

    async def contents(self, stream: Stream, after: str, limit: int) -> tuple[list[Content], str]:
        """A page of about `limit` chunks, and the `after` of the next, "" behind the last."""
        async with self._links.link() as link:
            await self._check(link)
            (meta, *replies), _ = await self._ask(link, commands.contents(stream, after, limit))
            if not commands.holds(link.run, meta):
                return [], ""
            return commands.content_page(after, replies, limit)

    async def replace(self, stream: Stream, content: Content, chunk: bytes, items: int) -> bool:
        """Put a chunk in the place of one that is not claimed; b"": remove it."""
        async with self._links.link() as link:
            await self._check(link)
            asked = [
                commands.replace(stream, link.run, content, chunk, items),
                *lines((), [stream]),
            ]
            (done, *_), _ = await self._ask(link, asked)
            return bool(done)

    async def lease(self, name: str, owner: str, ttl_ms: int) -> bool:
        """Take or prolong a named lease; False while somebody else holds it."""
        async with self._links.link() as link:
            (held,) = await link.ask([leases.take(name, owner, ttl_ms)])
        return bool(held)

    async def release(self, name: str, owner: str) -> None:
        """Give a named lease back, where owner holds it."""
        async with self._links.link() as link:
            await link.ask([leases.release(name, owner)])

    async def share(
        self,
        group: str,
        member: str,
        ttl_ms: int,
        wanted: Collection[int],
        released: Collection[int] = (),
    ) -> Share:
        """Stay a member of a group for ttl_ms more, give back `released`, take what is free."""
        async with self._links.link() as link:
            return await self._shares.share(link, group, member, ttl_ms, wanted, released)

    async def leave(self, group: str, member: str) -> None:
        """Be no member any more; everything that was held is free at once."""
        async with self._links.link() as link:
            await self._shares.leave(link, group, member)

    async def wait(self, streams: Sequence[Stream], worker: str, timeout_s: float) -> list[Stream]:
        """Return the streams pushed to since the worker's last wait, or none at time-out."""
        self._links.check_open()

        async def ask(doubtful: Sequence[Stream]) -> list[Stream]:
            async with self._links.link() as link:
                asked = [commands.depth(stream) for stream in doubtful]
                replies, _ = await self._ask(link, asked, _kinds(streams), lost=True)
                held = [
                    stream
                    for stream, meta in zip(doubtful, replies, strict=True)
                    if commands.holds(link.run, meta)
                ]
            self._links.check_open()  # or nobody would wake a sleep that begins now
            return held

        try:
            return await self._wakeups.wait(streams, worker, timeout_s, ask)
        except QueueUnavailable:
            if self._links.closed:
                return []  # closed during the wait, not before
            raise

    async def _check(self, link: Link) -> None:
        """Know an epoch of this run before anything is changed. Raises QueueLost."""
        if self._epoch is None or not _is_of(self._epoch, link.run):
            await self._ask(link, ())

    def _tell(self, worker: str) -> None:
        """Raise QueueLost once where a new epoch began since the worker's last claim."""
        if self._epoch is None:
            raise QueueLost(_NO_EPOCH)
        if self._epochs_seen.setdefault(worker, self._epoch) != self._epoch:
            self._epochs_seen[worker] = self._epoch
            raise QueueLost("the queue was lost and began anew: what was held is gone")

    async def _each(
        self,
        link: Link,
        streams: Iterable[Stream],
        wanted: Callable[[Known], bool],
        ask: Ask,
        take: Callable[[Stream, Known, bool, Sequence[Any]], None],
    ) -> None:
        """Ask each stream of which `wanted` says so, also where that comes out only now.

        take: is handed its replies, and whether they are newer than all that the logs said so far.
        """
        left = dict.fromkeys(streams)
        kinds = _kinds(left)
        first = True
        while True:
            todo = [stream for stream in left if wanted(self._watch.known(stream))]
            if not todo and not first:
                return
            first = False
            asked = [ask(stream, link.run) for stream in todo]
            replies, as_of = await self._ask(link, [one for each in asked for one in each], kinds)
            at = 0
            for stream, each in zip(todo, asked, strict=True):
                known = self._watch.known(stream)
                take(stream, known, known.mark <= as_of, replies[at : at + len(each)])
                at += len(each)
                del left[stream]

    async def _ask(
        self,
        link: Link,
        commands: Sequence[Command],
        kinds: Collection[StreamKind] = (),
        lost: bool = False,
    ) -> tuple[list[Any], int]:
        """The replies to commands, behind a look at the epoch and into the logs of kinds.

        Also the count of log lines that are older than these replies, -1 where they mean
        nothing for the present knowledge. Raises QueueLost where there is no epoch, unless
        `lost` allows that.
        """
        self._watch.audit()
        looks = [(kind, self._watch.look(kind)) for kind in kinds]
        generation, count = self._watch.generation, self._watch.count
        asked = [_GET_EPOCH, *(look for _, look in looks), *commands]
        epoch, *replies = await link.ask(asked)
        self._meet(link, epoch)
        if self._epoch is None and not lost:
            raise QueueLost(_NO_EPOCH)
        if generation != self._watch.generation:
            return replies[len(looks) :], -1
        # Lines that somebody else read meanwhile may be newer than these replies.
        alone = count == self._watch.count
        for (kind, look), reply in zip(looks, replies, strict=False):
            self._wakeups.notice(self._watch.seen(kind, look, reply))
        return replies[len(looks) :], self._watch.count if alone else count

    async def _push(self, link: Link, pushes: Sequence[Push]) -> None:
        for groups in commands.pipelines(pushes):
            await self._send(link, groups, lines(*commands.streams_of(groups)))

    async def _send(
        self, link: Link, groups: Sequence[commands.Group], behind: Sequence[Command]
    ) -> None:
        """Send one pipeline of pushes, and behind it what is written down of them."""
        known = self._epoch or b""  # another call may find out meanwhile that it is gone
        head = packing.pack([_GET_EPOCH])
        body = packing.pack_pushes(commands.PUSH, groups, (link.run, self._clock.now_ms()))
        replies = 1 + len(groups) + len(behind)
        raw, error = await link.exchange([head, body, packing.pack(behind)], replies)
        if error is None and raw.startswith(b"$%d\r\n%s\r\n" % (len(known), known)):
            return  # nothing in the answer is worth reading
        epoch, *answers = parsed(raw, replies)
        missed = [
            group
            for group, answer in zip(groups, answers, strict=False)
            if is_missing_function(answer)
        ]
        await link.check([epoch, *(a for a in answers if not is_missing_function(a))])
        self._meet(link, epoch)
        if self._epoch is None:
            raise QueueLost(_NO_EPOCH)
        if missed:
            await link.load_functions()
            body = packing.pack_pushes(commands.PUSH, missed, (link.run, self._clock.now_ms()))
            replies = len(missed) + len(behind)
            raw, _ = await link.exchange([body, packing.pack(behind)], replies)
            await link.check(parsed(raw, replies))

    def _take_untold(self, worker: str, streams: Collection[Stream]) -> list[Claim]:
        kept = self._untold.pop(worker, [])
        later = [claim for claim in kept if claim.stream not in streams]
        if later:
            self._untold[worker] = later
        return [claim for claim in kept if claim.stream in streams]

    def _meet(self, link: Link, value: bytes | None) -> None:
        """Take in what the epoch's key holds."""
        epoch = value if value is not None and _is_of(value, link.run) else None
        if epoch != self._epoch:
            self._forget()
            self._epoch = epoch

    def _forget(self) -> None:
        self._epoch = None
        self._untold.clear()
        self._watch.reset()
        self._wakeups.reset()


def _is_of(epoch: bytes, run: bytes) -> bool:
    return epoch.startswith(run + b" ")


def _kinds(streams: Iterable[Stream]) -> set[StreamKind]:
    return {stream.kind for stream in streams}


def _in_order(streams: Iterable[Stream], found: dict[Stream, list[Claim]]) -> list[Claim]:
    return [claim for stream in dict.fromkeys(streams) for claim in found.get(stream, ())]
