"""The states of a run and the ways between them, as code, as documented and as constrained in the database."""

import re
from pathlib import Path

from countwheel.domain.run import ENDED, LIVE, TRANSITIONS, RunStatus

ROOT = Path(__file__).parents[2]


def test_an_ended_run_stays_as_it_ended() -> None:
    """No way leads out of an end, but a person's decision to send a dead letter again."""
    assert {status for status, ways in TRANSITIONS.items() if not ways} == ENDED - {RunStatus.UNKNOWN, RunStatus.FAILED}
    assert TRANSITIONS[RunStatus.FAILED] == {RunStatus.RETRYING, RunStatus.SCHEDULED}
    assert TRANSITIONS[RunStatus.UNKNOWN] == {RunStatus.RETRYING}
    assert TRANSITIONS.keys() == set(RunStatus)


def test_every_state_can_be_reached() -> None:
    """From SCHEDULED."""
    reached, open_ends = set(), {RunStatus.SCHEDULED}
    while open_ends:
        reached |= open_ends
        open_ends = {way for status in open_ends for way in TRANSITIONS[status]} - reached
    assert reached == set(RunStatus)


def test_the_documented_drawing_is_the_table() -> None:
    """docs/architecture.md draws exactly TRANSITIONS."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^ +([A-Z]+) --> ([A-Z]+)$", text, re.MULTILINE))
    assert drawn == {(start.value, end.value) for start, ways in TRANSITIONS.items() for end in ways}


def test_the_database_knows_the_same_states() -> None:
    """The CHECK constraints of runs and run_history name LIVE and ENDED."""
    schema = (ROOT / "src/countwheel/store/migrations/0001_first_strike.sql").read_text(encoding="utf-8")
    lists = [
        set(re.findall(r"'([A-Z]+)'", part)) for part in re.findall(r"CHECK \(stat(?:e|us) IN \((.*?)\)\)", schema)
    ]
    assert {status.value for status in LIVE} in lists
    assert {status.value for status in ENDED} in lists
