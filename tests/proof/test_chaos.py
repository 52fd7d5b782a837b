"""A short round of the fault harness, with real processes; `make chaos` plays longer ones."""

from collections.abc import Callable

import pytest

from chaos.round import RoundPlan, play

pytestmark = pytest.mark.alone


@pytest.mark.timeout(400)
async def test_a_round_of_chaos_keeps_every_promise(report_line: Callable[[str], None]) -> None:
    """Three nodes under kill -9, SIGSTOP, SIGTERM, database restarts and crashes, cut connections and commits, stepped
    clocks and a target that misbehaves: nothing lost, nothing doubled without a cause, nothing early.
    """
    verdict = await play(RoundPlan(seed=20_261_124, seconds=45, load=0.5, punctual_seconds=1.0))
    report_line(verdict.text())
    assert verdict.passed, verdict.text()
    assert verdict.faults.total() >= 10
    assert verdict.runs >= 500
