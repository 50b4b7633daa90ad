"""What fsck found, as plain data and as sentences."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, Protocol

import msgspec

EXAMPLES_MAX: Final = 5


class Check(StrEnum):
    """What is compared with what."""

    LEDGER = "ledger"
    UNLISTED = "unlisted"
    UNSPLIT = "unsplit"
    FORGOTTEN = "forgotten"
    TWICE = "twice"
    FINISHED = "finished"
    QUEUE_LOST = "queue lost"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A difference. subscription_id 0: of no subscription. message_ids: a few of them, as texts.

    text: what is wrong and what --repair does about it.
    """

    check: Check
    subscription_id: int
    count: int
    message_ids: tuple[str, ...]
    text: str


class Round(msgspec.Struct, frozen=True):
    """One look at everything. notes: what is no difference, but worth knowing."""

    deliveries: int
    findings: list[Finding]
    notes: list[str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the command says. remaining: after the repair, None where none was tried."""

    clean: bool
    verdict: str
    deliveries: int
    findings: list[Finding]
    remaining: list[Finding] | None
    notes: list[str]


class Watcher(Protocol):
    """Is told how far a run is; may be called from another thread."""

    def step(self, what: str, done: int, total: int) -> None:
        """`done` of `total` of this step are done; total 0: nobody knows."""


def finding(
    check: Check, subscription_id: int, message_ids: Sequence[int], text: str, count: int = 0
) -> Finding:
    """A finding about these messages; count: where there are more than are named."""
    shown = tuple(str(id_) for id_ in message_ids[:EXAMPLES_MAX])
    return Finding(check, subscription_id, count or len(message_ids), shown, text)


def report(first: Round, second: Round | None) -> Report:
    """The report of a look, and of the one after a repair."""
    last = second or first
    remaining = None if second is None else second.findings
    notes = list(dict.fromkeys([*first.notes, *(second.notes if second else ())]))
    return Report(
        clean=not last.findings,
        verdict=_verdict(first, second),
        deliveries=last.deliveries,
        findings=first.findings,
        remaining=remaining,
        notes=notes,
    )


def _verdict(first: Round, second: Round | None) -> str:
    if not first.findings:
        return f"Clean: {first.deliveries} deliveries are accounted for, and nothing is lost."
    found = _counted(first.findings)
    if second is None:
        return f"Not clean: {found}. Run `notify fsck --repair`."
    if not second.findings:
        return f"Repaired: {found}; a second look finds nothing."
    return f"Not clean: {found}; after the repair {_counted(second.findings)} left."


def _counted(findings: Iterable[Finding]) -> str:
    sums: dict[Check, int] = {}
    for one in findings:
        sums[one.check] = sums.get(one.check, 0) + one.count
    return ", ".join(f"{count} {check.value}" for check, count in sums.items())
