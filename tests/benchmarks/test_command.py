"""A command fails where a promise was broken, however fast."""

import pytest

from benchmarks import plan
from benchmarks.__main__ import _parser, tell
from benchmarks.measured import Faults, Goal, Measurement, Result


def result(faults):
    """Return a result that is slower than its goal, with faults in its second round."""
    rounds = [{"p99_ms": 9.0, **Faults().figures()}, {"p99_ms": 9.0, **faults.figures()}]
    return Result("row", "S0", "", "", {}, [Measurement("case", rounds, [Goal("p99_ms", "ms", at_most=3.0)])])


@pytest.mark.parametrize("faults", [Faults(doubles=1), Faults(early=1), Faults(missing=1)])
def test_fault_in_any_round_fails_the_command(faults, capsys):
    """Twice, early or not at all: each by itself is enough."""
    assert tell(result(faults)) == 1
    assert "WRONG" in capsys.readouterr().err


def test_goal_that_is_not_met_is_told_and_no_failure(capsys):
    """A slow machine is no broken promise."""
    assert tell(result(Faults())) == 0
    assert "NOT MET p99_ms ≤ 3 ms" in capsys.readouterr().out


@pytest.mark.parametrize("command", [*plan.SHORT.values(), *plan.FULL.values()])
def test_plans_hold_commands_that_there_are(command):
    """What `make bench` runs can be run."""
    assert _parser().parse_args(command.split()).row.name == command.split()[0]
