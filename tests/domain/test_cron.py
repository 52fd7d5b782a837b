"""C1 and C2: what a cron expression may say, and that one which never fires is refused."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.cron import CRON_PATTERN, NICKNAMES, CronError, normalize
from countwheel.domain.schedule import ScheduleError, parse_recurring

START = datetime(2026, 1, 1, tzinfo=UTC)


def first(expression: str, after: datetime = START) -> datetime | None:
    return parse_recurring(expression, None).next_after(after)


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
    ],
)
def test_c1_expressions_mean_what_debian_means(expression: str, expected: datetime) -> None:
    """C1: lists, ranges, steps, names, last days; of day-of-month and day-of-week either is enough."""
    assert first(expression) == expected


@pytest.mark.parametrize(("nickname", "fields"), NICKNAMES.items())
def test_c1_nicknames_stand_for_their_fields(nickname: str, fields: str) -> None:
    """C1: a nickname fires when its five fields do."""
    assert first(nickname) == first(fields)


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
        ("\N{ARABIC-INDIC DIGIT FIVE} * * * *", "five fields"),
        ("\N{FULLWIDTH DIGIT FIVE} * * * *", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * * *", "five fields"),
        ("60 * * * * *", "second"),
        ("*  * * * *", "minute"),
        (" * * * * *", "second"),
        ("* * * * *\n", "day of week"),
        ("*\t* * * *", "five fields"),
        ("", "five fields"),
        ("5-1 * * * *", "backwards"),
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


@given(st.from_regex(CRON_PATTERN, fullmatch=True).filter(lambda text: len(text) <= 256))
def test_what_the_contract_says_is_accepted_or_named(expression: str) -> None:
    """Whatever fits the contract's pattern is accepted, but for backward ranges and days that never come."""
    try:
        normalize(expression)
    except CronError as error:
        assert re.search("backwards|never fires|no named month", str(error)), (expression, error)


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
]


@given(st.lists(st.sampled_from(PIECES), min_size=4, max_size=6))
def test_what_is_accepted_fits_the_contract(pieces: list[str]) -> None:
    """What the server takes, the contract's pattern takes: clients may validate by it."""
    expression = " ".join(pieces)
    try:
        normalize(expression)
    except CronError:
        return
    assert re.fullmatch(CRON_PATTERN, expression)
