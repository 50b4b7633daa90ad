"""Delivery policies: their bounds, and which answers are final."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.errors import InvalidInput
from notify.domain.policy import (
    CLASSES,
    TEMPORARY_CODES,
    Batch,
    BatchFormat,
    check_batch,
    check_permanent_codes,
    check_rate,
    permanent_set,
)

codes = st.lists(st.integers(300, 599) | st.sampled_from(CLASSES), max_size=5).map(tuple)


@given(codes, st.integers(100, 599))
def test_a_code_is_permanent_where_it_is_named_or_of_a_class_that_means_it(
    permanent: tuple[int | str, ...], code: int
) -> None:
    assert check_permanent_codes(permanent) is permanent
    of_class = f"{code // 100}xx" in permanent and code not in TEMPORARY_CODES
    assert (code in permanent_set(permanent)) == (code in permanent or of_class)


def test_a_class_does_not_mean_answers_that_say_later() -> None:
    later = set(range(400, 500)) - permanent_set(("4xx",))
    assert later == {408, 425, 429}
    assert 429 in permanent_set(("4xx", 429))
    assert 410 not in permanent_set(())


@pytest.mark.parametrize("code", [200, 299, 600, 0, -410, "2xx", "4XX", "410", "", "xx"])
def test_what_is_no_failure_cannot_be_permanent(code: int | str) -> None:
    with pytest.raises(InvalidInput, match='300 to 599, "3xx", "4xx", "5xx"'):
        check_permanent_codes((410, code))


def test_the_list_of_codes_is_bounded() -> None:
    with pytest.raises(InvalidInput, match="at most 50"):
        check_permanent_codes(tuple(range(300, 351)))


@pytest.mark.parametrize("rate", [(None, None), (0.01, None), (100_000, 100_000), (0.5, 1)])
def test_rates_within_bounds(rate: tuple[float | None, int | None]) -> None:
    check_rate(*rate)


@pytest.mark.parametrize(
    ("rate", "reason"),
    [
        ((0.009, None), "rate_per_s must be 0.01 to 100000"),
        ((100_001, None), "rate_per_s must be"),
        ((float("nan"), None), "rate_per_s must be"),
        ((1, 0), "rate_burst must be 1 to 100000"),
        ((1, 100_001), "rate_burst must be"),
        ((None, 5), "rate_burst needs rate_per_s"),
    ],
)
def test_rates_out_of_bounds(rate: tuple[float | None, int | None], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        check_rate(*rate)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("size_max", (1, 1001)),
        ("wait_ms", (-1, 60_001)),
        ("bytes_max", (1023, (16 << 20) + 1)),
    ],
)
def test_batches_out_of_bounds(field: str, values: tuple[int, int]) -> None:
    for value in values:
        given: dict[str, Any] = {"size_max": 2, "format": BatchFormat.JSON, field: value}
        with pytest.raises(InvalidInput, match=rf"batch\.{field} must be"):
            check_batch(Batch(**given))


def test_batches_at_their_bounds() -> None:
    for size_max, wait_ms, bytes_max in ((2, 0, 1024), (1000, 60_000, 16 << 20)):
        batch = Batch(
            size_max=size_max, format=BatchFormat.NDJSON, wait_ms=wait_ms, bytes_max=bytes_max
        )
        assert check_batch(batch) is batch
