"""A schedule says what it will do before anything runs: in words, in times, and what in it is probably not meant."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.cron import CronError, cron_in_words, doubts, parse_cron
from countwheel.domain.cron.fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, Field
from countwheel.domain.preview import Note, preview
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.terms import DstGap, DstOverlap, Terms

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "meaning"),
    [
        ("*/5 * * * *", "every 5 minutes, every day"),
        ("0 9 * * 1-5", "at 09:00, on Monday to Friday"),
        ("0,30 9,17 * * *", "at 09:00, 09:30, 17:00 and 17:30, every day"),
        ("@daily", "at 00:00, every day"),
        ("30 5 4 * * *", "at 04:05:30, every day"),
        ("*/20 5 * * * *", "every 20 seconds of minute 5 of every hour, every day"),
        ("15,45 0-3 * * *", "at minute 15 and minute 45 of every hour from 0 to 3, every day"),
        ("5 * * * *", "at minute 5 of every hour, every day"),
        ("H H(2-5) * * *", "one minute of the job's own of one hour of the job's own (2 to 5), every day"),
        ("0 0 13 * 5", "at 00:00, on day 13 and also on Friday"),
        ("0 0 */10 * 1", "at 00:00, on every 10 days that is also Monday"),
        ("0 0 LW,15W * *", "at 00:00, on the last weekday of the month and the weekday nearest to day 15"),
        ("0 0 * * fri#2,5L", "at 00:00, on the second Friday of the month and the last Friday of the month"),
        ("0 0 1-15/2 jan-mar *", "at 00:00, on every 2 days from day 1 to day 15, in January to March"),
        ("0 0 12 1 1 ? 2030", "at 12:00, on day 1, in January, in 2030"),
    ],
)
def test_an_expression_is_said_in_words(expression: str, meaning: str) -> None:
    """What a person would say, field by field."""
    assert cron_in_words(expression) == meaning


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("* 9 * * *", "every minute of the hours named"),
        ("* 0 9 * * *", "every second of the minutes named"),
        ("0 0 13 * 5", "either is enough"),
        ("0 0 * * * *", "the first of 6 fields is seconds"),
        ("*/7 * * * *", "starts anew at 0"),
        ("0 0 31 * *", "months without a day 31 are left out"),
    ],
)
def test_what_is_probably_not_meant_is_said(expression: str, said: str) -> None:
    """Right, and yet a trap that people fall into."""
    assert any(said in doubt for doubt in doubts(expression))


@pytest.mark.parametrize(
    "expression", ["*/5 * * * *", "0 9 * * 1-5", "@daily", "0 0 L * *", "0 0 15 * *", "0 */6 * * *"]
)
def test_nothing_is_said_against_what_is_plain(expression: str) -> None:
    """A warning that is always there is read by nobody."""
    assert doubts(expression) == []


def test_each_occurrence_is_marked_where_the_clocks_are_changed() -> None:
    """Shifted out of a gap, first or second of two in a fold; and the change itself says what it does."""
    berlin = parse_recurring("30 2 * * *", "Europe/Berlin")
    spring = preview(berlin, datetime(2026, 3, 28, tzinfo=UTC), 3)
    assert [fire.note for fire in spring.fires] == [None, Note.SHIFTED, None]
    assert [change.effect for change in spring.clock_changes] == [
        "2026-03-29 02:30:00 does not exist: it runs right after the gap"
    ]
    autumn = preview(berlin, datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
    assert [fire.note for fire in autumn.fires] == [Note.FIRST_OF_TWO, None]
    assert [change.effect for change in autumn.clock_changes] == [
        "2026-10-25 02:30:00 comes twice: it runs the first time"
    ]
    hourly = preview(parse_recurring("30 * * * *", "Europe/Berlin"), datetime(2026, 10, 25, 0, tzinfo=UTC), 2)
    assert [fire.note for fire in hourly.fires] == [Note.FIRST_OF_TWO, Note.SECOND_OF_TWO]


def test_a_dropped_time_is_said() -> None:
    """What does not run leaves no occurrence to mark: the change of the clocks says it."""
    skipping = parse_recurring("30 2 * * *", "Europe/Berlin", terms=Terms(DstGap.SKIP, DstOverlap.LAST))
    found = preview(skipping, datetime(2026, 3, 28, 12, tzinfo=UTC), 1)
    assert found.fires[0].instant == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    assert [change.effect for change in found.clock_changes] == [
        "2026-03-29 02:30:00 does not exist: it does not run that day"
    ]


def test_an_end_and_an_interval_are_said() -> None:
    """Nothing left is a warning; an interval says what it is counted from."""
    ended = preview(parse_recurring("@daily", None, terms=Terms(end_at=START)), START, 5)
    assert (ended.fires, ended.warnings) == ((), ("nothing is left: the last occurrence is past",))
    assert preview(parse_recurring("@every 90s", None), START, 1).meaning.startswith("every 90s of real time")


def fields(*kinds: Field) -> st.SearchStrategy[str]:
    return st.tuples(*(st.from_regex(kind.pattern, fullmatch=True) for kind in kinds)).map(" ".join)


@given(st.one_of(fields(MINUTE, HOUR, DAY, MONTH, WEEKDAY), fields(SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)))
def test_something_can_be_said_of_whatever_means_something(expression: str) -> None:
    """Words and doubts, of the strangest spelling: lists of stars and steps among it."""
    try:
        parse_cron(expression)
    except CronError:
        return
    assert cron_in_words(expression)
    assert all(doubts(expression))
