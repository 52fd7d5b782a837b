"""W9: what an attempt's result means for its run."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.attempt import Failure, FailureKind, Response
from countwheel.domain.outcome import AttemptsSoFar, Failed, RetryAt, Succeeded, decide
from countwheel.domain.policy import RetryPolicy

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
POLICY = RetryPolicy()
FIRST = AttemptsSoFar(made=1, first_started_at=NOW)


def judge(result, *, made: int = 1, first: datetime = NOW, jitter: float = 1.0):
    return decide(result, POLICY, AttemptsSoFar(made=made, first_started_at=first), now=NOW, jitter=jitter)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_w9_2xx_succeeds(status: int) -> None:
    """W9: every 2xx."""
    assert judge(Response(status, b"")) == Succeeded()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599, 600, 999])
def test_w9_what_may_get_better_is_tried_again(status: int) -> None:
    """W9: 408, 425, 429, every 5xx, and what no standard knows above it."""
    assert isinstance(judge(Response(status, b"")), RetryAt)


@pytest.mark.parametrize("status", [101, 199, 300, 301, 302, 304, 307, 308, 400, 401, 404, 409, 410, 422, 499])
def test_w9_the_rest_is_final(status: int) -> None:
    """W9: redirects are not followed, other 4xx do not get better."""
    assert isinstance(judge(Response(status, b"")), Failed)


@pytest.mark.parametrize("kind", FailureKind)
def test_w9_connection_faults_are_tried_again(kind: FailureKind) -> None:
    """W9: every fault on the way, but not what the guard blocked or somebody aborted."""
    outcome = judge(Failure(kind, "detail", maybe_sent=True))
    final = kind in {FailureKind.BLOCKED, FailureKind.ABORTED}
    assert isinstance(outcome, Failed if final else RetryAt)
    assert outcome.error == f"{kind}: detail"


def test_w9_the_delay_doubles_up_to_an_hour() -> None:
    """W9: 10 s doubling to 1 h with full jitter; half a chance is half the delay."""
    policy = RetryPolicy(max_attempts=20)
    delays = [
        decide(Response(500, b""), policy, AttemptsSoFar(made, NOW), now=NOW, jitter=1.0).due_at - NOW
        for made in range(1, 13)
    ]
    assert [delay.total_seconds() for delay in delays] == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    assert judge(Response(500, b""), jitter=0.5).due_at == NOW + timedelta(seconds=5)
    assert judge(Response(500, b""), jitter=0.0).due_at == NOW


def test_w9_the_last_attempt_ends_the_run() -> None:
    """W9: five attempts by default."""
    assert isinstance(judge(Response(500, b""), made=4), RetryAt)
    assert judge(Response(500, b""), made=5) == Failed("HTTP 500 Internal Server Error (attempt 5 of 5, the last)")


def test_w9_a_run_gets_no_older_than_its_maximum_age() -> None:
    """W9: no attempt later than 24 h after the first."""
    almost = NOW - timedelta(hours=24) + timedelta(seconds=10)
    assert isinstance(judge(Response(500, b""), first=almost), RetryAt)
    assert isinstance(judge(Response(500, b""), first=almost - timedelta(seconds=1)), Failed)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 10),
        ("5", 10),
        ("Tue, 24 Nov 2026 12:03:00 GMT", 180),
        ("Tue, 24 Nov 2020 12:03:00 GMT", 10),
        ("-5", 10),
        ("1.5", 10),
        ("soon", 10),
        ("", 10),
        ("1 Jan 99999999999 00:00:00 GMT", 10),
        ("Tue, 24 Nov 2026 12:03:00 +99999999999999", 10),
        ("\N{ARABIC-INDIC DIGIT FIVE}", 10),
    ],
)
def test_w9_retry_after_is_honoured(retry_after: str, seconds: int) -> None:
    """W9: seconds or a date push the next attempt back; nonsense is as if it were not there."""
    outcome = judge(Response(503, b"", retry_after))
    assert outcome.due_at - NOW == timedelta(seconds=seconds)


@pytest.mark.parametrize("retry_after", ["999999999999", "Tue, 24 Nov 2099 12:00:00 GMT", "86400"])
def test_w9_retry_after_is_clamped_to_a_day(retry_after: str) -> None:
    """W9: a target cannot push a run out of sight."""
    outcome = judge(Response(503, b"", retry_after))
    assert outcome.due_at == NOW + timedelta(days=1)


LIKE_A_DATE = r"(Tue, )?[0-9]{1,3} Nov [0-9]{1,20} [0-9]{1,3}:[0-9]{1,3}(:[0-9]{1,3})? ([A-Z]{1,4}|[+-][0-9]{1,20})"


@given(
    status=st.integers(100, 999),
    retry_after=st.none() | st.text(max_size=40) | st.from_regex(LIKE_A_DATE, fullmatch=True),
    made=st.integers(1, 25),
    age=st.timedeltas(timedelta(0), timedelta(days=2)),
    jitter=st.floats(0.0, 1.0),
)
def test_w9_every_result_has_an_outcome(status, retry_after, made, age, jitter) -> None:
    """Whatever a target answers, the run ends or is due again: now or later, never before, never for ever."""
    outcome = judge(Response(status, b"", retry_after), made=made, first=NOW - age, jitter=jitter)
    if isinstance(outcome, RetryAt):
        assert NOW <= outcome.due_at <= NOW + timedelta(days=1)
        assert made < POLICY.max_attempts
    else:
        assert isinstance(outcome, Succeeded) == (200 <= status <= 299)
