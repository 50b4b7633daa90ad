"""Plain data: accounts and secrets."""

from notify.domain.model import Consumer, DeliveryStatus, LedgerRow, Reason
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
