"""What the config columns hold, also when a later release wrote them."""

import pytest

from notify.domain.model import Subscription
from notify.domain.retry import Retry
from notify.storage.sqlite import SqliteStorage
from tests.conformance.storage.samples import NOW, new_consumer


@pytest.fixture
def storage(run):
    storage = SqliteStorage(":memory:", inline=True)
    run(storage.open())
    yield storage
    run(storage.close())


def test_fields_of_a_later_release_are_not_read(storage, run) -> None:
    run(storage.add_consumer(new_consumer("c", secrets=("s",), headers={"a": "b"}, timeout_ms=7)))
    retry = Retry(schedule_ms=(1, 2))
    new = Subscription(
        id=0, producer_id=1, consumer_id=1, created_ms=NOW, updated_ms=NOW, retry=retry
    )
    run(storage.add_subscription(new))
    before = run(storage.directory())

    def later(db) -> None:
        db.execute("UPDATE receive SET config = json_set(config, '$.dialect', 'x6')")
        db.execute("UPDATE biz_receive SET config = json_set(config, '$.retry.budget', 5)")
        db.execute("UPDATE biz_receive SET config = json_set(config, '$.shadow', json('[1]'))")

    run(storage._write(later))
    assert run(storage.directory()) == before


def test_fields_that_an_earlier_release_did_not_write_have_defaults(storage, run) -> None:
    run(storage.add_consumer(new_consumer("c", secrets=("s",), headers={"a": "b"}, timeout_ms=7)))
    run(storage._write(lambda db: db.execute("UPDATE receive SET config = '{}'")))
    (consumer,) = run(storage.directory()).consumers.values()
    assert (consumer.secrets, consumer.headers) == ((), {})
    assert consumer.timeout_ms > 0
    assert (consumer.protocol, consumer.signed, consumer.auth) == ("standard", True, None)
