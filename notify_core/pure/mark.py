"""Outcomes to bulk updates and per-minute counters (pure twin of mark.pyx)."""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from notify_core.pure import chunk, sqltext
from notify_core.records import DELIVERED, DROPPED, OutcomeRecord

ATTEMPT_COLUMNS: Final = "msg_id,sub_id,attempt,at_ms,latency_ms,code,error,response"
RETRY_COLUMNS: Final = "msg_id,sub_id,status,attempts,reason,due_ms,updated_ms"
MINUTE_MS: Final = 60_000


class Marks:
    """Outcomes grouped for the database.

    finals: (sub_id, status, attempts, reason, updated_ms, rising msg_ids): everything in a
    group is set to the same values; updated_ms is the latest of the group.
    retries: tuples in the order of RETRY_COLUMNS, the outcome with the most attempts of each
    delivery that is not in finals; of as many the latest, which put it off without a try.
    attempts: tuples in the order of ATTEMPT_COLUMNS; a delivery that succeeded at its first
    try has none, its row says it all.
    minutes: int64 array (n, 6): sub_id, minute (unix), delivered, dropped, failed attempts,
    sum of latency_ms over all attempts; sorted by sub_id, minute.
    """

    def __init__(self) -> None:
        self.finals: list[tuple[int, int, int, int, int, list[int]]] = []
        self.retries: list[tuple[int, int, int, int, int, int, int]] = []
        self.attempts: list[tuple[int, int, int, int, int, int, str, bytes]] = []
        self.minutes: NDArray[np.int64] = np.zeros((0, 6), np.int64)

    def finals_sql(self, in_max: int) -> list[bytes]:
        """Uniform bulk UPDATEs of receive_msg, at most in_max ids a statement.

        Raises ValueError where in_max is below 1.
        """
        if in_max < 1:
            raise ValueError("in_max must be at least 1")
        statements = []
        for sub_id, status, attempts, reason, updated_ms, msg_ids in self.finals:
            statements += [
                b"UPDATE receive_msg SET status=%d,attempts=%d,reason=%d,due_ms=0,"
                b"updated_ms=%d WHERE sub_id=%d AND msg_id IN (%s) AND status IN (0,1)"
                % (
                    status,
                    attempts,
                    reason,
                    updated_ms,
                    sub_id,
                    sqltext.int_list(msg_ids[start : start + in_max]),
                )
                for start in range(0, len(msg_ids), in_max)
            ]
        return statements

    def attempts_sql(self, rows_max: int, bytes_max: int) -> list[bytes]:
        """Multi-row INSERT IGNOREs into receive_attempt."""
        head = b"INSERT IGNORE INTO receive_attempt (%s) VALUES " % ATTEMPT_COLUMNS.encode()
        return sqltext.insert(head, self.attempts, b"", rows_max, bytes_max, False)


def group(outcome_chunks: Sequence[bytes], skip: Collection[tuple[int, int]]) -> Marks:
    """Group the outcomes of chunks; skip: (msg_id, sub_id) that the database shows finished.

    Of several final outcomes of one delivery the first counts. Raises ChunkError.
    """
    marks = Marks()
    finals: dict[tuple[int, int], OutcomeRecord] = {}
    retries: dict[tuple[int, int], OutcomeRecord] = {}
    counted: list[tuple[int, int, int, int, int, int]] = []
    for outcome_chunk in outcome_chunks:
        for outcome in chunk.unpack_outcomes(outcome_chunk):
            key = (outcome.msg_id, outcome.sub_id)
            if key in skip or key in finals:
                continue
            if outcome.status in (DELIVERED, DROPPED):
                finals[key] = outcome
            elif key not in retries or _moment(retries[key]) <= _moment(outcome):
                retries[key] = outcome
            tried = outcome.code != 0 or outcome.error != ""
            first_success = outcome.status == DELIVERED and outcome.attempts == 1
            if tried and not first_success:
                marks.attempts.append(
                    (
                        outcome.msg_id, outcome.sub_id, outcome.attempts, outcome.at_ms,
                        outcome.latency_ms, outcome.code, outcome.error, outcome.response,
                    )
                )  # fmt: skip
            counted.append(
                (
                    outcome.sub_id,
                    outcome.at_ms // MINUTE_MS,
                    int(outcome.status == DELIVERED),
                    int(outcome.status == DROPPED),
                    int(tried and outcome.status != DELIVERED),
                    outcome.latency_ms,
                )
            )
    groups: dict[tuple[int, int, int, int], list[OutcomeRecord]] = {}
    for outcome in finals.values():
        label = (outcome.sub_id, outcome.status, outcome.attempts, outcome.reason)
        groups.setdefault(label, []).append(outcome)
    for label, members in sorted(groups.items()):
        updated_ms = max(outcome.at_ms for outcome in members)
        marks.finals.append((*label, updated_ms, sorted(outcome.msg_id for outcome in members)))
    marks.retries = [
        (
            outcome.msg_id, outcome.sub_id, outcome.status, outcome.attempts, outcome.reason,
            outcome.due_ms, outcome.at_ms,
        )
        for key, outcome in sorted(retries.items())
        if key not in finals
    ]  # fmt: skip
    marks.minutes = _per_minute(counted)
    return marks


def _moment(outcome: OutcomeRecord) -> tuple[int, int]:
    return outcome.attempts, outcome.at_ms


def _per_minute(counted: list[tuple[int, int, int, int, int, int]]) -> NDArray[np.int64]:
    if not counted:
        return np.zeros((0, 6), np.int64)
    rows = np.array(counted, np.int64)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    starts = np.flatnonzero(np.concatenate(([True], np.any(rows[1:, :2] != rows[:-1, :2], axis=1))))
    summed = np.add.reduceat(rows, starts, axis=0)
    summed[:, :2] = rows[starts, :2]
    return summed
