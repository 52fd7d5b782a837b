"""Thousands of histories on virtual time: the engine's own code, crashes at every await, judged by the checker."""

from collections.abc import Callable

import psycopg
import pytest

from countwheel.engine.node import Node
from countwheel.engine.recovery import Recovery
from simulator.many import play_many
from simulator.play import play

HISTORIES = 2_000
SEEN_AT = {Node: 73, Recovery: 1}
"""Where a prevention that was taken out was noticed when this was written: looked at before the others. The report says
where that is now."""


@pytest.mark.background
@pytest.mark.timeout(1800)  # as long as a slow machine needs, and until others leave it time
def test_thousands_of_histories_keep_every_promise(virtual: str, report_line: Callable[[str], None]) -> None:
    """Each seed is another history; one that breaks a promise is named with the command that plays it again."""
    summary = play_many(virtual, range(HISTORIES), nice=10)
    report_line(summary.text())
    assert summary.histories == HISTORIES
    assert not summary.failed, summary.text()


@pytest.mark.usefixtures("quiet")
def test_a_seed_is_one_history(virtual: str) -> None:
    """Played twice it is the same to the last receipt; another seed is another history."""
    with psycopg.connect(virtual, autocommit=True) as connection:
        digests = [play(connection, seed).digest for seed in (7, 7, 8)]
    assert digests[0] == digests[1] != digests[2]


async def _nobody_takes_over(_self: Recovery) -> float:
    return 3600.0


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (Node, "has_lease", lambda _self: True),
        (Recovery, "run_once", _nobody_takes_over),
    ],
)
def test_a_prevention_taken_out_is_noticed(
    virtual: str,
    monkeypatch: pytest.MonkeyPatch,
    report_line: Callable[[str], None],
    *,
    owner: type,
    name: str,
    broken: Callable[..., object],
) -> None:
    """Without the lease check, or without recovery, some seed of the first thousand breaks a promise."""
    monkeypatch.setattr(owner, name, broken)
    with psycopg.connect(virtual, autocommit=True) as connection:
        seeds = (SEEN_AT[owner], *range(1_000))
        noticed = next((seed for seed in seeds if not play(connection, seed).verdict.passed), None)
    report_line(f"without {owner.__name__}.{name}: noticed at seed {noticed}, looked for first at {SEEN_AT[owner]}")
    assert noticed is not None
