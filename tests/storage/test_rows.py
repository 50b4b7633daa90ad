"""Rows of other releases: what an older one did not write, and what a newer one did."""

import msgspec
import pytest

from notify.domain.policy import Batch, BatchFormat, Ordering
from notify.domain.retry import Retry
from notify.storage.rows import subscription, subscription_row

OLD = '{"types":["order.*"],"retry":{"schedule_ms":[1],"jitter":0.5},"concurrency_max":3}'


def row(config: str) -> tuple[object, ...]:
    return (7, 1, 2, "paused", "why", config, 10, 11, 0)


@pytest.mark.parametrize("config", ["{}", OLD])
def test_a_row_without_the_policies_of_today_has_their_defaults(config: str) -> None:
    read = subscription(row(config))
    assert (read.rate_per_s, read.rate_burst, read.batch) == (None, None, None)
    assert (read.permanent_codes, read.ordering) == ((410,), Ordering.NONE)
    if config == OLD:
        assert read.retry == Retry(schedule_ms=(1,), jitter=0.5)
        assert (read.types, read.concurrency_max) == (("order.*",), 3)


def test_a_row_with_defaults_is_as_it_was_before_they_existed() -> None:
    written = subscription_row(subscription(row(OLD)))
    assert msgspec.json.decode(written[5]) == msgspec.json.decode(OLD)  # type: ignore[arg-type]


def test_what_a_later_release_wrote_is_passed_over() -> None:
    config = (
        '{"batch":{"size_max":5,"format":"json","colour":1},"retry":{"schedule_ms":[],"colour":1},'
        '"colour":{"red":1}}'
    )
    read = subscription(row(config))
    assert read.batch == Batch(size_max=5, format=BatchFormat.JSON)
    assert read.retry == Retry(schedule_ms=())
