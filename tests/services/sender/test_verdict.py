"""What an answer means for its delivery."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notify.domain.model import DeliveryStatus, Reason, Subscription
from notify.domain.policy import permanent_set
from notify.domain.ports import Answer
from notify.domain.retry import Retry
from notify.sender.verdict import Policies, Policy, Verdict, judge, retry_after_ms

NOW = 1_790_000_000_000
RETRY = Retry(schedule_ms=(1000, 5000, 100_000), jitter=0)
POLICY = Policy(RETRY, retry_after_ms_max=20_000, horizon_ms=30_000)

DELIVERED = Verdict(DeliveryStatus.DELIVERED)
REFUSED = Verdict(DeliveryStatus.DROPPED, Reason.REFUSED)
EXHAUSTED = Verdict(DeliveryStatus.DROPPED, Reason.EXHAUSTED)
EXPIRED = Verdict(DeliveryStatus.DROPPED, Reason.EXPIRED)


def queued(delay_ms: int, quiet_ms: int = 0) -> Verdict:
    return Verdict(DeliveryStatus.QUEUED, due_ms=NOW + delay_ms, quiet_ms=quiet_ms)


def pending(delay_ms: int) -> Verdict:
    return Verdict(DeliveryStatus.PENDING, due_ms=NOW + delay_ms)


@pytest.mark.parametrize(
    ("code", "retry_after", "attempts", "expires_ms", "verdict"),
    [
        (200, "", 1, 0, DELIVERED),
        (204, "", 4, NOW - 1, DELIVERED),
        (299, "60", 1, 0, DELIVERED),
        (100, "", 1, 0, queued(1000)),
        (199, "", 1, 0, queued(1000)),
        (300, "", 1, 0, queued(1000)),
        (302, "60", 1, 0, queued(1000)),
        (400, "60", 1, 0, queued(1000)),
        (404, "", 2, 0, queued(5000)),
        (410, "60", 1, 0, REFUSED),
        (410, "", 9, NOW - 1, REFUSED),
        (500, "60", 1, 0, queued(1000)),
        (599, "", 1, 0, queued(1000)),
        # Retry-After only where the code gives it a meaning, never shorter than the schedule.
        (429, "7", 1, 0, queued(7000, 7000)),
        (503, "7", 1, 0, queued(7000, 7000)),
        (503, "7", 2, 0, queued(7000, 7000)),
        (503, "3", 2, 0, queued(5000, 3000)),
        (429, "", 1, 0, queued(1000)),
        (429, "soon", 1, 0, queued(1000)),
        (429, "-7", 1, 0, queued(1000)),
        (429, "99999999999999999999", 1, 0, queued(20_000, 20_000)),
        (429, "7", 4, 0, EXHAUSTED._replace(quiet_ms=7000)),
        # A try far away waits in the database.
        (500, "", 3, 0, pending(100_000)),
        (0, "", 1, 0, queued(1000)),
        (0, "", 3, 0, pending(100_000)),
        (0, "", 4, 0, EXHAUSTED),
        (500, "", 4, 0, EXHAUSTED),
        (500, "", 5, 0, EXHAUSTED),
        # A next try at or after the expiry is none.
        (500, "", 1, NOW + 1000, EXPIRED),
        (500, "", 1, NOW + 1001, queued(1000)),
        (503, "7", 1, NOW + 6999, EXPIRED._replace(quiet_ms=7000)),
        (0, "", 1, NOW + 1, EXPIRED),
    ],
)
def test_every_class_of_answers_has_its_verdict(
    code: int, retry_after: str, attempts: int, expires_ms: int, verdict: Verdict
) -> None:
    answer = Answer(code, b"", retry_after) if code else None
    assert judge(answer, attempts, NOW, expires_ms, NOW, POLICY, 0.5) == verdict


@pytest.mark.parametrize(("delay_ms", "status"), [(30_000, 1), (30_001, 0)])
def test_the_horizon_divides_queue_and_database(delay_ms: int, status: int) -> None:
    policy = POLICY._replace(retry=Retry(schedule_ms=(delay_ms,), jitter=0))
    assert judge(None, 1, NOW, 0, NOW, policy, 0.5).status == status


@pytest.mark.parametrize(
    ("codes", "code", "refused"),
    [
        ((410,), 404, False),
        ((), 410, False),
        ((404, 422), 404, True),
        ((404, 422), 410, False),
        (("4xx",), 410, True),
        (("4xx",), 499, True),
        (("4xx",), 500, False),
        (("4xx",), 408, False),
        (("4xx",), 425, False),
        (("4xx",), 429, False),
        (("4xx", 429), 429, True),
        (("3xx", "5xx"), 302, True),
        (("3xx", "5xx"), 503, True),
        (("3xx", "5xx"), 400, False),
        # Success and silence are no answers of failure.
        (("3xx", "4xx", "5xx"), 200, False),
        (("3xx", "4xx", "5xx"), 0, False),
    ],
)
def test_permanent_codes_end_a_delivery_at_once(
    codes: tuple[int | str, ...], code: int, refused: bool
) -> None:
    answer = Answer(code, b"", "7") if code else None
    policy = POLICY._replace(permanent=permanent_set(codes))
    verdict = judge(answer, 1, NOW, 0, NOW, policy, 0.5)
    assert verdict.refused == refused
    assert (verdict.status is DeliveryStatus.DROPPED) == refused
    # A code that asks to be left alone is heard, whatever becomes of this delivery.
    assert verdict.quiet_ms == (7000 if code in (429, 503) else 0)


@pytest.mark.parametrize(
    ("total_ms", "since_ms", "verdict"),
    [
        (1000, 0, queued(1000)),
        (999, 0, EXHAUSTED),
        (60_000, 59_000, queued(1000)),
        (60_000, 59_001, EXHAUSTED),
        (60_000, 90_000, EXHAUSTED),
        (60_000, -5000, queued(1000)),  # accepted by a host whose clock is ahead
    ],
)
def test_no_try_begins_after_the_total_time(total_ms: int, since_ms: int, verdict: Verdict) -> None:
    retry = Retry(schedule_ms=(1000,), jitter=0, total_ms=total_ms)
    policy = POLICY._replace(retry=retry)
    assert judge(None, 1, NOW - since_ms, 0, NOW, policy, 0.5) == verdict
    success = Answer(204, b"", "")
    assert judge(success, 1, NOW - since_ms, 0, NOW, policy, 0.5) == DELIVERED


def test_a_policy_is_worked_out_once_for_each_state_of_a_subscription() -> None:
    policies = Policies(RETRY, 20_000, 30_000)
    subscription = Subscription(id=1, created_ms=0, updated_ms=0, producer_id=1, consumer_id=1)
    assert policies.of(subscription) == POLICY
    assert policies.of(subscription) is policies.of(subscription)
    own = Retry(schedule_ms=(7,), total_ms=9)
    changed = replace(subscription, retry=own, permanent_codes=(404,))
    assert policies.of(changed) == Policy(own, 20_000, 30_000, frozenset({404}))
    assert policies.of(subscription) == POLICY


answers = st.none() | st.builds(
    Answer, st.integers(100, 599), st.just(b""), st.text(max_size=40) | st.integers().map(str)
)


@given(
    answers,
    st.integers(1, 6),
    st.integers(NOW - 100_000, NOW),
    st.none() | st.integers(1, 200_000),
    st.just(0) | st.integers(NOW - 10_000, NOW + 200_000),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1),
)
def test_a_verdict_is_final_or_has_a_bounded_next_try_before_the_expiry(
    answer: Answer | None,
    attempts: int,
    begun_ms: int,
    total_ms: int | None,
    expires_ms: int,
    random: float,
    jitter: float,
) -> None:
    retry = Retry(schedule_ms=RETRY.schedule_ms, jitter=jitter, total_ms=total_ms)
    policy = POLICY._replace(retry=retry)
    verdict = judge(answer, attempts, begun_ms, expires_ms, NOW, policy, random)
    if verdict.status is DeliveryStatus.DELIVERED:
        assert answer is not None
        assert 200 <= answer.code < 300
    elif verdict.status is DeliveryStatus.DROPPED:
        assert verdict.reason is not Reason.NONE
        assert verdict.due_ms == 0
    else:
        assert attempts < retry.attempts_max
        assert verdict.reason is Reason.NONE
        assert NOW <= verdict.due_ms <= NOW + max(20_000, 2 * max(RETRY.schedule_ms or ()))
        assert expires_ms == 0 or verdict.due_ms < expires_ms
        assert total_ms is None or verdict.due_ms <= begun_ms + total_ms
        near = verdict.due_ms - NOW <= POLICY.horizon_ms
        assert near == (verdict.status is DeliveryStatus.QUEUED)


IN_A_MINUTE = datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        ("120", 120_000),
        (" 120 ", 120_000),
        ("0", 0),
        ("", 0),
        ("1.5", 0),
        ("-1", 0),
        ("١٢", 0),  # digits, but not ASCII ones
        ("9" * 5000, 999_999_999_000),
        (format_datetime(IN_A_MINUTE, usegmt=True), 60_000),
        (IN_A_MINUTE.strftime("%A, %d-%b-%y %H:%M:%S GMT"), 60_000),
        (IN_A_MINUTE.strftime("%a, %d %b %Y %H:%M:%S"), 60_000),
        (IN_A_MINUTE.strftime("%a, %d %b %Y %H:%M:%S -0000"), 60_000),
        (format_datetime(IN_A_MINUTE.astimezone(timezone(timedelta(hours=8)))), 60_000),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),  # long past
        ("Wed, 99 Oct 2015 07:28:00 GMT", 0),
        ("tomorrow", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(value: str, wait_ms: int) -> None:
    assert retry_after_ms(value, NOW) == wait_ms


@given(
    st.text()
    | st.lists(
        st.sampled_from(
            ["Wed,", "21", "Oct", "2015", "0", "07:28:00", ":", ",", "-", "+", "GMT", "+9999999"]
        )
    ).map(" ".join)
)
def test_no_retry_after_header_can_break_the_verdict(value: str) -> None:
    assert retry_after_ms(value, NOW) >= 0
