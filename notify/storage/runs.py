"""How the log keeps the tries of earlier runs of a delivery; a replay begins a new run.

The tries of the run under way are numbered 1, 2, 3 as the Sender counts them. A replay moves them
below zero, each run into a place of its own above that of the run before: so numbers rise in the
order of time, a move never meets a row that is there, and a number leads back to its try.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from notify.domain.model import Attempt
from notify.domain.retry import ATTEMPTS_MAX

STEP: Final = 1000
FIRST: Final = -1_000_000_000
assert ATTEMPTS_MAX < STEP


def place_after(stored: int | None) -> int:
    """What to add to the numbers of a run that ends; stored: the last number below zero."""
    return FIRST if stored is None else (stored // STEP + 1) * STEP


def places(deliveries: Iterable[int], earlier: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """Deliveries by the place of their run that ends; earlier: (delivery, number below zero)."""
    last: dict[int, int] = {}
    for delivery, number in earlier:
        last[delivery] = max(number, last.get(delivery, number))
    found: dict[int, list[int]] = {}
    for delivery in deliveries:
        found.setdefault(place_after(last.get(delivery)), []).append(delivery)
    return found


def number_in_run(stored: int) -> int:
    """The number of a try as its Sender counted it."""
    return stored % STEP


def numbered(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Attempts, by subscription and stored number, numbered through over all runs."""
    shown: list[Attempt] = []
    of, run, before = -1, 0, 0
    for attempt in attempts:
        at = attempt.attempt // STEP
        if attempt.subscription_id != of:
            of, run, before = attempt.subscription_id, at, 0
        elif at != run:
            run, before = at, shown[-1].attempt
        number = before + number_in_run(attempt.attempt)
        shown.append(msgspec.structs.replace(attempt, attempt=number))
    return shown
