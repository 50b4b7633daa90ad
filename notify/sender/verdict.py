"""What one HTTP try means for its delivery (DESIGN section 6). Pure."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from notify.domain.model import DeliveryStatus, Reason, Subscription
from notify.domain.policy import GONE, permanent_set
from notify.domain.ports import Answer
from notify.domain.retry import Retry

RETRY_AFTER_CODES: Final = (429, 503)


class Verdict(NamedTuple):
    """The delivery's status from now on; due_ms: the next try (unix ms, 0: none).

    quiet_ms: how long the endpoint asked to be left alone, all deliveries of the subscription.
    """

    status: DeliveryStatus
    reason: Reason = Reason.NONE
    due_ms: int = 0
    quiet_ms: int = 0

    @property
    def refused(self) -> bool:
        """The endpoint said: never again."""
        return self.reason is Reason.REFUSED


DELIVERED: Final = Verdict(DeliveryStatus.DELIVERED)


class Policy(NamedTuple):
    """What a subscription allows. horizon_ms: a later next try waits in the database.

    permanent: the status codes after which nothing is tried again.
    """

    retry: Retry
    retry_after_ms_max: int
    horizon_ms: int
    permanent: frozenset[int] = frozenset({GONE})


class Policies:
    """The policies by subscription; rebuilt when the subscription changed."""

    def __init__(self, default_retry: Retry, retry_after_ms_max: int, horizon_ms: int) -> None:
        self._default = Policy(default_retry, retry_after_ms_max, horizon_ms)
        self._by_sub: dict[int, tuple[Subscription, Policy]] = {}

    def of(self, subscription: Subscription) -> Policy:
        """The policy of a subscription."""
        known = self._by_sub.get(subscription.id)
        if known is not None and known[0] is subscription:
            return known[1]
        policy = self._default._replace(
            retry=subscription.retry or self._default.retry,
            permanent=permanent_set(subscription.permanent_codes),
        )
        self._by_sub[subscription.id] = (subscription, policy)
        return policy


def judge(
    answer: Answer | None,
    attempts: int,
    begun_ms: int,
    expires_ms: int,
    now_ms: int,
    policy: Policy,
    random: float,
) -> Verdict:
    """The verdict on a try.

    answer None: no usable one came. attempts: made so far, this one included. begun_ms: from
    when retry.total_ms counts. random: 0..1.
    """
    quiet_ms = 0
    if answer is not None:
        if 200 <= answer.code < 300:
            return DELIVERED
        quiet_ms = asked_quiet_ms(answer, now_ms, policy)
        if answer.code in policy.permanent:
            return Verdict(DeliveryStatus.DROPPED, Reason.REFUSED, 0, quiet_ms)
    delay_ms = policy.retry.delay_ms(attempts, random)
    if delay_ms is None:
        return Verdict(DeliveryStatus.DROPPED, Reason.EXHAUSTED, 0, quiet_ms)
    delay_ms = max(delay_ms, quiet_ms)
    due_ms = now_ms + delay_ms
    if 0 < expires_ms <= due_ms:
        return Verdict(DeliveryStatus.DROPPED, Reason.EXPIRED, 0, quiet_ms)
    total_ms = policy.retry.total_ms
    if total_ms is not None and due_ms > begun_ms + total_ms:
        return Verdict(DeliveryStatus.DROPPED, Reason.EXHAUSTED, 0, quiet_ms)
    near = delay_ms <= policy.horizon_ms
    status = DeliveryStatus.QUEUED if near else DeliveryStatus.PENDING
    return Verdict(status, Reason.NONE, due_ms, quiet_ms)


def asked_quiet_ms(answer: Answer, now_ms: int, policy: Policy) -> int:
    """How long an answer asks to be left alone, as far as the policy heeds it."""
    if answer.code not in RETRY_AFTER_CODES:
        return 0
    return min(retry_after_ms(answer.retry_after, now_ms), policy.retry_after_ms_max)


def retry_after_ms(value: str, now_ms: int) -> int:
    """How long a Retry-After header asks to wait: seconds or an HTTP date; 0 where unreadable."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return int(value[:9]) * 1000
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)  # HTTP knows no other zone (RFC 9110, 5.6.7)
        return max(0, round(moment.timestamp() * 1000) - now_ms)
    except (TypeError, ValueError, OverflowError):
        return 0
