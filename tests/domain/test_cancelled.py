"""What is known of the cancelled occurrences of a job."""

from datetime import UTC, datetime, timedelta

import pytest

from countwheel.domain.cancelled import Cancelled, UnreadError
from countwheel.domain.planning import next_occurrence
from countwheel.domain.schedule import parse_recurring

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_only_what_was_read_is_known() -> None:
    """Between two stretches, and before and after them, an instant may be cancelled or not."""
    cancelled = Cancelled()
    cancelled.learn(NOON, NOON + 2 * HOUR, [NOON + HOUR, NOON + 2 * HOUR])
    cancelled.learn(NOON + 8 * HOUR, None, [NOON + 9 * HOUR])
    known = {hours: NOON + hours * HOUR in cancelled for hours in (0, 1, 2, 8, 9, 99_999)}
    assert known == {0: False, 1: True, 2: True, 8: False, 9: True, 99_999: False}
    for unknown in (NOON - HOUR, NOON + 3 * HOUR, NOON + 7 * HOUR):
        with pytest.raises(UnreadError) as raised:
            _ = unknown in cancelled
        assert raised.value.instant == unknown


def test_a_search_says_where_it_needs_to_know_more() -> None:
    """The first occurrence after what was read; with that known, it goes on."""
    hourly, cancelled = parse_recurring("0 * * * *", None), Cancelled()
    cancelled.learn(NOON, NOON + 2 * HOUR, [NOON + HOUR, NOON + 2 * HOUR])
    with pytest.raises(UnreadError) as raised:
        next_occurrence(hourly, NOON, cancelled)
    assert raised.value.instant == NOON + 3 * HOUR
    cancelled.learn(raised.value.instant, None, [NOON + 3 * HOUR])
    assert next_occurrence(hourly, NOON, cancelled) == NOON + 4 * HOUR
