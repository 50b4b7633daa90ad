"""Rules of delivery policies that a JSON Schema cannot say; all raise InvalidInput."""

from notify.domain.dialect import Protocol
from notify.domain.errors import InvalidInput
from notify.domain.model import Consumer, Subscription
from notify.domain.policy import check_batch, check_permanent_codes, check_rate
from notify.domain.retry import check_retry


def check_policy(subscription: Subscription, consumer: Consumer) -> None:
    """Raises InvalidInput where parts of the policy contradict each other, or the consumer."""
    if subscription.retry is not None:
        check_retry(subscription.retry)
    check_rate(subscription.rate_per_s, subscription.rate_burst)
    check_permanent_codes(subscription.permanent_codes)
    if subscription.batch is not None:
        check_batch(subscription.batch)
        if consumer.protocol is not Protocol.STANDARD:
            whose = f"subscription {subscription.id}: " if subscription.id else ""
            raise InvalidInput(
                f"{whose}batch needs a consumer of the protocol standard; a request of "
                f"{consumer.protocol.value} carries one message"
            )
