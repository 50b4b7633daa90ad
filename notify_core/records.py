"""The records that chunks carry, and the codes in them. Field order is the wire order."""

from typing import Final, NamedTuple

# Delivery status, as stored in receive_msg.status. A higher one wins where two writers meet.
PENDING: Final = 0
QUEUED: Final = 1
DELIVERED: Final = 2
DROPPED: Final = 3

# Why a delivery was dropped, as stored in receive_msg.reason.
REASON_NONE: Final = 0
REASON_UNMATCHED: Final = 1
REASON_DISCARDED: Final = 2
REASON_EXPIRED: Final = 3
REASON_REFUSED: Final = 4
REASON_EXHAUSTED: Final = 5
REASON_DELETED: Final = 6

# The subscription id of the row that says: this message was split and matched nobody.
UNMATCHED_SUB: Final = 0


class MessageRecord(NamedTuple):
    """One accepted message.

    content_type "" stands for application/json, headers b"" for none (else a JSON object),
    ordering_key "" for none, deliver_ms 0 for at once, expires_ms 0 for never (unix ms),
    payload None for: too large to travel, read it from biz_msg.
    """

    id: int
    biz_id: int
    type: str
    content_type: str
    headers: bytes
    ordering_key: str
    deliver_ms: int
    expires_ms: int
    payload: bytes | None


class DeliveryRecord(NamedTuple):
    """One delivery on its way; attempts counts the HTTP tries already made."""

    attempts: int
    message: MessageRecord


class OutcomeRecord(NamedTuple):
    """What became of one delivery at one moment.

    status: the delivery's status from now on; attempts: tries made so far, this one included;
    at_ms: when (unix ms); due_ms: the next try (0: none); code: the HTTP status (0: no answer);
    error: why it failed ("" if it did not); response: the first bytes of the answer.
    code 0 with error "" says: decided without an HTTP try.
    """

    msg_id: int
    sub_id: int
    status: int
    attempts: int
    at_ms: int
    due_ms: int
    latency_ms: int
    code: int
    reason: int
    error: str
    response: bytes
