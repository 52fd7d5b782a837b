"""The report tells what was measured, and what was not reached."""

import json
from xml.etree import ElementTree as ET

import pytest

from benchmarks import report
from benchmarks.measured import Faults, Goal, Measurement, Result

GOAL = Goal("durable_per_second", "runs/s", at_least=20_000, limit="raw_calls_per_second")
FIGURES = {"durable_per_second": 10_000.0, "raw_calls_per_second": 40_000.0}


def result(*rounds, series=None):
    """Return the result of a row with one case."""
    case = Measurement("20,000 jobs", rounds or (FIGURES,), [GOAL], series or {})
    return Result("drain", "S1 drain", "python -m benchmarks drain", "2026-01-01T00:00:00+00:00", {"cores": 2}, [case])


def test_line_tells_goal_figure_spread_and_fraction_of_the_limit():
    """Everything that a goal is judged by stands on its line."""
    told = report.table([result(FIGURES, FIGURES | {"durable_per_second": 12_000.0})]).splitlines()[-1]
    assert told == (
        "| S1 drain | 20,000 jobs | durable_per_second | ≥ 20,000 runs/s | 11,000 | 10,000..12,000 | **no** "
        "| 28% of 40,000 (raw_calls_per_second) |"
    )


def test_goal_without_a_figure_is_not_met():
    """What was not measured is said to be so."""
    assert "not measured | | **no**" in report.table([result({"p99_ms": 1.0})])


def test_fault_has_a_line_of_its_own():
    """A double cannot hide behind a good rate."""
    assert "doubles=1" in report.table([result(FIGURES | Faults(doubles=1).figures())])


def test_page_is_rewritten_between_its_markers_alone(tmp_path):
    """What a person has written around the results stays, however often they are written anew."""
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{report._BEGIN}\nold\n{report._END}\nafter\n", encoding="utf-8")
    report.write([result(series={"p99_ms": [1.0, 2.0]})], page)
    first = page.read_text(encoding="utf-8")
    report.write([result(series={"p99_ms": [1.0, 2.0]})], page)
    assert first == page.read_text(encoding="utf-8")
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "old" not in first
    assert "10,000" in first
    assert {file.name for file in (tmp_path / "benchmarks").iterdir()} == {"durable_per_second.svg", "drain.svg"}


def test_page_without_markers_is_refused(tmp_path):
    """Nothing is written where nobody has said where."""
    page = tmp_path / "benchmarks.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the markers"):
        report.write([result()], page)


def test_plots_are_well_formed():
    """A label may hold what XML reserves."""
    case = Measurement("<20 & more>", [FIGURES], [GOAL])
    whole = Result("drain", "S1 drain", "", "", {}, [case])
    for picture in report.plots([whole]).values():
        ET.fromstring(picture)


def test_results_are_in_the_order_of_the_table(tmp_path):
    """20,000 comes before 200,000, and rows come as the table has them."""
    for name in ("drain-200000-1", "drain-20000-1"):
        document = result().to_json() | {"command": name}
        (tmp_path / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    assert [found.command for found in report.load(tmp_path, ["drain"])] == ["drain-20000-1", "drain-200000-1"]
