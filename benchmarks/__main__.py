"""One command a row: `python -m benchmarks ROW`; `--help` names them.

Each prints its figures round by round, their medians and spreads (least..most), and writes them as JSON where it is
told to. It fails where a call came twice, before its time, or not at all, in any round.
"""

import asyncio
import json
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from benchmarks import plan, report
from benchmarks.machine import machine
from benchmarks.measured import Result
from benchmarks.row import Row
from benchmarks.rows import ROWS


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m benchmarks", description="Speed, measured.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for row in ROWS:
        command = commands.add_parser(row.name, help=f"{row.title}: {row.about}", description=row.about)
        command.add_argument("--rounds", type=int, default=row.rounds, help=f"(default: {row.rounds})")
        command.add_argument("--workers", type=int, default=1, help="nodes: serve --workers (default: 1)")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the figures into it")
        row.arguments(command)
        command.set_defaults(row=row)
    short = commands.add_parser("short", help="a short form of every row but the peers (make bench)")
    short.add_argument("--into", type=Path, metavar="FOLDER", help="keep the results there")
    short.set_defaults(do=lambda given: plan.run_all(plan.SHORT, given.into))
    full = commands.add_parser("full", help="every row at full length (make bench-full)")
    full.add_argument("--into", type=Path, metavar="FOLDER", default=report.RESULTS, help="keep the results there")
    full.set_defaults(do=lambda given: plan.run_all(plan.FULL, given.into))
    telling = commands.add_parser("report", help="write table and plots into docs/benchmarks.md")
    telling.add_argument("--results", type=Path, metavar="FOLDER", default=report.RESULTS)
    telling.add_argument("--page", type=Path, metavar="FILE", default=report.PAGE)
    telling.set_defaults(do=_report)
    return parser


def _report(given: Namespace) -> int:
    results = report.load(given.results, [row.name for row in ROWS])
    report.write(results, given.page)
    print(report.table(results))
    return 0


async def _measure(row: Row, given: Namespace, command: str) -> Result:
    task = asyncio.current_task()
    if task is not None:  # end what was started also where a job runner stops us
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"{row.title}: {row.about}", flush=True)
    return Result(row.name, row.title, command, at, machine(), await row.run(given))


def _told(arguments: Sequence[str]) -> str:
    """Return the command as anybody would give it again: where its figures were kept is nobody's business."""
    if "--json" in arguments:
        at = arguments.index("--json")
        arguments = [*arguments[:at], *arguments[at + 2 :]]
    return " ".join(["python -m benchmarks", *arguments])


def main(arguments: list[str]) -> int:
    """Run a command, and return its exit code."""
    given = _parser().parse_args(arguments)
    if "do" in given:
        return int(given.do(given))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(_measure(given.row, given, _told(arguments)))
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    return tell(result)


def tell(result: Result) -> int:
    """Print what was measured, and return the exit code: 1 where anything came twice, early or not at all."""
    bad = False
    for case in result.cases:
        print(f"{case.label}\n    {case.line()}")
        for goal in case.goals:
            if (found := case.spread(goal.figure)) is not None:
                print(f"    {'met    ' if goal.is_met(found.median) else 'NOT MET'} {goal.figure} {goal.text}")
        if case.faults:
            bad = True
            print(f"    WRONG: {case.faults}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
