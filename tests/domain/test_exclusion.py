"""Days and times that are left out, and how occurrences roll: against a model that looks at every day."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.cron import parse_cron
from countwheel.domain.errors import ScheduleError
from countwheel.domain.exclusion import (
    ROLL_DAYS_LIMIT,
    CalendarCopy,
    Exclude,
    Exclusion,
    OnExcluded,
    RolledCron,
    read_exclusion,
)
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.terms import Terms, decode, encode, read_terms, with_calendars

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
YEAR_BEGIN = date(2027, 1, 1)
DATES = st.integers(0, 60).map(lambda days: (YEAR_BEGIN + days * DAY).isoformat())
EXCLUDES = st.builds(
    lambda dates, weekdays: Exclude(Exclusion(tuple(dates), tuple(weekdays))),
    st.lists(DATES, max_size=12),
    st.lists(st.sampled_from(["MON", "WED", "SAT", "SUN"]), unique=True, max_size=4),
)
EXPRESSIONS = st.sampled_from(
    [
        "0 9 * * *",
        "0 23,1 * * *",
        "30 8 1,15 * *",
        "0 9 * * SAT",
        "0 9 L * *",
        "0 12 * * 1-5",
        "*/30 8-10 * * 0",
        "0 7 3 2 *",
    ]
)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


def rolled_by_hand(expression: str, exclude: Exclude, step: timedelta, days: int) -> list[datetime]:
    """Look at every day around, roll each time that it names, and drop what comes twice."""
    cron, found = parse_cron(expression), set()
    wall = midnight(YEAR_BEGIN - 60 * DAY)
    while (wall := cron.next_after(wall)) is not None and wall < midnight(YEAR_BEGIN + (days + 60) * DAY):
        day = wall.date()
        while exclude.day(day) is not None:
            day += step
        found.add(datetime.combine(day, wall.time()))
    return sorted(time for time in found if midnight(YEAR_BEGIN) <= time < midnight(YEAR_BEGIN + days * DAY))


@given(EXPRESSIONS, EXCLUDES, st.sampled_from([OnExcluded.NEXT, OnExcluded.PREVIOUS]))
def test_rolling_agrees_with_looking_at_every_day(expression: str, exclude: Exclude, on_excluded: OnExcluded) -> None:
    """Each named time is on the nearest day that is free, in the order of time, and none comes twice."""
    step = DAY if on_excluded is OnExcluded.NEXT else -DAY
    rolled = RolledCron(parse_cron(expression), exclude, on_excluded)
    found, wall = [], midnight(YEAR_BEGIN) - SECOND
    while (wall := rolled.next_after(wall)) is not None and wall < midnight(YEAR_BEGIN + 70 * DAY):
        found.append(wall)
    assert found == rolled_by_hand(expression, exclude, step, 70)


@given(EXPRESSIONS, EXCLUDES, st.integers(0, 60 * 24 * 60))
def test_next_from_anywhere_is_the_same_next(expression: str, exclude: Exclude, minutes: int) -> None:
    """C3 for what rolls: a look from between two times finds the second."""
    rolled = RolledCron(parse_cron(expression), exclude, OnExcluded.NEXT)
    start = midnight(YEAR_BEGIN) + timedelta(minutes=minutes)
    following = rolled.next_after(start)
    assert following is not None
    assert following > start
    assert rolled.next_after(following - SECOND) == following


def days_from(first: date, count: int) -> tuple[str, ...]:
    return tuple((first + place * DAY).isoformat() for place in range(count))


EVERY_DAY = tuple(text[5:] for text in days_from(date(2028, 1, 1), 366))
EITHER_WAY = pytest.mark.parametrize("on_excluded", [OnExcluded.NEXT, OnExcluded.PREVIOUS])


@given(
    st.sampled_from(["0 9 * * *", "0 9 1 1 *", "0 9 1 3,9 *", "0 9 * * SAT", "0 0 9 1 3 ? 2028/4", "0 9 29 2 *"]),
    st.integers(0, 400),
    st.integers(300, 1500),
    st.integers(1, 3),
    st.sampled_from([OnExcluded.NEXT, OnExcluded.PREVIOUS]),
)
def test_nothing_rolls_further_than_a_year(
    expression: str, begin: int, long: int, free: int, on_excluded: OnExcluded
) -> None:
    """What is named within a longer stretch is on the free day at its end, if that is near enough; or on none."""
    dates = days_from(YEAR_BEGIN + begin * DAY, long) + days_from(YEAR_BEGIN + (begin + long + free) * DAY, 500)
    exclude, cron, expected, left_out = Exclude(Exclusion(dates)), parse_cron(expression), set(), frozenset(dates)
    step = DAY if on_excluded is OnExcluded.NEXT else -DAY
    first, end = midnight(YEAR_BEGIN), midnight(YEAR_BEGIN + 3000 * DAY)
    wall = first - 400 * DAY
    while (wall := cron.next_after(wall)) is not None and wall < end + 400 * DAY:
        days = (wall.date() + distance * step for distance in range(ROLL_DAYS_LIMIT + 1))
        target = next((day for day in days if day.isoformat() not in left_out), None)
        if target is not None and first <= midnight(target) < end:
            expected.add(datetime.combine(target, wall.time()))
    rolled, found, wall = RolledCron(cron, exclude, on_excluded), [], first - SECOND
    while (wall := rolled.next_after(wall)) is not None and wall < end:
        found.append(wall)
    assert found == sorted(expected)


@EITHER_WAY
@pytest.mark.parametrize("expression", ["0 0 * * *", "* * * * *", "0 9 1 1 *", "0 0 9 1 3 ? 2028/4", "0 9 29 2 *"])
@pytest.mark.parametrize("dates", [EVERY_DAY, days_from(YEAR_BEGIN, 6_400)], ids=["every year", "one by one"])
def test_where_no_day_is_free_for_ten_years_nothing_is_left(
    expression: str, dates: tuple[str, ...], on_excluded: OnExcluded, days_looked_at: list[date]
) -> None:
    """Each of the ten years is looked at once, however often it is asked: a node has other work to do."""
    rolled = RolledCron(parse_cron(expression), Exclude(Exclusion(dates)), on_excluded)
    for minute in range(100):
        assert rolled.next_after(midnight(date(2028, 7, 1)) + minute * timedelta(minutes=1)) is None
    assert len(set(days_looked_at)) == len(days_looked_at)


@EITHER_WAY
def test_a_free_day_is_found_within_ten_years(on_excluded: OnExcluded, days_looked_at: list[date]) -> None:
    """The limit is one of days on end that are left out, from when on it is asked."""
    exclude = Exclude(Exclusion(days_from(YEAR_BEGIN, 4_000)))
    rolled, free = RolledCron(parse_cron("0 9 * * *"), exclude, on_excluded), YEAR_BEGIN + 4_000 * DAY
    assert rolled.next_after(midnight(YEAR_BEGIN)) is None
    assert rolled.next_after(midnight(YEAR_BEGIN + 340 * DAY)) == midnight(free) + timedelta(hours=9)
    assert len(set(days_looked_at)) == len(days_looked_at)


@EITHER_WAY
def test_many_times_of_a_day_behind_a_long_stretch_cost_no_look_each(
    on_excluded: OnExcluded, days_looked_at: list[date]
) -> None:
    """A forecast follows each minute of the day to which a year has rolled."""
    exclude = Exclude(Exclusion(tuple(text for text in EVERY_DAY if text != "07-01")))
    rolled, wall = RolledCron(parse_cron("* * 1 1 *"), exclude, on_excluded), midnight(date(2028, 7, 1)) - SECOND
    for minute in range(24 * 60):
        wall = rolled.next_after(wall)
        assert wall == midnight(date(2028, 7, 1)) + minute * timedelta(minutes=1)
    assert len(set(days_looked_at)) == len(days_looked_at)


@pytest.mark.parametrize(
    ("text", "left_out"),
    [("12-25", True), ("2027-12-25", True), ("2028-12-25", False), ("12-24", False)],
)
def test_a_date_is_of_one_year_or_of_every(text: str, left_out: bool) -> None:
    """`2027-12-25` is one day; `12-25` comes every year."""
    assert (Exclusion(dates=(text,)).day(date(2027, 12, 25)) is not None) == left_out


@pytest.mark.parametrize(
    ("expression", "wall", "left_out"),
    [
        ("* 0-5 * * *", datetime(2027, 1, 1, 5, 59, 30), True),
        ("* 0-5 * * *", datetime(2027, 1, 1, 6, 0), False),
        ("0 9 * * *", datetime(2027, 1, 1, 9, 0, 59), True),
        ("30 0 9 * * *", datetime(2027, 1, 1, 9, 0, 30), True),
        ("30 0 9 * * *", datetime(2027, 1, 1, 9, 0, 31), False),
    ],
)
def test_cron_leaves_out_minutes_or_seconds(expression: str, wall: datetime, left_out: bool) -> None:
    """Five fields match whole minutes, six match seconds."""
    assert (Exclusion(cron=(expression,)).time(wall) is not None) == left_out


def test_a_day_begins_where_the_job_lives() -> None:
    """Christmas in Auckland begins while it is Christmas Eve in UTC."""
    terms = Terms(exclude=Exclude(Exclusion(dates=("12-25",))))
    auckland = parse_recurring("0 6 * * *", "Pacific/Auckland", terms=terms)
    assert auckland.exclusion(datetime(2027, 12, 24, 17, tzinfo=UTC)) == "2027-12-25"
    assert auckland.exclusion(datetime(2027, 12, 25, 17, tzinfo=UTC)) is None


def test_what_rolls_goes_by_the_clock_of_its_place() -> None:
    """A Sunday in March on which Berlin puts its clocks forward rolls to Monday, at the same wall-clock time."""
    terms = Terms(exclude=Exclude(Exclusion(weekdays=("SUN",))), on_excluded=OnExcluded.NEXT)
    schedule = parse_recurring("30 2 28 3 *", "Europe/Berlin", terms=terms)
    assert schedule.next_after(datetime(2027, 1, 1, tzinfo=UTC)) == datetime(2027, 3, 29, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"dates": ["2027-02-29"]}, "dates/0"),
        ({"dates": ["12-25", "25.12."]}, "dates/1"),
        ({"weekdays": ["Monday"]}, "weekdays/0"),
        ({"weekdays": ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]}, "weekdays"),
        ({"cron": ["61 * * * *"]}, "cron/0"),
    ],
)
def test_what_means_nothing_is_refused(body: dict, field: str) -> None:
    """The error names the place."""
    with pytest.raises(ScheduleError) as caught:
        read_exclusion(body)
    assert caught.value.field == field


def test_terms_keep_their_copies_of_calendars() -> None:
    """What is stored is what is read, copies and versions included; a calendar that there is not is named."""
    body = {
        "exclude": {"weekdays": ["SUN"], "calendars": ["de"]},
        "on_excluded": "next",
        "max_runs": 7,
        "window": "10%",
    }
    with pytest.raises(ScheduleError, match="there is no calendar 'de'"):
        read_terms(body)
    terms = read_terms(body, {"de": CalendarCopy("de", 3, Exclusion(dates=("10-03",)))})
    assert decode(encode(terms)) == terms
    newer = with_calendars(terms, {"de": CalendarCopy("de", 4, Exclusion())})
    assert newer.exclude is not None
    assert [copy.version for copy in newer.exclude.copies] == [4]
