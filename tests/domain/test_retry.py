"""Retry policies: how long to wait, how often to try, what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.errors import InvalidInput
from notify.domain.retry import ATTEMPTS_MAX, DELAY_MS_MAX, Retry, check_retry

delays = st.integers(0, DELAY_MS_MAX)
schedules = st.builds(
    Retry, schedule_ms=st.lists(delays, max_size=20).map(tuple), jitter=st.floats(0, 1)
)


@st.composite
def exponentials(draw: st.DrawFn) -> Retry:
    initial_ms, max_ms = sorted((draw(delays), draw(delays)))
    return Retry(
        initial_ms=initial_ms,
        factor=draw(st.floats(1, 100)),
        max_ms=max_ms,
        attempts=draw(st.integers(1, ATTEMPTS_MAX)),
        jitter=draw(st.floats(0, 1)),
    )


policies = schedules | exponentials()


def test_a_schedule_gives_one_more_attempt_than_delays() -> None:
    retry = Retry(schedule_ms=(100, 2000), jitter=0)
    assert retry.attempts_max == 3
    assert [retry.delay_ms(n, 0.5) for n in (1, 2, 3, 4)] == [100, 2000, None, None]


def test_an_empty_schedule_allows_a_single_attempt() -> None:
    assert check_retry(Retry(schedule_ms=())).delay_ms(1, 0.5) is None


def test_exponential_delays_grow_up_to_their_maximum() -> None:
    retry = Retry(initial_ms=100, factor=3, max_ms=1000, attempts=6, jitter=0)
    assert [retry.delay_ms(n, 0.9) for n in range(1, 7)] == [100, 300, 900, 1000, 1000, None]


@pytest.mark.parametrize(("random", "delay_ms"), [(0.0, 800), (0.5, 1000), (1.0, 1200)])
def test_jitter_spreads_a_delay_evenly_around_its_middle(random: float, delay_ms: int) -> None:
    assert Retry(schedule_ms=(1000,), jitter=0.2).delay_ms(1, random) == delay_ms


@given(policies, st.integers(1, ATTEMPTS_MAX + 5), st.floats(0, 1))
def test_a_valid_policy_waits_within_its_jitter_or_gives_up(
    retry: Retry, attempts: int, random: float
) -> None:
    assert check_retry(retry) is retry
    delay_ms = retry.delay_ms(attempts, random)
    assert (delay_ms is None) == (attempts >= retry.attempts_max)
    if delay_ms is not None:
        middle = retry.delay_ms(attempts, 0.5)
        assert middle is not None
        assert middle <= DELAY_MS_MAX
        assert abs(delay_ms - middle) <= middle * retry.jitter + 1
        assert delay_ms >= 0


@given(exponentials())
def test_exponential_delays_never_fall(retry: Retry) -> None:
    made = [retry.delay_ms(n, 0.5) for n in range(1, retry.attempts_max)]
    assert made == sorted(made, key=lambda delay: delay or 0)


GROWTH = {"initial_ms": 10, "factor": 2.0, "max_ms": 100, "attempts": 3}


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({}, "needs schedule_ms, or all of"),
        ({"schedule_ms": (1,), "attempts": 3}, "takes schedule_ms or"),
        ({"schedule_ms": (1,), "jitter": -0.1}, "jitter must be"),
        ({"schedule_ms": (1,), "jitter": 1.1}, "jitter must be"),
        ({"schedule_ms": (1,), "jitter": float("nan")}, "jitter must be"),
        ({"schedule_ms": (1,) * ATTEMPTS_MAX}, "at most 99 delays"),
        ({"schedule_ms": (5, -1)}, "each delay"),
        ({"schedule_ms": (1,), "total_ms": 0}, "total_ms must be 1 to 604800000"),
        (GROWTH | {"total_ms": DELAY_MS_MAX + 1}, "total_ms must be"),
        ({"schedule_ms": (DELAY_MS_MAX + 1,)}, "each delay"),
        *(
            ({name: value for name, value in GROWTH.items() if name != left_out}, "needs schedule")
            for left_out in GROWTH
        ),
        (GROWTH | {"initial_ms": -1}, "initial_ms <= max_ms"),
        (GROWTH | {"max_ms": 9}, "initial_ms <= max_ms"),
        (GROWTH | {"max_ms": DELAY_MS_MAX + 1}, "initial_ms <= max_ms"),
        (GROWTH | {"factor": 0.99}, "factor must be"),
        (GROWTH | {"factor": 101}, "factor must be"),
        (GROWTH | {"factor": float("nan")}, "factor must be"),
        (GROWTH | {"attempts": 0}, "attempts must be"),
        (GROWTH | {"attempts": ATTEMPTS_MAX + 1}, "attempts must be"),
    ],
)
def test_a_policy_out_of_bounds_is_refused(policy: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        check_retry(Retry(**policy))


@pytest.mark.parametrize(
    "policy",
    [
        {"schedule_ms": (DELAY_MS_MAX,) * (ATTEMPTS_MAX - 1), "jitter": 1},
        {"schedule_ms": (0,), "jitter": 0, "total_ms": 1},
        {"schedule_ms": (0,), "total_ms": DELAY_MS_MAX},
        {"initial_ms": 0, "factor": 1, "max_ms": 0, "attempts": 1},
        {"initial_ms": 1, "factor": 100, "max_ms": DELAY_MS_MAX, "attempts": ATTEMPTS_MAX},
    ],
)
def test_the_bounds_themselves_are_allowed(policy: dict[str, Any]) -> None:
    retry = check_retry(Retry(**policy))
    assert retry.delay_ms(retry.attempts_max, 1.0) is None
