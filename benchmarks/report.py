"""The report: what the result files say, as a table and plots between the markers of docs/benchmarks.md."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import plot
from benchmarks.measured import Goal, Measurement, Result, Spread, readable, spans
from benchmarks.plot import Bar

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- results: begin (python -m benchmarks report) -->", "<!-- results: end -->"
_PLOTTED: Mapping[str, tuple[str, str]] = {
    "durable_per_second": ("Drains: runs durably done, counted from the due moment", "runs/s"),
    "p99_ms": ("Lateness at the receiver, p99", "ms"),
}


def load(folder: Path, order: Sequence[str]) -> list[Result]:
    """Return the results of a folder, in the order of the table's rows."""
    files = sorted(folder.glob("*.json"), key=_in_order)
    found = [Result.from_json(json.loads(file.read_text(encoding="utf-8"))) for file in files]
    places = {name: place for place, name in enumerate(order)}
    return sorted(found, key=lambda result: places.get(result.row, len(places)))


def table(results: Iterable[Result]) -> str:
    """Return a line a goal: what was measured, its median and spread, and how far that is from the limit."""
    lines = [
        "| row | case | figure | goal | median | least..most | met | of the limit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for case in result.cases:
            lines += [_line(result, case, goal) for goal in case.goals]
            if case.faults:
                lines.append(f"| {result.title} | {case.label} | **{case.faults}** | none | | | **no** | |")
    return "\n".join(lines)


def figures(results: Iterable[Result]) -> str:
    """Return every figure of every case: the median, and least..most where the rounds differ."""
    blocks = []
    for result in results:
        blocks.append(f"**{result.title}** · `{result.command}` · {result.at} · {result.machine.get('commit', '')}\n")
        blocks += [
            f"- {case.label} (rounds: {len(case.rounds)}): {case.line().replace('   ', ' · ')}" for case in result.cases
        ]
        blocks.append("")
    return "\n".join(blocks)


def plots(results: Sequence[Result]) -> dict[str, str]:
    """Return the plots by file name."""
    drawn = {}
    for figure, (title, unit) in _PLOTTED.items():
        found = [
            Bar(f"{result.title.split()[0]}: {case.label}"[:58], spread, _bound(case, figure))
            for result in results
            for case in result.cases
            if (spread := case.spread(figure)) is not None and (figure != "p99_ms" or _bound(case, figure) is not None)
        ]
        if found:
            drawn[f"{figure}.svg"] = plot.bars(title, unit, found)
    for result in results:
        joined = _joined(result.cases)
        if joined:
            drawn[f"{result.row}.svg"] = plot.lines(f"{result.title}: minute after minute", joined)
    return drawn


def write(results: Sequence[Result], page: Path) -> None:
    """Write table, plots and figures into the page, between its markers. Raises `ValueError` where it has none."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    if pattern.search(text) is None:
        raise ValueError(f"{page} lacks the markers {_BEGIN} and {_END}")
    folder = page.parent / "benchmarks"
    folder.mkdir(exist_ok=True)
    drawn = plots(results)
    for name, picture in drawn.items():
        (folder / name).write_text(picture, encoding="utf-8")
    images = "\n\n".join(f"![{name.removesuffix('.svg')}](benchmarks/{name})" for name in drawn)
    parts = (_BEGIN, _machines(results), table(results), images, figures(results), _END)
    page.write_text(pattern.sub(lambda _: "\n\n".join(parts), text), encoding="utf-8")


def _line(result: Result, case: Measurement, goal: Goal) -> str:
    found = case.spread(goal.figure)
    if found is None:
        return f"| {result.title} | {case.label} | {goal.figure} | {goal.text} | not measured | | **no** | |"
    spread = f"{readable(found.least)}..{readable(found.most)}" if spans(found) else ""
    met = "yes" if goal.is_met(found.median) else "**no**"
    return (
        f"| {result.title} | {case.label} | {goal.figure} | {goal.text} | {readable(found.median)} | {spread} | {met} "
        f"| {_of_limit(case, goal, found)} |"
    )


def _of_limit(case: Measurement, goal: Goal, found: Spread) -> str:
    limit = case.spread(goal.limit) if goal.limit is not None else None
    return f"{found.median / limit.median:.0%} of {readable(limit.median)} ({goal.limit})" if limit else ""


def _bound(case: Measurement, figure: str) -> float | None:
    bounds = [goal.at_least or goal.at_most for goal in case.goals if goal.figure == figure]
    return bounds[0] if bounds else None


def _joined(cases: Sequence[Measurement]) -> dict[str, list[float]]:
    """Return what the cases of a row have along a line, one after another."""
    names = dict.fromkeys(name for case in cases for name in case.series if name in {"p99_ms", "nodes_mib", "runs_mib"})
    return {name: [value for case in cases for value in case.series.get(name, ())] for name in names}


def _machines(results: Sequence[Result]) -> str:
    """Say what was measured on; all results of a table should come from one machine."""
    named = ("cores", "processor", "memory_gib", "kernel", "python", "postgresql")
    seen = dict.fromkeys(
        ", ".join(f"{name} {result.machine[name]}" for name in named if name in result.machine) for result in results
    )
    return "Measured on: " + "; ".join(seen) + "."


def _in_order(file: Path) -> list[str | int]:
    """Split a name into words and numbers: 20000 comes before 200000, and a word always meets a word."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.stem)]
