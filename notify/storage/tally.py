"""Deliveries counted page by page, the same in every adapter, in memory that rows do not fill.

What is kept is of subscriptions, of spans of messages with queued deliveries, and of pages.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final

from notify.domain.model import LedgerRow
from notify.domain.ports import Audit, Difference, QueuedSpan
from notify_core.records import DELIVERED, DROPPED, PENDING, QUEUED, UNMATCHED_SUB

PAGE_ROWS: Final = 20_000
# Of what the lists lack; the rest shows in the next audit.
UNLISTED_MAX: Final = 100_000

Row = tuple[int, int, int]  # message, subscription, status
Key = tuple[int, int]
_sub_status = itemgetter(1, 2)


class Tally:
    """Counts by subscription and status. span_bits: of an id, how many are below its span."""

    def __init__(self, span_bits: int) -> None:
        self._span_bits = span_bits
        self._counts: Counter[Key] = Counter()
        self._queued: Counter[Key] = Counter()
        self._page_ends: list[int] = []
        self._unlisted: list[Key] = []
        self.rows = 0

    def add(self, page: Sequence[Row]) -> None:
        """Count a page of rows, which rise."""
        found = Counter(map(_sub_status, page))
        self._counts.update(found)
        self.rows += sum(n for (sub_id, _), n in found.items() if sub_id != UNMATCHED_SUB)
        if any(status == QUEUED for _, status in found):
            bits = self._span_bits
            self._queued.update((row[1], row[0] >> bits) for row in page if row[2] == QUEUED)
        self._page_ends.append(page[-1][0])

    def add_unlisted(self, keys: Sequence[Key]) -> None:
        """Take in what a list lacks, as far as there is room."""
        self._unlisted += keys[: UNLISTED_MAX - len(self._unlisted)]

    def queued_spans(self) -> dict[Key, int]:
        """How many are queued by (subscription, span)."""
        return self._queued

    def audit(
        self,
        kept: Sequence[LedgerRow],
        corrections: int,
        places: Mapping[int, Sequence[Key]] | None = None,
    ) -> Audit:
        """The whole, against the accounts that are kept. places: the wrong ones by account."""
        counted = self._accounts()
        before = {row.subscription_id: row for row in kept}
        now = {row.subscription_id: row for row in counted}
        wrong = {
            sub_id: _difference(
                now.get(sub_id, LedgerRow(subscription_id=sub_id)),
                before.get(sub_id, LedgerRow(subscription_id=sub_id)),
                tuple((places or {}).get(sub_id, ())),
            )
            for sub_id in sorted(before.keys() | now.keys())
        }
        bits = self._span_bits
        return Audit(
            counted,
            {sub_id: difference for sub_id, difference in wrong.items() if any(difference)},
            self._unlisted,
            [
                QueuedSpan(sub_id, (span << bits) - 1, ((span + 1) << bits) - 1)
                for sub_id, span in sorted(self._queued)
            ],
            self._page_ends,
            corrections,
        )

    def _accounts(self) -> list[LedgerRow]:
        counts = self._counts
        return [
            LedgerRow(
                subscription_id=sub_id,
                matched=sum(counts[sub_id, one] for one in (PENDING, QUEUED, DELIVERED, DROPPED)),
                delivered=counts[sub_id, DELIVERED],
                dropped=counts[sub_id, DROPPED],
                queued=counts[sub_id, QUEUED],
                pending=counts[sub_id, PENDING],
            )
            for sub_id in sorted({sub_id for sub_id, _ in counts} - {UNMATCHED_SUB})
        ]


def _difference(counted: LedgerRow, kept: LedgerRow, places: tuple[Key, ...]) -> Difference:
    return Difference(
        counted.matched - kept.matched,
        counted.delivered - kept.delivered,
        counted.dropped - kept.dropped,
        counted.queued - kept.queued,
        counted.pending - kept.pending,
        places,
    )
