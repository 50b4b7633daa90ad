"""Random sequences of calls against a plain model: nothing is lost, nothing counted twice."""

import random

import pytest

from notify.domain.ports import Storage
from notify_core.records import OutcomeRecord
from tests.conformance.storage.backends import Run
from tests.conformance.storage.samples import (
    DELIVERED,
    DROPPED,
    INLINE,
    NOW,
    PENDING,
    QUEUED,
    batch,
    checked_ledger,
    chunks,
    outcome,
    split,
)

MESSAGES = range(1, 31)
SUBS = (1, 2, 3)
FINAL = (DELIVERED, DROPPED)
Key = tuple[int, int]


class Model:
    """What the storage should hold, told in the simplest way: one delivery after the other."""

    def __init__(self, storage: Storage, rng: random.Random) -> None:
        self.storage = storage
        self.rng = rng
        self.rows: dict[Key, list[int]] = {}  # status, attempts, updated_ms
        self.now_ms = NOW
        self.outcomes: list[OutcomeRecord] = []
        self.tries: set[tuple[int, int, int]] = set()

    async def step(self) -> None:
        self.now_ms += self.rng.randrange(1, 50_000)
        action = self.rng.choices(
            [self.split, self.mark, self.mark_again, self.feed, self.forget, self.drop],
            [4, 6, 3, 3, 2, 1],
        )[0]
        await action()

    async def split(self) -> None:
        rows = []
        known = set()
        for msg in self.rng.sample(MESSAGES, 6):
            for sub in self.rng.sample(SUBS, self.rng.randint(1, 3)):
                status = self.rng.choice([QUEUED, QUEUED, PENDING, DROPPED])
                rows.append((msg, sub, status, 0, 0, 0, self.now_ms))
                if (msg, sub) in self.rows:
                    known.add(msg)
                self.rows.setdefault((msg, sub), [status, 0, self.now_ms])
        assert await self.storage.insert_deliveries(split(*rows)) == known

    async def mark(self) -> None:
        made = []
        for key in [*self.rng.sample(sorted(self.rows), min(len(self.rows), 8)), (99, 1)]:
            attempts = self.rows.get(key, [0, 0, 0])[1] + self.rng.randint(1, 2)
            status = self.rng.choice([DELIVERED, DROPPED, QUEUED, QUEUED, PENDING])
            made.append(outcome(*key, status, attempts, self.now_ms))
        self.outcomes += made
        await self.apply(made)

    async def mark_again(self) -> None:
        """Chunks that come again, in another order, mixed from several calls."""
        again = self.rng.choices(self.outcomes, k=min(len(self.outcomes), 12))
        await self.apply(again)

    async def apply(self, outcomes: list[OutcomeRecord]) -> None:
        for one in outcomes:
            row = self.rows.get((one.msg_id, one.sub_id))
            if row is None or row[0] in FINAL:
                continue
            if one.status in FINAL or (one.attempts, one.at_ms) > (row[1], row[2]):
                row[:] = one.status, one.attempts, one.at_ms
        await self.storage.mark(chunks(*outcomes, size=self.rng.randint(1, 9)))

    async def feed(self) -> None:
        sub = self.rng.choice(SUBS)
        found = await self.storage.pending(sub, self.now_ms, self.rng.randint(1, 20), INLINE)
        ids = [delivery.message.id for delivery in found]
        for id_ in ids:
            assert self.rows[id_, sub][0] == PENDING
            self.rows[id_, sub][::2] = QUEUED, self.now_ms
        assert await self.storage.set_queued(sub, ids, self.now_ms) == len(ids)

    async def forget(self) -> None:
        before = self.now_ms - self.rng.randrange(200_000)
        subs = self.rng.choice([None, [1], [2, 3]])
        count = 0
        for (_, sub), row in self.rows.items():
            if row[0] == QUEUED and row[2] < before and (subs is None or sub in subs):
                row[::2] = PENDING, self.now_ms
                count += 1
        assert await self.storage.forget_queued(subs, before, self.now_ms) == count

    async def drop(self) -> None:
        sub = self.rng.choice(SUBS)
        waiting = [row for (_, of), row in self.rows.items() if of == sub and row[0] == PENDING]
        for row in waiting:
            row[::2] = DROPPED, self.now_ms
        assert await self.storage.drop_pending(sub, 2, self.now_ms, 1000) == len(waiting)

    async def check(self) -> None:
        stored = await self.storage.standings(list(self.rows))
        statuses = {key: standing.status for key, standing in stored.items()}
        assert statuses == {key: row[0] for key, row in self.rows.items()}
        ledger = await checked_ledger(self.storage)
        counts = {sub: [0, 0, 0, 0] for sub in SUBS}
        for (_, sub), row in self.rows.items():
            counts[sub][row[0]] += 1
        assert {
            sub: [row.pending, row.queued, row.delivered, row.dropped]
            for sub, row in ledger.items()
        } == {sub: count for sub, count in counts.items() if any(count)}


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_calls_conserves_every_delivery(
    storage: Storage, run: Run, seed: int
) -> None:
    async def walk() -> None:
        model = Model(storage, random.Random(seed))
        await storage.insert_messages(batch(list(MESSAGES)), NOW)
        for _ in range(40):
            await model.step()
            await model.check()

    run(walk())
