"""What a target's word means for a run, and what its silence does."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from countwheel.domain.calling import decode, retry_policy
from countwheel.domain.long_work import (
    Attempts,
    Completion,
    Counts,
    Refused,
    Silence,
    Standing,
    StandsAlready,
    decide_overdue,
    decide_reported,
    weigh,
)
from countwheel.domain.outcome import AttemptsSoFar, Failed, RetryAt, Unknown
from countwheel.domain.policy import Backoff, Delivery, Jitter, OnUnknown, RetryPolicy
from countwheel.domain.run import RunStatus

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DONE, FAILED, AGAIN = Completion(succeeded=True), Completion(succeeded=False), Completion(succeeded=False, retry=True)


def standing(state: RunStatus = RunStatus.RUNNING, *, accepted: bool = True, sent: bool = True) -> Standing:
    return Standing(state, fence=3, is_accepted=accepted, was_sent=sent, has_callback=True)


def attempts(made: int = 1, **policy: object) -> Attempts:
    return Attempts(RetryPolicy(**policy), AttemptsSoFar(made, NOW - timedelta(minutes=1)), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("completion", [DONE, FAILED, AGAIN])
@pytest.mark.parametrize("fence", [3, None])
def test_the_attempt_under_way_is_believed(completion: Completion, fence: int | None) -> None:
    """Whatever it says, and whether or not its 202 is on record."""
    assert weigh(completion, standing(), fence) == Counts()
    assert weigh(completion, standing(accepted=False), fence) == Counts()


@pytest.mark.parametrize("state", [RunStatus.CLAIMED, RunStatus.RUNNING])
def test_an_earlier_attempt_is_believed_if_it_succeeded(state: RunStatus) -> None:
    """The work is done; its failure says nothing of the attempt that is under way."""
    assert weigh(DONE, standing(state, accepted=False), 1) == Counts()
    assert isinstance(weigh(FAILED, standing(state, accepted=False), 1), Refused)
    assert isinstance(weigh(AGAIN, standing(state, accepted=False), 1), Refused)


def test_between_two_attempts_every_word_counts() -> None:
    """RETRYING: done, or to be given up, or to be tried again, which it will be."""
    retrying = standing(RunStatus.RETRYING, accepted=False)
    expected = [Counts(), Counts(), StandsAlready()]
    assert [weigh(said, retrying, 2) for said in (DONE, FAILED, AGAIN)] == expected


def test_what_was_not_sent_or_has_no_callback_is_not_completed() -> None:
    """There is no target that could know."""
    assert isinstance(weigh(DONE, standing(RunStatus.SCHEDULED, accepted=False, sent=False), None), Refused)
    plain = Standing(RunStatus.RUNNING, 3, is_accepted=False, was_sent=True, has_callback=False)
    assert isinstance(weigh(DONE, plain, None), Refused)


def test_a_reported_failure_goes_by_the_policy() -> None:
    """Tried again only if that is wished, while attempts are left, and never where it is delivered at most once."""
    due = NOW + timedelta(seconds=10)
    assert decide_reported(AGAIN, attempts()) == RetryAt(due, "reported: the target said that it failed")
    assert decide_reported(AGAIN, attempts(on_unknown=OnUnknown.HOLD)) == decide_reported(AGAIN, attempts())
    assert isinstance(decide_reported(AGAIN, attempts(5)), Failed)
    assert isinstance(decide_reported(FAILED, attempts()), Failed)
    never_twice = attempts(delivery=Delivery.AT_MOST_ONCE, on_unknown=OnUnknown.HOLD)
    assert "at most once" in decide_reported(AGAIN, never_twice).error  # type: ignore[union-attr]


def test_silence_is_an_unknown_outcome() -> None:
    """Retried or held, as the job says; the reason says what did not come."""
    silent = Silence(NOW - timedelta(seconds=90), NOW + timedelta(seconds=10), 60)
    late = Silence(NOW - timedelta(seconds=90), NOW, 60)
    assert decide_overdue(silent, attempts()).error == "overdue: accepted, and no heartbeat for 60 s"  # type: ignore[union-attr]
    assert "not completed by its deadline of 90 s" in decide_overdue(late, attempts()).error  # type: ignore[union-attr]
    assert isinstance(decide_overdue(late, attempts(on_unknown=OnUnknown.HOLD)), Unknown)
    assert isinstance(decide_overdue(late, attempts(5)), Failed)


def test_a_completion_is_stored_word_for_word() -> None:
    """JSON, the result as it was given."""
    said = Completion(succeeded=False, result='{"a":[1,null]}', error='say "no"', retry=True)
    expected = {"status": "FAILED", "error": 'say "no"', "retry": True, "result": {"a": [1, None]}}
    assert json.loads(said.encode()) == expected
    assert json.loads(DONE.encode())["result"] is None


def test_the_policy_is_what_the_job_says() -> None:
    """And the usual where it says nothing."""
    calling = '{"retry":{"backoff":"fixed","first_delay_seconds":2,"max_age_seconds":90,"jitter":"none"}}'
    policy = retry_policy(3, "at_least_once", "retry", decode(calling).retry)
    assert (policy.backoff, policy.first_delay_seconds, policy.jitter) == (Backoff.FIXED, 2, Jitter.NONE)
    assert (policy.max_age, policy.max_delay_seconds) == (timedelta(seconds=90), RetryPolicy().max_delay_seconds)
    assert retry_policy(5, "at_least_once", "retry", decode(None).retry) == RetryPolicy()
