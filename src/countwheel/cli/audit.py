"""`countwheel audit`: the ledger of a live system, asked whether everything that should have been was, once."""

import sys
from collections import Counter
from datetime import datetime
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from countwheel.domain.audit import BROKEN, Finding
from countwheel.domain.errors import ScheduleError
from countwheel.domain.timestamp import format_instant, parse_oneoff
from countwheel.store.audit import FoundOfJob

SHOWN = 100
"""Findings that are printed one by one; the rest is in the totals."""

_MEANINGS = {
    Finding.RAN: "called and accepted, in time",
    Finding.LATE: "called and accepted, late",
    Finding.FAILED: "called, and given up",
    Finding.UNKNOWN: "called without an answer, and held",
    Finding.CANCELLED: "cancelled before it was done",
    Finding.SKIPPED: "passed over, with a reason",
    Finding.EXPIRED: "missed by more than its catch-up window",
    Finding.WAITING: "due, and not ended yet",
    Finding.MISSING: "should have been, and is not on record",
    Finding.DOUBLED: "on record more than once",
    Finding.UNPLANNED: "on record, and no schedule names it",
}


class BadOptionError(Exception):
    """An option that means nothing: which, and what would be right."""


def read_instant(option: str, text: str) -> datetime:
    """Return the instant of `--from` or `--to`. Raises `BadOptionError`."""
    try:
        return parse_oneoff(text if "T" in text.upper() else f"{text}T00:00:00Z", None)
    except ScheduleError as error:
        raise BadOptionError(f"{option} {text}: {error}") from error


def read_job(text: str) -> UUID:
    """Return the id of `--job`. Raises `BadOptionError`."""
    try:
        return UUID(text)
    except ValueError as error:
        raise BadOptionError(f"--job {text}: not a job's id") from error


class Report:
    """Counts what is found, shows how far it has come, and says in the end how it stands."""

    def __init__(self, *, verbose: bool = False) -> None:
        """`verbose` prints every finding but `ran`; otherwise only what must not be, and what is late."""
        self._shown_kinds = frozenset(Finding) - {Finding.RAN} if verbose else BROKEN | {Finding.LATE}
        self._errors = Console(stderr=True)
        self._progress = Progress(
            TextColumn("auditing"), BarColumn(), MofNCompleteColumn(), TextColumn("jobs"), TimeRemainingColumn(),
            console=self._errors, transient=True, disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self._task = self._progress.add_task("jobs", total=None)
        self._totals: Counter[Finding] = Counter()
        self._repeats = 0
        self._jobs = 0
        self._shown = 0

    def begin(self, jobs: int) -> None:
        """Take note of how much there is to do."""
        self._progress.update(self._task, total=jobs)
        self._progress.start()

    def take(self, answer: FoundOfJob) -> None:
        """Take a finding in."""
        found = answer.found
        if found is None:
            self._jobs += 1
            self._progress.advance(self._task)
            return
        self._totals[found.finding] += found.occurrences
        self._repeats += found.repeats
        if found.finding in self._shown_kinds:
            self._shown += 1
            if self._shown <= SHOWN:
                at = format_instant(found.scheduled_for)
                print(f"{found.finding:10} {at}  {answer.job_id}  {found.reason}")  # noqa: T201 (the command's output)

    def end(self, start: datetime, end: datetime) -> int:
        """Print the totals and return the exit code: 0 only if nothing is missing, doubled or unplanned."""
        self._progress.stop()
        if self._shown > SHOWN:
            print(f"... and {self._shown - SHOWN} more")  # noqa: T201 (the command's output)
        table = Table(
            title=f"{self._jobs} jobs, {format_instant(start)} to {format_instant(end)}", title_justify="left"
        )
        table.add_column("occurrences", justify="right")
        table.add_column("finding")
        table.add_column("meaning")
        for finding in Finding:
            table.add_row(f"{self._totals[finding]:,}", finding.value, _MEANINGS[finding])
        Console().print(table)
        if self._repeats:
            print(  # noqa: T201 (the command's output)
                f"{self._repeats:,} attempts were lost with their node before the record: their targets may have "
                "received them besides the one that is on record"
            )
        broken = sum(self._totals[finding] for finding in BROKEN)
        print("NOT ACCOUNTED FOR" if broken else "every occurrence is accounted for")  # noqa: T201
        return 1 if broken else 0
