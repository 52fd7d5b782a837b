"""Criterion P3: a window spreads jobs, and each job is always at its own place in it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.errors import ScheduleError
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.terms import Terms
from countwheel.domain.window import parse_window

START = datetime(2027, 1, 1, tzinfo=UTC)


@given(
    st.uuids(),
    st.sampled_from(["1s", "90s", "15m", "24h", "1%", "10%", "99%"]),
    st.sampled_from(["* * * * *", "0 0 1 * *"]),
)
def test_p3_never_early_and_before_the_next(job_id: UUID, window: str, expression: str) -> None:
    """P3: due at or after its instant, within the window, and strictly before the next occurrence."""
    schedule = parse_recurring(expression, None, job_id, Terms(window=parse_window(window)))
    instant = schedule.next_after(START)
    assert instant is not None
    following = schedule.next_after(instant)
    assert following is not None
    length = parse_window(window).length
    assert instant <= schedule.due_at(instant) < min(following, instant + (length or following - instant))


def test_p3_each_job_has_its_own_place_and_keeps_it() -> None:
    """P3: the same distance each day, another for another job; a thousand jobs fill the window evenly."""
    window = Terms(window=parse_window("10m"))
    offsets = []
    for _ in range(1000):
        schedule = parse_recurring("0 0 * * *", None, uuid4(), window)
        days = [START + timedelta(days=n) for n in range(3)]
        (offset,) = {schedule.due_at(day) - day for day in days}
        offsets.append(offset)
    minutes = [offset // timedelta(minutes=1) for offset in offsets]
    assert all(60 <= minutes.count(minute) <= 145 for minute in range(10)), "about 100 each"


def test_p3_the_latest_due_is_by_the_window() -> None:
    """An occurrence whose time has come and whose place in the window has not is not due."""
    schedule = parse_recurring("0 * * * *", None, uuid4(), Terms(window=parse_window("59m")))
    due_at = schedule.due_at(START)
    assert schedule.latest_due(due_at) == START
    assert schedule.latest_due(due_at - timedelta(milliseconds=1)) == START - timedelta(hours=1)


@pytest.mark.parametrize("text", ["", "15", "0m", "25h", "86401s", "100%", "0%", "1.5h", "-1m", "15 m", "1d", "१m"])
def test_what_is_no_window_is_refused(text: str) -> None:
    """The error says what would be right."""
    with pytest.raises(ScheduleError, match="like 15m"):
        parse_window(text)
