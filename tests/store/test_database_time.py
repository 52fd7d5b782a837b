"""The database's time, as a node knows it: never later than the truth, and near it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.store.database_time import DatabaseTime, UnknownDatabaseTimeError

EPOCH = datetime(2026, 11, 24, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def truth(monotonic: float) -> datetime:
    """A database whose clock agrees with this node's monotonic one."""
    return EPOCH + timedelta(seconds=monotonic)


round_trips = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=40)


@given(round_trips, st.floats(0, 60))
def test_it_is_never_ahead_of_the_truth(trips: list[tuple[float, float, float]], later: float) -> None:
    """Whatever the round trips take, on the way there and back: no call is early, and it lags by one way at most."""
    time, monotonic = DatabaseTime(), 100.0
    for pause, there, back in trips:
        asked_at = monotonic + pause
        answered_at = asked_at + there + back
        time.observe(asked_at=asked_at, database_time=truth(asked_at + there), answered_at=answered_at)
        monotonic = answered_at
        assert truth(monotonic) - timedelta(seconds=back) - MICROSECOND * 5 <= time.at(monotonic)
    assert time.at(monotonic + later) <= truth(monotonic + later) + MICROSECOND * 5
    due = truth(monotonic + later)
    assert time.at(time.monotonic_of(due)) >= due - MICROSECOND * 5
    assert truth(time.monotonic_of(due)) >= due - MICROSECOND * 5


@given(st.lists(st.floats(0.000_05, 0.02), min_size=1, max_size=20), st.floats(0, 2.5))
def test_between_two_measurements_it_lags_by_the_last_way_back(ways_back: list[float], later: float) -> None:
    """Measured every two seconds, and asked for times up to half a second ahead: however good an old sample was."""
    time = DatabaseTime()
    for number, back in enumerate(ways_back):
        asked_at = number * 2.0
        time.observe(asked_at=asked_at, database_time=truth(asked_at), answered_at=asked_at + back)
        lag = truth(asked_at + back + later) - time.at(asked_at + back + later)
        assert lag <= timedelta(seconds=back) + MICROSECOND * 5


def test_a_clock_that_is_set_back_is_believed() -> None:
    """A sample that cannot be true beside those before it replaces them: nothing is called early by the new time."""
    time = DatabaseTime()
    time.observe(asked_at=0.0, database_time=truth(0.001), answered_at=0.002)
    time.observe(asked_at=1.0, database_time=truth(1.001) - timedelta(seconds=30), answered_at=1.002)
    assert time.at(1.002) == truth(1.001) - timedelta(seconds=30)


def test_a_clock_that_is_set_forward_is_believed() -> None:
    """Of all lower bounds the highest is the nearest: what became due by the step is due."""
    time = DatabaseTime()
    time.observe(asked_at=0.0, database_time=truth(0.001), answered_at=0.002)
    time.observe(asked_at=1.0, database_time=truth(1.001) + timedelta(hours=1), answered_at=1.002)
    assert time.at(1.002) == truth(1.001) + timedelta(hours=1)


def test_a_node_that_was_frozen_while_it_asked_keeps_what_it_knew() -> None:
    """However old the good samples are: an answer that lay unread for seconds says less than they do."""
    time = DatabaseTime()
    time.observe(asked_at=0.0, database_time=truth(0.001), answered_at=0.002)
    time.observe(asked_at=8.0, database_time=truth(8.001), answered_at=15.0)  # frozen for seven seconds
    time.observe(asked_at=15.1, database_time=truth(15.101), answered_at=24.0)  # and again
    assert truth(24.0) - timedelta(seconds=0.02) < time.at(24.0) <= truth(24.0)
    assert abs(time.monotonic_of(time.at(24.5)) - 24.5) < 0.000_01


def test_before_the_first_sample_nothing_is_due() -> None:
    """It says that it does not know."""
    with pytest.raises(UnknownDatabaseTimeError):
        DatabaseTime().at(0.0)
