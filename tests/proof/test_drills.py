"""What a crash, a stop, a failover and more nodes cost, with real processes; `python -m chaos --drills` says more."""

from collections.abc import Callable

import pytest

from chaos import drills
from chaos.failover import play_failover
from chaos.stage import LEASE_SECONDS
from checker.history import Limits
from countwheel.engine.settings import EngineSettings

pytestmark = pytest.mark.alone

Report = Callable[[str], None]

ON_ANY_MACHINE = Limits(lease=LEASE_SECONDS, punctual=1.0)
"""Tests judge what is lost and doubled; how punctual a quiet machine is, the drills themselves measure."""


def longest_seconds(drill: drills.Drill) -> float:
    """Return the longest lateness of any run's first receipt."""
    return drills.longest_ms(drill.history) / 1000


async def test_a_killed_nodes_runs_are_late_by_the_lease_at_most(report_line: Report) -> None:
    """kill -9 of one of two nodes on two machines, under load: lateness up to lease + 2 s, and nothing lost."""
    drill = await drills.kill(rate=100, seconds=6, limits=ON_ANY_MACHINE)
    report_line(drill.text())
    assert drill.verdict.passed, drill.verdict.text()
    assert longest_seconds(drill) <= LEASE_SECONDS + 2


async def test_a_node_that_is_restarted_at_once_is_back_within_seconds(report_line: Report) -> None:
    """kill -9 in the middle of a burst and a restart: all done within 10 s, repeats only for calls in flight."""
    drill = await drills.restart(runs=600, seconds=3, limits=ON_ANY_MACHINE)
    report_line(drill.text())
    assert drill.verdict.passed, drill.verdict.text()
    killed_at = drill.history.faults[0].began
    assert max(row.finished_at for row in drill.history.rows) - killed_at <= 10
    in_flight = {
        receipt.run_id
        for receipt in drill.history.receipts
        if receipt.received_at <= killed_at + 0.05 and (receipt.answered_at or killed_at) >= killed_at - 0.2
    }
    repeated = {run for run in in_flight if sum(r.run_id == run for r in drill.history.receipts) > 1}
    assert len(repeated) == drill.verdict.repeats.total()


async def test_a_node_that_is_stopped_makes_no_run_late(report_line: Report) -> None:
    """SIGTERM of one of two nodes under load: what it has not sent is handed over at once; nothing is doubled."""
    drill = await drills.stop(rate=100, seconds=5, limits=ON_ANY_MACHINE)
    report_line(drill.text())
    assert drill.verdict.passed, drill.verdict.text()
    assert drill.verdict.repeats.total() == 0


async def test_four_nodes_never_send_the_same_run_twice(report_line: Report) -> None:
    """More jobs due at once than one node may hold, shared by whoever is quick: each run is received once."""
    jobs = EngineSettings().max_held
    drill = await drills.drain(4, jobs=jobs)
    report_line(drill.text())
    assert drill.verdict.passed, drill.verdict.text()
    assert len({row.node for row in drill.history.rows}) >= 2, "one node alone would prove nothing"
    assert len(drill.history.receipts) == jobs


@pytest.mark.timeout(120)
async def test_scenario_asynchronous_replica_promoted_is_avoided_by_a_synchronous_one(report_line: Report) -> None:
    """kill -9 of the primary under load, promotion of the synchronous standby: the nodes find it by themselves, nothing
    that was acknowledged is lost, every double has its cause.
    """
    done = await play_failover(rate=100, seconds=6, punctual_seconds=1.0)
    report_line(
        f"promoted after {done.promoted_after_seconds:.2f} s, without dispatch {done.without_dispatch_seconds:.2f} s"
    )
    assert done.verdict.passed, done.verdict.text()
    assert done.verdict.statuses == {"SUCCEEDED": 600}
