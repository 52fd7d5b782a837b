"""How many runs each minute will have: against looking at every occurrence, and bounded in cost."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain import ids
from countwheel.domain.exclusion import Exclude, Exclusion
from countwheel.domain.forecast import LOOKS_LIMIT, Group, follow
from countwheel.domain.schedule import Recurring, parse_recurring
from countwheel.domain.terms import NO_TERMS, Terms
from countwheel.domain.window import parse_window

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CREATED = ids.job_id(START - timedelta(days=3, seconds=17), bytes(10))
EXPRESSIONS = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "0 9 * * *",
        "*/10 * * * * *",
        "5,50 30 12 * * *",
        "@every 7s",
        "@every 90s",
        "@every 5h",
    ]
)
TERMS = st.sampled_from(
    [
        NO_TERMS,
        Terms(end_at=START + timedelta(minutes=100, seconds=30)),
        Terms(start_at=START + timedelta(minutes=50, seconds=30)),
        Terms(window=parse_window("10m")),
        Terms(exclude=Exclude(Exclusion(cron=("* 13 * * *",)))),
    ]
)


def one_by_one(schedule: Recurring, minutes: int) -> Counter[int]:
    """Look at every occurrence, each where it is due."""
    counted, instant = Counter[int](), schedule.next_after(START - timedelta(days=1))
    while instant is not None and instant < START + minutes * MINUTE:
        minute = (schedule.due_at(instant) - START) // MINUTE
        if 0 <= minute < minutes and schedule.exclusion(instant) is None:
            counted[minute] += 1
        instant = schedule.next_after(instant)
    return counted


@given(EXPRESSIONS, TERMS, st.integers(1, 5))
def test_a_forecast_is_what_every_occurrence_says(expression: str, terms: Terms, jobs: int) -> None:
    """Minute by minute, for whatever fires often or rarely."""
    if expression.startswith("@every") and (terms.window or terms.exclude):
        terms = NO_TERMS
    if expression.startswith(("*/10 *", "5,50")) and terms != NO_TERMS:
        terms = NO_TERMS
    schedule = parse_recurring(expression, None, CREATED, terms)
    found = follow([Group(schedule, "a.test", jobs)], START, 24 * 60)
    expected = {minute: runs * jobs for minute, runs in one_by_one(schedule, 24 * 60).items()}
    assert dict(found.runs) == expected
    assert not found.estimated


def test_the_cost_is_bounded_and_the_total_is_near() -> None:
    """A hundred thousand groups of jobs that each fire once a day: every nth stands for its neighbours."""
    groups = [Group(parse_recurring("H H * * *", None, uuid4()), "a.test", 1) for _ in range(20_000)]
    found = follow(groups, START, 24 * 60, others=80_000)
    assert found.estimated
    assert abs(found.runs.total() - 100_000) < 10_000


def test_the_largest_groups_are_exact() -> None:
    """What matters is followed one by one: a peak of midnight is no guess."""
    crowd = Group(parse_recurring("0 0 * * *", None), "a.test", 500_000)
    many = [Group(parse_recurring("* * * * *", None, UUID(int=n)), "b.test", 1) for n in range(1_000)]
    found = follow([crowd, *many], START, 24 * 60)
    assert found.by_target["a.test"] == Counter({12 * 60: 500_000})
    assert LOOKS_LIMIT < 1_000 * 24 * 60
    assert abs(found.by_target["b.test"][0] - 1_000) <= 10
