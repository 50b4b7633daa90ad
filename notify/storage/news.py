"""Which outcomes the log of tries does not have yet, where some came before."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from notify.storage.runs import number_in_run
from notify_core.records import DELIVERED, DROPPED, OutcomeRecord


class Logged(NamedTuple):
    """A try in the log. attempt: as it is stored."""

    msg_id: int
    sub_id: int
    attempt: int
    at_ms: int


def unlogged(outcomes: Iterable[OutcomeRecord], logged: Collection[Logged]) -> list[OutcomeRecord]:
    """The outcomes but failed tries that are logged or come twice, and tries before a replay.

    logged: every try of their deliveries. A delivery that was sent twice, as after a lost queue,
    may have failed and succeeded at tries of the same number: its end counts, under the next
    number that is free.
    """
    seen = {(one.msg_id, one.sub_id, one.attempt) for one in logged if one.attempt > 0}
    earlier = {
        one._replace(attempt=number_in_run(one.attempt)) for one in logged if one.attempt <= 0
    }
    news = []
    for outcome in outcomes:
        msg_id, sub_id, number = outcome.msg_id, outcome.sub_id, outcome.attempts
        if (msg_id, sub_id, number, outcome.at_ms) in earlier:
            continue
        if outcome.code or outcome.error:
            if outcome.status in (DELIVERED, DROPPED):
                while (msg_id, sub_id, number) in seen:
                    number += 1
            elif (msg_id, sub_id, number) in seen:
                continue
            else:
                seen.add((msg_id, sub_id, number))
        news.append(outcome if number == outcome.attempts else outcome._replace(attempts=number))
    return news
