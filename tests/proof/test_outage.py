"""An outage of three hours, for each misfire and each overlap policy: the ledger is what `:simulate` foretold."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from countwheel.domain.policy import Misfire, Overlap
from countwheel.domain.run import RunStatus
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.simulation import Row, Scenario, simulate
from countwheel.domain.terms import Terms
from simulator.outage import live_through

START = datetime(2026, 11, 24, 1, 0, 10, tzinfo=UTC)
OUTAGE = (START + timedelta(minutes=7), START + timedelta(hours=3, minutes=12))
SCENARIO = Scenario(START, START + timedelta(hours=3, minutes=42), timedelta(seconds=40), OUTAGE)


def told(row: Row) -> tuple[object, ...]:
    return (row.scheduled_for, row.status, row.occurrences, row.superseded_by)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("overlap", Overlap)
@pytest.mark.parametrize("misfire", Misfire)
def test_p1_p2_the_ledger_is_what_was_foretold(virtual: str, misfire: Misfire, overlap: Overlap) -> None:
    """The engine's own code on real PostgreSQL and virtual time, killed for three hours, against what was foretold."""
    schedule = parse_recurring("*/5 * * * *", None, terms=Terms(misfire=misfire, overlap=overlap))
    foretold = sorted(map(told, simulate(schedule, SCENARIO).rows))
    job = {
        "job_url": "http://target.test/", "schedule_recurring": schedule.expression, "misfire": misfire.value,
        "overlap": overlap.value,
    }  # fmt: skip
    with psycopg.connect(virtual, autocommit=True) as connection:
        lived = sorted(map(told, live_through(connection, job, SCENARIO)))
    assert lived == foretold
    assert sum(int(str(count)) for _, _, count, _ in lived) == 44  # every five minutes: each is accounted for


def test_p2_the_policies_differ() -> None:
    """What was missed runs once, often, or not at all: a foretelling that is the same for all would prove nothing."""
    ran = {}
    for misfire in Misfire:
        terms = Terms(misfire=misfire, overlap=Overlap.ALLOW)
        rows = simulate(parse_recurring("*/5 * * * *", None, terms=terms), SCENARIO).rows
        ran[misfire] = sum(row.status is RunStatus.SUCCEEDED for row in rows)
    assert ran[Misfire.FIRE_ALL] > ran[Misfire.FIRE_LATEST] > 0
    assert ran[Misfire.SKIP] == ran[Misfire.FIRE_LATEST] - 1
