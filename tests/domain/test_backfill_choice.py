"""Which occurrences of the past a backfill runs."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.backfill import (
    BACKFILL_LIMIT,
    LOOKS_LIMIT,
    Known,
    Only,
    TooManyError,
    choose,
    named_between,
)  # fmt: skip
from countwheel.domain.exclusion import Exclude, Exclusion
from countwheel.domain.run import LIVE, RunStatus
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.terms import Terms

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STATUSES = st.lists(st.sampled_from(sorted(RunStatus)), max_size=4)


@given(STATUSES, st.sampled_from(sorted(Only)))
def test_what_is_wanted_depends_on_what_became_of_it(statuses: list[RunStatus], only: Only) -> None:
    """What is live is never run again; what succeeded or was cancelled, only where all are wanted."""
    known = [Known(NOON, status, None) for status in statuses]
    is_chosen = choose([NOON], known, only) == [NOON]
    done = {RunStatus.SUCCEEDED, RunStatus.CANCELED, RunStatus.UNKNOWN} & set(statuses)
    expected = {
        Only.ALL: True,
        Only.MISSING: not done and RunStatus.FAILED not in statuses,
        Only.FAILED: not done and RunStatus.FAILED in statuses,
    }[only]
    assert is_chosen == (expected and not LIVE & set(statuses))


def test_a_range_is_closed_at_its_begin_and_open_at_its_end() -> None:
    """Two ranges that touch share no occurrence."""
    hourly = parse_recurring("0 * * * *", None)
    assert list(named_between(hourly, NOON, NOON + 2 * HOUR)) == [NOON, NOON + HOUR]


def test_what_the_schedule_leaves_out_is_not_run() -> None:
    """A holiday stays one."""
    terms = Terms(exclude=Exclude(Exclusion(dates=("11-02",))))
    daily = parse_recurring("0 12 * * *", None, terms=terms)
    assert list(named_between(daily, NOON, NOON + 72 * HOUR)) == [NOON, NOON + 48 * HOUR]


def test_more_than_one_backfill_takes_on_is_refused() -> None:
    """It says what to do: a shorter range."""
    secondly = parse_recurring("* * * * * *", None)
    with pytest.raises(TooManyError, match="shorter range"):
        choose(named_between(secondly, NOON, NOON + HOUR), [], Only.ALL)
    assert BACKFILL_LIMIT < 3600
    with pytest.raises(TooManyError, match="shorter range"):
        list(named_between(secondly, NOON, NOON + (LOOKS_LIMIT + 1) * timedelta(seconds=1)))
