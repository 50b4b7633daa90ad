"""One delivery: decide whether to try, try, judge."""

import logging
from typing import Final, NamedTuple

from notify.config import QueueConfig, SenderConfig
from notify.domain.errors import InvalidInput, TransportError
from notify.domain.model import Consumer, DeliveryStatus, Reason, Subscription, SubscriptionStatus
from notify.domain.ports import Answer, Clock, Random, Storage, Transport
from notify.domain.retry import Retry
from notify.runtime.directory import DirectoryCache
from notify.sender.targets import Targets
from notify.sender.verdict import GONE, Policy, judge
from notify.transport.post import post
from notify_core.records import DeliveryRecord, OutcomeRecord

ERROR_CHARS_MAX: Final = 500

log = logging.getLogger(__name__)


class Tried(NamedTuple):
    """What came of a try; quiet_until_ms: when the endpoint wants to be called again, 0: now."""

    outcome: OutcomeRecord
    quiet_until_ms: int


class Attempts:
    """Makes single tries. Holds no database connection while a request is under way."""

    def __init__(
        self,
        storage: Storage,
        transport: Transport,
        directory: DirectoryCache,
        clock: Clock,
        random: Random,
        config: SenderConfig,
        queue_config: QueueConfig,
    ) -> None:
        self._storage = storage
        self._transport = transport
        self._directory = directory
        self._clock = clock
        self._random = random
        self._config = config
        self._horizon_ms = queue_config.delay_horizon_ms
        self._targets = Targets()
        self._default_retry = Retry(
            schedule_ms=config.retry_schedule_ms, jitter=config.retry_jitter
        )

    def without_try(self, sub_id: int, delivery: DeliveryRecord) -> OutcomeRecord | None:
        """The outcome where no request shall be made: discarded, deleted or expired."""
        subscription = self._directory.live_subscriptions.get(sub_id)
        now_ms = self._clock.now_ms()
        if subscription is None:
            reason = Reason.DELETED
        elif subscription.status is SubscriptionStatus.DISCARDED:
            reason = Reason.DISCARDED
        elif 0 < delivery.message.expires_ms <= now_ms:
            reason = Reason.EXPIRED
        else:
            return None
        return _dropped(sub_id, delivery, now_ms, reason)

    async def attempt(self, subscription: Subscription, delivery: DeliveryRecord) -> Tried:
        """Make one try and say what came of it. Raises StorageError where a payload is missing."""
        body = delivery.message.payload
        if body is None:
            body = (await self._storage.payloads([delivery.message.id])).get(delivery.message.id)
            if body is None:
                now_ms = self._clock.now_ms()
                return Tried(_dropped(subscription.id, delivery, now_ms, Reason.DELETED), 0)
        consumer = self._directory.current.consumers[subscription.consumer_id]
        started_ms = self._clock.now_ms()
        answer, error = await self._try(consumer, subscription, delivery, body)
        now_ms = self._clock.now_ms()
        policy = Policy(
            subscription.retry or self._default_retry,
            self._config.retry_after_ms_max,
            self._horizon_ms,
        )
        attempts = delivery.attempts + 1
        verdict = judge(
            answer, attempts, delivery.message.expires_ms, now_ms, policy, self._random.random()
        )
        if answer is not None and answer.code == GONE:
            await self._disable(subscription)
        if answer is not None and verdict.status is not DeliveryStatus.DELIVERED:
            error = f"answered {answer.code}"
        outcome = OutcomeRecord(
            delivery.message.id,
            subscription.id,
            int(verdict.status),
            attempts,
            now_ms,
            verdict.due_ms,
            max(0, now_ms - started_ms),  # the clock may have been set back meanwhile
            answer.code if answer else 0,
            int(verdict.reason),
            error[:ERROR_CHARS_MAX],
            answer.body if answer else b"",
        )
        return Tried(outcome, now_ms + verdict.quiet_ms if verdict.quiet_ms else 0)

    async def _try(
        self,
        consumer: Consumer,
        subscription: Subscription,
        delivery: DeliveryRecord,
        body: bytes,
    ) -> tuple[Answer | None, str]:
        try:
            target = self._targets.of(consumer)
            head = target.request_head(
                delivery.message,
                body,
                subscription.id,
                delivery.attempts + 1,
                self._clock.now_ms(),
            )
            kept_bytes = self._config.response_kept_bytes
            return await post(
                self._transport, target.endpoint, head, body, consumer.timeout_ms, kept_bytes
            ), ""
        except TransportError as error:
            return None, f"{error.stage}: {error}"
        except InvalidInput as error:
            return None, f"address: {error}"
        except Exception:
            # A bug on one delivery's way must not stop the others; it is retried and visible.
            log.exception("delivery %d to subscription %d", delivery.message.id, subscription.id)
            return None, "internal: the try failed inside Notify, see the Sender's log"

    async def _disable(self, subscription: Subscription) -> None:
        if subscription.status is SubscriptionStatus.NORMAL:
            await self._storage.set_subscription_status(
                subscription.id,
                SubscriptionStatus.PAUSED,
                "the endpoint answered 410 Gone; resume when it is back",
                self._clock.now_ms(),
                seen=subscription,
            )
            await self._directory.refresh()


def _dropped(sub_id: int, delivery: DeliveryRecord, now_ms: int, reason: Reason) -> OutcomeRecord:
    return OutcomeRecord(
        delivery.message.id,
        sub_id,
        int(DeliveryStatus.DROPPED),
        delivery.attempts,
        now_ms,
        0,
        0,
        0,
        int(reason),
        "",
        b"",
    )
