"""The accounts and lists that the database keeps beside the deliveries, against the deliveries."""

import asyncio
from typing import Final

from notify.domain.ports import Audit, Difference, Storage
from notify.fsck.findings import Check, Finding, Watcher, finding

LOOKS_MAX: Final = 3
_COLUMNS: Final = ("matched", "delivered", "dropped", "queued", "pending")


class Stopped(Exception):
    """The run was ended in the middle of an audit."""


class Books:
    """Counts everything, and again where something differs.

    A real difference is the same in two audits, whatever is written meanwhile. One that changes,
    or of an account that was seen to change, comes from a database that does not read as of one
    moment (READ COMMITTED, sharded), or from a mistake that goes on; both are said and left alone.
    """

    def __init__(self, storage: Storage, watcher: Watcher) -> None:
        self._storage = storage
        self._watcher = watcher
        self.audit = Audit([], {}, [], [], [], 0)

    async def check(self, repair: bool) -> list[Finding]:
        """The differences, found twice alike; the last audit stays in `audit`."""
        before, self.audit = self.audit, await self._audit("Counting deliveries")
        wrong: dict[int, Difference] = {}
        unlisted: set[tuple[int, int]] = set()
        unsteady: list[int] = []
        for _ in range(LOOKS_MAX - 1):
            if not (self.audit.differences or self.audit.unlisted):
                break
            before, self.audit = self.audit, await self._audit("Counting again")
            now, was = self.audit.differences, before.differences
            moving = self.audit.moving | before.moving
            wrong = {
                sub_id: one
                for sub_id, one in now.items()
                if was.get(sub_id) == one and sub_id not in moving
            }
            unsteady = [sub_id for sub_id in now if sub_id not in wrong]
            unlisted = set(before.unlisted) & set(self.audit.unlisted)
            if not unsteady:
                break
        findings = [_of_account(sub_id, one) for sub_id, one in wrong.items()]
        findings += [_unsteady(sub_id) for sub_id in unsteady]
        findings += _of_lists(unlisted)
        if repair and wrong:
            # Where another fsck was faster, or the answer got lost: the next look shows it.
            await self._storage.correct_ledger(self.audit.corrections, wrong)
        if repair and unlisted:
            await self._storage.relist(unlisted)
        return findings

    async def _audit(self, what: str) -> Audit:
        stopped = False

        def progress(done: int, total: int) -> None:
            if stopped:
                raise Stopped
            self._watcher.step(what, done, total)

        try:
            return await self._storage.audit(progress)
        except asyncio.CancelledError:
            stopped = True  # or its thread would count on, and nobody could close the storage
            raise


def _of_account(sub_id: int, wrong: Difference) -> Finding:
    columns = zip(_COLUMNS, wrong, strict=False)
    text = ", ".join(f"{name} {amount:+}" for name, amount in columns if amount)
    count = max(map(abs, wrong[:5])) or sum(abs(amount) for _, amount in wrong.places)
    text = f"counted less kept: {text}" if text else "queued deliveries are kept in wrong slots"
    return finding(Check.LEDGER, sub_id, (), f"{text}; the repair adds it", count)


def _unsteady(sub_id: int) -> Finding:
    text = (
        f"differed in {LOOKS_MAX} counts while it changed: this database does not read as of one"
        " moment, or something changes the account wrongly; stop the services and run it again"
    )
    return finding(Check.LEDGER, sub_id, (), text, 1)


def _of_lists(keys: set[tuple[int, int]]) -> list[Finding]:
    by_sub: dict[int, list[int]] = {}
    for msg_id, sub_id in sorted(keys):
        by_sub.setdefault(sub_id, []).append(msg_id)
    text = (
        "pending but not in the list that is fed, or dropped but not in the list of drops; the"
        " repair writes them there"
    )
    return [finding(Check.UNLISTED, sub_id, ids, text) for sub_id, ids in by_sub.items()]
