"""C3 and C4: occurrences in every zone, through every kind of clock change."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countwheel.domain import schedule
from countwheel.domain.cron import Cron
from countwheel.domain.errors import ScheduleError
from countwheel.domain.schedule import Recurring, parse_recurring
from countwheel.domain.terms import DstGap, DstOverlap, Terms
from countwheel.domain.zones import zones

MINUTE = timedelta(minutes=1)
EXPRESSIONS = (
    "30 1 * * *",
    "0 0 * * *",
    "*/30 2 * * *",
    "15,45 0-3 * * *",
    "0 * * * *",
    "* 2 * * *",
    "10 */2 * * *",
    "59 23 28-31 * *",
    "0 3 * * sun",
)
ZONES = sorted(zones())
instants = st.datetimes(datetime(1971, 1, 1), datetime(2150, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def walk(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """Every occurrence in (after, until]."""
    schedule, found = parse_recurring(expression, zone), []
    while (after := schedule.next_after(after)) is not None and after <= until:
        found.append(after)
    return found


@lru_cache
def changes(zone: str, first_year: int = 2024, last_year: int = 2027) -> tuple[datetime, ...]:
    """The instants, to the minute, at which a zone changes its offset in these years."""
    info, found = ZoneInfo(zone), []
    day = utc(first_year, 1, 1)
    while day < utc(last_year + 1, 1, 1):
        following = day + timedelta(days=1)
        before = day.astimezone(info).utcoffset()
        if before != following.astimezone(info).utcoffset():
            low, high = day, following
            while high - low > timedelta(seconds=1):
                middle = (low + (high - low) / 2).replace(microsecond=0)
                low, high = (middle, high) if middle.astimezone(info).utcoffset() == before else (low, middle)
            found.append(high)
        day = following
    return tuple(found)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_c3_strictly_increasing_in_every_zone(expression: str) -> None:
    """C3: walking through every clock change of every zone, each occurrence is later than the one before."""
    for zone in ZONES:
        for change in changes(zone, 2026, 2026)[:2] or (utc(2026, 3, 1),):
            previous = change - timedelta(hours=26)
            schedule = parse_recurring(expression, zone)
            while previous < change + timedelta(hours=26):
                following = schedule.next_after(previous)
                assert following is not None, (zone, expression)
                assert following > previous, (zone, expression)
                previous = following


@given(
    zone=st.sampled_from(ZONES),
    expression=st.sampled_from(EXPRESSIONS),
    start=instants,
    later=st.timedeltas(timedelta(0), timedelta(days=3)),
)
def test_c3_no_instant_twice_whatever_the_start(zone: str, expression: str, start: datetime, later: timedelta) -> None:
    """C3: next(t) > t, and the answer from any start between two occurrences is the same."""
    schedule = parse_recurring(expression, zone)
    following = schedule.next_after(start)
    assert following is not None
    assert following > start
    between = min(start + later, following - timedelta(seconds=1))
    if between >= start:
        assert schedule.next_after(between) == following
    assert schedule.is_occurrence(following)


def matches(expression: str, wall: datetime) -> bool:
    """An independent reading of simple expressions: lists, ranges, steps and day names in five fields."""
    minute, hour, day, month, weekday = expression.split(" ")

    def one(field: str, value: int, low: int, high: int) -> bool:
        for term in field.split(","):
            span, _, step = term.partition("/")
            start, _, end = (f"{low}-{high}" if span == "*" else span).partition("-")
            if value in range(int(start), int(end or start) + 1, int(step or 1)):
                return True
        return False

    return (
        one(minute, wall.minute, 0, 59)
        and one(hour, wall.hour, 0, 23)
        and one(day, wall.day, 1, 31)
        and one(month, wall.month, 1, 12)
        and one(weekday.replace("sun", "0"), wall.isoweekday() % 7, 0, 6)
    )


def expected(expression: str, zone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """The rule of C4, minute by minute: by elapsed time what the wall shows, otherwise each named moment once."""
    info = ZoneInfo(zone)
    minute, hour, *_ = expression.split(" ")
    if minute.startswith("*") or hour.startswith("*"):
        instant = after.replace(second=0, microsecond=0) + MINUTE
        while instant <= until:
            if matches(expression, instant.astimezone(info).replace(tzinfo=None)):
                yield instant
            instant += MINUTE
        return
    found = set()
    wall = after.astimezone(info).replace(tzinfo=None, second=0, microsecond=0) - timedelta(hours=30)
    while wall < until.astimezone(info).replace(tzinfo=None) + timedelta(hours=2):
        if matches(expression, wall):
            found.add(once(wall, info))
        wall += MINUTE
    yield from sorted(instant for instant in found if after < instant <= until)


def once(wall: datetime, info: ZoneInfo) -> datetime:
    """The first instant, by the minute, at which the wall clock shows `wall` or has jumped past it."""
    instant = wall.replace(tzinfo=UTC) - timedelta(hours=15)
    while instant.astimezone(info).replace(tzinfo=None) < wall:
        missing = wall - instant.astimezone(info).replace(tzinfo=None)
        instant += MINUTE if missing < timedelta(hours=26) and missing <= timedelta(hours=2) else MINUTE * 30
    return instant


@pytest.mark.parametrize(
    "zone",
    [
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Santiago",
        "Africa/Casablanca",
        "Europe/Dublin",
        "Antarctica/Troll",
        "Asia/Kolkata",
        "America/St_Johns",
        "Asia/Beirut",
    ],
)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_c4_agrees_with_a_plain_reading_of_the_rule(zone: str, expression: str) -> None:
    """C4: through every change of a zone the occurrences are what the rule says, minute by minute."""
    for change in changes(zone, 2026, 2026)[:2] or (utc(2026, 5, 1),):
        after, until = change - timedelta(hours=30), change + timedelta(hours=30)
        assert walk(expression, zone, after, until) == list(expected(expression, zone, after, until))


@pytest.mark.parametrize(
    ("zone", "expression", "start", "expected_next"),
    [
        # New York, gap of 8 March 2026: 02:30 does not exist; right after the gap, once.
        ("America/New_York", "30 2 * * *", utc(2026, 3, 8, 0), utc(2026, 3, 8, 7, 0)),
        # New York, fold of 1 November 2026: 01:30 in the first pass, then the next day.
        ("America/New_York", "30 1 * * *", utc(2026, 11, 1, 0), utc(2026, 11, 1, 5, 30)),
        ("America/New_York", "30 1 * * *", utc(2026, 11, 1, 5, 30), utc(2026, 11, 2, 6, 30)),
        # A trap: started inside the second pass, cronsim alone answers with the past.
        ("America/New_York", "30 1 * * *", utc(2026, 11, 1, 6, 15), utc(2026, 11, 2, 6, 30)),
        # Lord Howe moves by half an hour: 02:15 of 4 October 2026 does not exist.
        ("Australia/Lord_Howe", "15 2 * * *", utc(2026, 10, 3, 12), utc(2026, 10, 3, 15, 30)),
        # Santiago's gap is at midnight: the daily run of 6 September 2026 comes at 01:00.
        ("America/Santiago", "0 0 * * *", utc(2026, 9, 5, 12), utc(2026, 9, 6, 4, 0)),
        # Apia left out 30 December 2011: its daily noon is one right after the missing day.
        ("Pacific/Apia", "0 12 * * *", utc(2011, 12, 29, 23), utc(2011, 12, 30, 10, 0)),
        ("Pacific/Apia", "0 12 * * *", utc(2011, 12, 30, 10, 0), utc(2011, 12, 30, 22, 0)),
    ],
)
def test_c4_known_clock_changes(zone: str, expression: str, start: datetime, expected_next: datetime) -> None:
    """C4: the changes that schedulers get wrong."""
    assert parse_recurring(expression, zone).next_after(start) == expected_next


def test_c4_stars_follow_elapsed_time() -> None:
    """C4: an hourly job fires every hour of real time, in both passes of a fold; in a gap nothing is made up for."""
    fold = walk("0 * * * *", "America/New_York", utc(2026, 11, 1, 3, 30), utc(2026, 11, 1, 8, 30))
    assert fold == [utc(2026, 11, 1, hour) for hour in range(4, 9)]
    gap = walk("*/30 2 * * *", "America/New_York", utc(2026, 3, 8, 0), utc(2026, 3, 9, 0))
    assert gap == []


@given(zone=st.sampled_from(ZONES), expression=st.sampled_from(EXPRESSIONS), start=instants)
def test_the_latest_occurrence_is_the_one_before_the_next(zone: str, expression: str, start: datetime) -> None:
    """latest_until(t) <= t < next_after(t), and nothing lies between the two."""
    schedule = parse_recurring(expression, zone)
    latest = schedule.latest_until(start)
    assert latest is not None
    assert latest <= start
    assert schedule.next_after(latest) == schedule.next_after(start)
    assert schedule.count_between(latest, start, 10) == 0


@pytest.mark.parametrize(
    "expression",
    ["* * 0-20 1 1 *", "* * * * * * 2020", "0-58/2 * 0,3 29 2 *", "*,* H/2,2 h ? H,*/11 ? 2040", "@yearly"],
)
def test_c2_the_latest_occurrence_is_found_in_a_few_looks(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """C2: dense in rare places: walking through would take seconds, and a claim waits for this."""
    looks = []
    real = Cron.next_after
    monkeypatch.setattr(Cron, "next_after", lambda self, wall: looks.append(wall) or real(self, wall))
    schedule = parse_recurring(expression, "America/New_York")
    latest = schedule.latest_until(utc(2199, 12, 30))
    assert latest is not None
    assert schedule.is_occurrence(latest)
    following = schedule.next_after(latest)
    assert following is None or following > utc(2199, 12, 30)
    assert len(looks) < 250


@given(zone=st.sampled_from(ZONES), expression=st.sampled_from(EXPRESSIONS), start=instants)
def test_the_latest_few_are_those_that_a_walk_finds(zone: str, expression: str, start: datetime) -> None:
    """In order, none left out."""
    schedule = parse_recurring(expression, zone)
    few = schedule.latest_few(start, 7)
    assert walk(expression, zone, few[0] - MINUTE, start)[-7:] == few


def test_p4_no_occurrence_is_before_the_start_nor_after_the_end() -> None:
    """P4: both included."""
    schedule = parse_recurring("0 * * * *", None, terms=Terms(start_at=utc(2026, 5, 1, 3), end_at=utc(2026, 5, 1, 5)))
    assert schedule.next_after(utc(2020, 1, 1)) == utc(2026, 5, 1, 3)
    assert schedule.next_after(utc(2026, 5, 1, 4, 30)) == utc(2026, 5, 1, 5)
    assert schedule.next_after(utc(2026, 5, 1, 5)) is None
    assert schedule.latest_until(utc(2030, 1, 1)) == utc(2026, 5, 1, 5)
    assert schedule.latest_until(utc(2026, 5, 1, 2)) is None
    counted = parse_recurring("@every 7m", None, terms=Terms(start_at=utc(2026, 5, 1, 3)))
    assert counted.next_after(utc(2026, 1, 1)) == utc(2026, 5, 1, 3)
    assert counted.next_after(utc(2026, 5, 1, 3)) == utc(2026, 5, 1, 3, 7)


def test_counting_stops_at_its_limit() -> None:
    """A year of minutes is not counted out."""
    every_minute = Recurring("* * * * *")
    assert every_minute.count_between(utc(2026, 1, 1), utc(2026, 1, 1, 1), 1_000) == 60
    assert every_minute.count_between(utc(2026, 1, 1), utc(2027, 1, 1), 1_000) == 1_000


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "localtime", "Factory", "../etc/passwd", "europe/berlin", "UTC\x00"]
)
def test_c6_zones_are_iana_names(zone: str) -> None:
    """C6: what tzdata does not list is refused, and the error names the field."""
    with pytest.raises(ScheduleError) as caught:
        parse_recurring("* * * * *", zone)
    assert caught.value.field == "timezone"


@st.composite
def day_expressions(draw: st.DrawFn) -> str:
    """Five fields that fire often enough to meet a change of the clocks."""

    def field(low: int, high: int) -> st.SearchStrategy[str]:
        value = st.integers(low, high)
        listed = st.lists(value, min_size=1, max_size=4, unique=True).map(lambda some: ",".join(map(str, some)))
        span = st.tuples(st.integers(low, high - 1), value).filter(lambda pair: pair[0] < pair[1])
        ranged = span.map("{0[0]}-{0[1]}".format)
        starred = st.integers(1, 30).map("*/{}".format)
        return st.one_of(st.just("*"), listed, ranged, starred)

    minute, hour = draw(field(0, 59)), draw(st.one_of(st.just("*"), field(0, 4), field(0, 23)))
    return f"{minute} {hour} * * *"


@st.composite
def moments_of_change(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and a change of its clocks, in any year whose offsets are whole minutes."""
    for _ in range(50):
        name, year = draw(st.sampled_from(ZONES)), draw(st.integers(1973, 2050))
        found = changes(name, year, year)
        if found:
            return name, draw(st.sampled_from(found))
    return "America/New_York", utc(2026, 3, 8, 7)


def by_the_minute(
    expression: str, zone: str, policy: tuple[DstGap, DstOverlap], after: datetime, until: datetime
) -> list[datetime]:
    """The rule with its options, from nothing but what the wall clock shows at each minute."""
    info, gap, overlap = ZoneInfo(zone), *policy
    shown: dict[datetime, list[datetime]] = {}
    found: set[datetime] = set()
    instant = after - timedelta(hours=30)
    previous = instant.astimezone(info).replace(tzinfo=None)
    while instant < until + timedelta(hours=30):
        wall = instant.astimezone(info).replace(tzinfo=None)
        missing = previous + MINUTE
        while missing < wall:
            if gap is DstGap.SHIFT and matches(expression, missing):
                found.add(instant)
            missing += MINUTE
        if matches(expression, wall):
            shown.setdefault(wall, []).append(instant)
        previous = wall
        instant += MINUTE
    for passes in shown.values():
        found |= {DstOverlap.FIRST: {passes[0]}, DstOverlap.LAST: {passes[-1]}, DstOverlap.BOTH: set(passes)}[overlap]
    return sorted(instant for instant in found if after < instant <= until)


@settings(max_examples=250)
@given(
    place=moments_of_change(),
    expression=day_expressions(),
    gap=st.sampled_from(DstGap),
    overlap=st.sampled_from(DstOverlap),
    start=st.integers(-600, 600),
)
def test_c4_every_policy_agrees_with_the_wall_clock_minute_by_minute(
    place: tuple[str, datetime], expression: str, gap: DstGap, overlap: DstOverlap, start: int
) -> None:
    """C3 and C4: around any change of any zone, from any start: the instants that a plain reading gives, each once."""
    zone, change = place
    after, until = change + start * MINUTE, change + timedelta(hours=14)
    schedule = parse_recurring(expression, zone, terms=Terms(gap, overlap))
    found = []
    instant = schedule.next_after(after)
    while instant is not None and instant <= until:
        found.append(instant)
        instant = schedule.next_after(instant)
    assert found == by_the_minute(expression, zone, (gap, overlap), after, until)


@given(
    place=moments_of_change(),
    expression=st.sampled_from(("0 9 1 1 *", "30 1 29 2 *", "15 2 * * sun#1", "*/20 2 L 3,10,11 *", "0 0 31W * *")),
    overlap=st.sampled_from(DstOverlap),
    before=st.timedeltas(timedelta(0), timedelta(days=3_000)),
)
def test_c3_what_is_far_is_found_from_near_and_from_far(
    place: tuple[str, datetime], expression: str, overlap: DstOverlap, before: timedelta
) -> None:
    """C3: the next occurrence from long before is the one that a walk from there comes to."""
    zone, change = place
    schedule = parse_recurring(expression, zone, terms=Terms(dst_overlap=overlap))
    start = change - before
    following = schedule.next_after(start)
    assert following is not None
    for share in (0.1, 0.5, 0.9, 0.99, 0.9999):
        between = start + (following - start) * share
        assert schedule.next_after(between) == following
    assert schedule.next_after(following - timedelta(seconds=1)) == following


def test_what_is_remembered_of_an_expression_is_what_all_jobs_read_alike() -> None:
    """Asked again it says the same; `H` stays each job's own; what is refused is refused again, and is not kept."""
    kept, new_year = schedule._read, datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(2):
        assert parse_recurring("CRON_TZ=Asia/Tokyo 0 9 * * *", None).timezone == "Asia/Tokyo"
        firsts = {parse_recurring("H H * * *", None, UUID(int=job)).next_after(new_year) for job in range(50)}
        assert len(firsts) > 40
        before = kept.cache_info().currsize
        for expression, zone in (("H " * 200, None), ("0 0 31 2 *", None), ("* * * * *", "Nowhere/At_All")):
            with pytest.raises(ScheduleError):
                parse_recurring(expression, zone)
        assert kept.cache_info().currsize == before
