"""Many histories, on as many processes as the machine has cores."""

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from multiprocessing import get_context

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from simulator.play import play

_TABLES = "runs, run_history, attempts, jobs, job_versions, cancelled_occurrences, nodes, idempotency_keys, targets"
_VACUUM_EVERY = 25
"""Of what a history has taken back, each look of the next ones passes all: two hundred make them a quarter slower."""


@dataclass(slots=True)
class Summary:
    """What many seeds came to."""

    histories: int = 0
    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)
    """Seeds whose history broke a promise, with the report."""

    def add(self, other: "Summary") -> None:
        """Take another summary in."""
        self.histories += other.histories
        self.runs += other.runs
        self.faults += other.faults
        self.repeats += other.repeats
        self.failed |= other.failed

    def text(self) -> str:
        """Return one line, and a report for each seed that failed."""
        lines = [f"seed {seed}: python -m simulator --seed {seed}\n{report}" for seed, report in self.failed.items()]
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        lines.append(
            f"{self.histories} histories, {self.runs} runs, {self.repeats.total()} repeats with a cause, "
            f"{len(self.failed)} broken; faults: {faults}"
        )
        return "\n".join(lines)


def play_many(dsn: str, seeds: Sequence[int], *, nice: int = 0) -> Summary:
    """Play a history for each seed. `dsn` is a prepared database; every process has a copy of its own.

    `nice` (0 to 19) is how much the processes, and PostgreSQL's on this machine that serve them, stand back for others.
    """
    cores = sorted(os.sched_getaffinity(0))
    workers = len(cores)
    shares = [seeds[number::workers] for number in range(workers)]
    copies = [_copy(dsn, number) for number in range(workers)]
    summary = Summary()
    # Fresh processes: what a test has running in this one is none of theirs.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for part in pool.map(_play_share, copies, shares, cores, repeat(nice)):
            summary.add(part)
    return summary


def _copy(dsn: str, number: int) -> str:
    """Make a copy of a database, and return how to connect to it."""
    name = f"{conninfo_to_dict(dsn)['dbname']}_{number}"
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {conninfo_to_dict(dsn)['dbname']}".encode())
    return make_conninfo(dsn, dbname=name)


def _play_share(dsn: str, seeds: Sequence[int], core: int, nice: int) -> Summary:
    warnings.simplefilter("ignore", RuntimeWarning)  # what the dead were about to do was never awaited
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    summary = Summary()
    with psycopg.connect(dsn, autocommit=True) as connection:
        backend = connection.info.backend_pid
        # One of the two waits for the other, always. To wake it on another core takes both of them longer than to hand
        # over their own: a history on one core is a sixth less work (decision 0010).
        for process in (0, backend):
            os.sched_setaffinity(process, {core})
        if nice:
            os.nice(nice)
            os.setpriority(os.PRIO_PROCESS, backend, nice)
        for number, seed in enumerate(seeds):
            if number % _VACUUM_EVERY == _VACUUM_EVERY - 1:
                connection.execute(f"VACUUM {_TABLES}")
            played = play(connection, seed, tidy=False)
            summary.histories += 1
            summary.runs += played.verdict.runs
            summary.faults += played.verdict.faults
            summary.repeats += played.verdict.repeats
            if not played.verdict.passed:
                summary.failed[seed] = played.verdict.text()
    return summary
