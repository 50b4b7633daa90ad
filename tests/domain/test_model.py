"""Plain data: accounts and secrets."""

from notify.domain.model import Consumer, DeliveryStatus, LedgerRow, Reason, Subscription
from notify_core import records


def test_an_account_that_misses_deliveries_shows_how_many() -> None:
    row = LedgerRow(subscription_id=1, matched=10, delivered=3, dropped=2, queued=1, pending=1)
    assert row.difference == 3


def test_a_consumers_repr_hides_its_secrets() -> None:
    consumer = Consumer(
        id=1,
        created_ms=0,
        updated_ms=0,
        name="mail",
        url="https://x.example/hook",
        secrets=("whsec_c2VjcmV0",),
        headers={"authorization": "Bearer hidden"},
        timeout_ms=1000,
    )
    assert "c2VjcmV0" not in repr(consumer)
    assert "hidden" not in repr(consumer)
    assert "mail" in repr(consumer)


def test_a_burst_is_a_seconds_worth_unless_configured() -> None:
    def burst(rate_per_s: float, rate_burst: int | None = None) -> int:
        return Subscription(
            id=1, created_ms=0, updated_ms=0, producer_id=1, consumer_id=1,
            rate_per_s=rate_per_s, rate_burst=rate_burst,
        ).burst  # fmt: skip

    assert [burst(0.01), burst(1), burst(1.5), burst(100_000)] == [1, 1, 2, 100_000]
    assert burst(0.01, 7) == 7


def test_codes_are_those_of_the_compiled_core() -> None:
    assert [status.value for status in DeliveryStatus] == [
        records.PENDING,
        records.QUEUED,
        records.DELIVERED,
        records.DROPPED,
    ]
    assert {reason.value for reason in Reason} == {
        value for name, value in vars(records).items() if name.startswith("REASON_")
    }
