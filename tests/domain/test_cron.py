"""C1 and C2: what a cron expression may say, and that one which never fires is refused."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from countwheel.domain import ids
from countwheel.domain.cron import NICKNAMES, NO_JOB, CronError, parse_cron
from countwheel.domain.errors import ScheduleError
from countwheel.domain.schedule import RECURRING_IN_ZONE_PATTERN, RECURRING_PATTERN, parse_recurring

START = datetime(2026, 1, 1, tzinfo=UTC)


def first(expression: str, after: datetime = START, job_id: UUID = NO_JOB) -> datetime | None:
    return parse_recurring(expression, None, job_id).next_after(after)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """Five or six fields that cronsim understands too."""

    def field(low: int, high: int, *others: str) -> st.SearchStrategy[str]:
        value = st.integers(low, high)
        # Not 5-5: cronsim reads 5-5/2 as 5/2.
        ordered = (
            st.tuples(st.integers(low, high - 1), value)
            .filter(lambda pair: pair[0] < pair[1])
            .map("{0[0]}-{0[1]}".format)
        )
        span = st.one_of(value.map(str), ordered)
        stepped = st.builds("{}/{}".format, st.one_of(st.just("*"), ordered), st.integers(1, 20))
        term = st.one_of(span, stepped, *map(st.just, others))
        return st.one_of(st.just("*"), st.lists(term, min_size=1, max_size=3).map(",".join))

    five = [field(0, 59), field(0, 23), field(1, 31, "L", "LW"), field(1, 12), field(0, 7, "fri#2", "5L", "sun#5")]
    fields = [field(0, 59), *five] if draw(st.booleans()) else five
    return " ".join(draw(strategy) for strategy in fields)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * *", datetime(2026, 1, 1, 0, 5, tzinfo=UTC)),
        ("15 14 1 * *", datetime(2026, 1, 1, 14, 15, tzinfo=UTC)),
        ("0 22 * * 1-5", datetime(2026, 1, 1, 22, 0, tzinfo=UTC)),
        ("5 4 * * sun", datetime(2026, 1, 4, 4, 5, tzinfo=UTC)),
        ("5 4 * * 7", datetime(2026, 1, 4, 4, 5, tzinfo=UTC)),
        ("0 0 1 JAN *", datetime(2027, 1, 1, tzinfo=UTC)),
        ("0 0 L * *", datetime(2026, 1, 31, tzinfo=UTC)),
        ("0 0 LW * *", datetime(2026, 1, 30, tzinfo=UTC)),
        ("0 0 * * fri#2", datetime(2026, 1, 9, tzinfo=UTC)),
        ("0 0 * * 5L", datetime(2026, 1, 30, tzinfo=UTC)),
        ("0 0 13 * 5", datetime(2026, 1, 2, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("30 5 4 * * *", datetime(2026, 1, 1, 4, 5, 30, tzinfo=UTC)),
        ("0 0 12 1 1 ? 2030", datetime(2030, 1, 1, 12, tzinfo=UTC)),
        ("0 0 12 1 1 * 2028-2199/4", datetime(2028, 1, 1, 12, tzinfo=UTC)),
        ("0 0 ? * mon", datetime(2026, 1, 5, tzinfo=UTC)),
        ("0 0 15W * *", datetime(2026, 1, 15, tzinfo=UTC)),
        ("0 0 17W * *", datetime(2026, 1, 16, tzinfo=UTC)),  # a Saturday: the Friday before
        ("0 0 18W * *", datetime(2026, 1, 19, tzinfo=UTC)),  # a Sunday: the Monday after
        ("0 0 1W 2 *", datetime(2026, 2, 2, tzinfo=UTC)),  # a Sunday
        ("0 0 1W 8 *", datetime(2026, 8, 3, tzinfo=UTC)),  # a Saturday: not back into July
        ("0 0 31W 5 *", datetime(2026, 5, 29, tzinfo=UTC)),  # a Sunday: not on into June
        ("0 0 31W * *", datetime(2026, 1, 30, tzinfo=UTC)),
        ("0 0 30W 2,4 *", datetime(2026, 4, 30, tzinfo=UTC)),  # February has no 30th
        ("0 0 * * friL", datetime(2026, 1, 30, tzinfo=UTC)),
        ("0 0 * * 7L", datetime(2026, 1, 25, tzinfo=UTC)),
        ("0 0 * * 7#1,3#5", datetime(2026, 1, 4, tzinfo=UTC)),
        ("0 0 * feb 3#5", datetime(2040, 2, 29, tzinfo=UTC)),
        ("3/20 * * * *", datetime(2026, 1, 1, 0, 3, tzinfo=UTC)),
        ("0 0 L,15 * *", datetime(2026, 1, 15, tzinfo=UTC)),
        ("0 0 */10 * 1", datetime(2026, 5, 11, tzinfo=UTC)),  # begins with a star: both must match
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", datetime(2026, 1, 2, 0, 0, tzinfo=UTC)),
        ("TZ=America/New_York @daily", datetime(2026, 1, 1, 5, 0, tzinfo=UTC)),
    ],
)
def test_c1_expressions_mean_what_debian_means(expression: str, expected: datetime) -> None:
    """C1: lists, ranges, steps, names, last days; of day-of-month and day-of-week either is enough."""
    assert first(expression) == expected


@pytest.mark.parametrize(("nickname", "fields"), NICKNAMES.items())
def test_c1_nicknames_stand_for_their_fields(nickname: str, fields: str) -> None:
    """C1: a nickname fires when its five fields do."""
    assert first(nickname) == first(fields)


def test_c1_h_is_a_value_of_the_jobs_own() -> None:
    """C1: `H` spreads jobs over the field, the same for a job every time, and keeps to its range and step."""
    own = {job: first("H H(2-5) * * *", START, job) for job in (uuid4() for _ in range(200))}
    assert len({instant.minute for instant in own.values() if instant}) > 50
    assert {instant.hour for instant in own.values() if instant} == {2, 3, 4, 5}
    assert all(first("H H(2-5) * * *", START, job) == instant for job, instant in own.items())
    for job in list(own)[:20]:
        schedule = parse_recurring("H/15 * * * *", None, job)
        steps = [START]
        for _ in range(5):
            following = schedule.next_after(steps[-1])
            assert following is not None
            steps.append(following)
        assert {later - earlier for earlier, later in pairwise(steps[1:])} == {timedelta(minutes=15)}
        assert first("0 0 H * *", START, job) is not None


def test_c1_an_interval_is_counted_from_the_jobs_creation() -> None:
    """C1: `@every` is a distance in real time, whatever the clocks of a zone do."""
    created = datetime(2026, 3, 8, 1, 0, 0, 250_000, tzinfo=UTC)
    schedule = parse_recurring("@every 1h30m", "America/New_York", ids.job_id(created, bytes(10)))
    assert schedule.next_after(created) == created + timedelta(minutes=90)
    assert schedule.next_after(created + timedelta(hours=9)) == created + timedelta(hours=10.5)
    assert schedule.latest_until(created + timedelta(hours=1000)) == created + timedelta(hours=999)


def test_c1_a_zone_is_named_once() -> None:
    """C1: `CRON_TZ=` and `timezone` together are refused, even where they agree."""
    with pytest.raises(ScheduleError, match="leave one of them out") as caught:
        parse_recurring("CRON_TZ=UTC 0 0 * * *", "UTC")
    assert caught.value.field == "timezone"


walls = st.datetimes(datetime(1971, 1, 1), datetime(2150, 1, 1)).map(lambda wall: wall.replace(microsecond=0))


@settings(max_examples=300)
@given(expressions(), walls)
def test_wall_times_agree_with_cronsim(expression: str, wall: datetime) -> None:
    """On wall time, where no zone plays a part, the evaluator and an independent one name the same moments."""
    try:
        cron = parse_cron(expression)
    except CronError:
        assume(False)
    theirs = CronSim(expression, wall)
    for _ in range(5):
        following = cron.next_after(wall)
        expected = next(theirs, None)
        assert following == expected or (following is not None and following.year >= 2100 and expected is None)
        if following is None:
            return
        wall = following


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * 32 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day of week"),
        ("*/0 * * * *", "minute"),
        ("* 0>5 * * *", "hour"),
        ("* * * * mon#6", "day of week"),
        ("x * * * *", "minute"),
        ("1, * * * *", "minute"),
        ("\N{ARABIC-INDIC DIGIT FIVE} * * * *", "minute"),
        ("\N{FULLWIDTH DIGIT FIVE} * * * *", "minute '\N{FULLWIDTH DIGIT FIVE}' at position 1"),
        ("* * * *", "five fields"),
        ("* * * * * * * *", "five fields"),
        ("* * * * * * 1969", "year"),
        ("* * * * * * 2200", "year"),
        ("* * * * * * ?", "year"),
        ("? * * * *", "minute"),
        ("* * * * L", "day of week"),
        ("* * 0W * *", "day of month"),
        ("* * W * *", "day of month"),
        ("* * 5L * *", "day of month"),
        ("* * * L *", "month"),
        ("0 H(5-1) * * *", "hour 'H\\(5-1\\)' at position 3: the range runs backwards"),
        ("H(0-60) * * * *", "minute"),
        ("H/0 * * * *", "minute"),
        ("0 0 * * 6-0", "backwards"),
        ("*/5 * 1,2,32 * *", "day of month '1,2,32' at position 7"),
        ("CRON_TZ=Mars/Olympus 0 0 * * *", "time zone"),
        ("CRON_TZ=UTC", "five fields"),
        ("TZ=UTC  0 0 * * *", "second"),
        ("TZ=UTC @every 1h TZ=UTC", "interval"),
        ("@every", "unknown nickname"),
        ("@every 0s", "interval"),
        ("@every 1h30", "interval"),
        ("@every -1s", "interval"),
        ("@every 1.5s", "interval"),
        ("60 * * * * *", "second"),
        ("*  * * * *", "minute"),
        (" * * * * *", "second"),
        ("* * * * *\n", "day of week"),
        ("*\t* * * *", "five fields"),
        ("", "five fields"),
        ("5-1 * * * *", "minute '5-1' at position 1: the range runs backwards; write it as two, like 5-59,0-1"),
        ("@reboot", "no boot"),
        ("@fortnightly", "unknown nickname"),
        ("@DAILY", "unknown nickname"),
        ("1," * 128 + "1 * * * *", "256 characters"),
    ],
)
def test_c1_what_means_nothing_is_refused_by_name(expression: str, named: str) -> None:
    """C1: the error names the field at fault, or what is wrong with the whole."""
    with pytest.raises(ScheduleError, match=named) as caught:
        parse_recurring(expression, None)
    assert caught.value.field == "schedule_recurring"


@pytest.mark.parametrize(
    "expression", ["0 0 30 2 *", "0 0 31 2 *", "0 0 31 4,6,9,11 *", "0 0 31 feb *", "0 0 30 2-2 *"]
)
def test_c2_what_never_fires_is_refused(expression: str) -> None:
    """C2: no such day exists in the months it names."""
    with pytest.raises(ScheduleError, match="never fires|no named month"):
        parse_recurring(expression, None)


def test_c2_29_february_works_across_2100() -> None:
    """C2: 2100 is no leap year, so eight years lie between two occurrences."""
    leap = parse_recurring("0 0 29 2 *", None)
    assert leap.next_after(datetime(2096, 2, 29, tzinfo=UTC)) == datetime(2104, 2, 29, tzinfo=UTC)


def test_c2_the_search_for_an_occurrence_is_bounded() -> None:
    """C2: a day that is hardly ever a Monday and the 29th of February is found or given up, not sought for ever."""
    assert first("0 0 29 2 mon#5", datetime(2190, 1, 1, tzinfo=UTC)) is not None


LOOKS_RIGHT = f"{RECURRING_PATTERN}|{RECURRING_IN_ZONE_PATTERN}"


@given(st.from_regex(LOOKS_RIGHT, fullmatch=True).filter(lambda text: len(text) <= 256))
def test_what_the_contract_says_is_accepted_or_named(expression: str) -> None:
    """Whatever fits the contract's pattern is accepted, but for what a pattern cannot say."""
    try:
        parse_recurring(expression, None)
    except ScheduleError as error:
        assert re.search("backwards|never fires|not an IANA time zone", str(error)), (expression, error)


PIECES = [
    "*",
    "*/2",
    "1",
    "01",
    "5-9",
    "9-5",
    "0",
    "31",
    "7",
    "L",
    "lw",
    "5L",
    "mon#2",
    "sun-sat",
    "JAN",
    "2,3",
    "?",
    "H",
    "H(1-5)/2",
    "15W",
    "0/5",
    "2030",
]


@given(st.lists(st.sampled_from(PIECES), min_size=4, max_size=8))
def test_what_is_accepted_fits_the_contract(pieces: list[str]) -> None:
    """What the server takes, the contract's pattern takes: clients may validate by it."""
    expression = " ".join(pieces)
    try:
        parse_recurring(expression, None)
    except ScheduleError:
        return
    assert re.fullmatch(LOOKS_RIGHT, expression)
