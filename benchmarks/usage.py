"""What processes and PostgreSQL have used so far; the difference of two looks is what a workload has cost."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM = 1, 11, 12, 13, 14

# Writing transactions are counted by their ids: that is exact at once, where counters of `pg_stat_database` come late.
_COUNTERS = """
    SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
        (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
        (SELECT wal_fpi FROM pg_stat_wal),
        (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal')
"""


def cpu_seconds(root: int) -> float:
    """Return the CPU time of a process and all below it, ended ones too (whoever waited for them has their time)."""
    used = 0.0
    for pid in tree(root):
        fields = _stat(pid)
        used += sum(int(fields[place]) for place in (_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM)) if fields else 0
    return used / _TICKS_A_SECOND


def own_mib(root: int) -> float:
    """Return the memory that a process and all below it have of their own: neither shared with others nor of files."""
    return sum(_own_kib(pid) for pid in tree(root)) / 1024


def _own_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(status.partition("RssAnon:")[2].partition("kB")[0] or 0)


def tree(root: int) -> list[int]:
    """Return a process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[_PARENT]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, ())
    return found


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on, None where the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


@dataclass(frozen=True, slots=True)
class Usage:
    """A look at what has been used since the start. `transactions` and `fsyncs` may lag some seconds behind."""

    nodes_seconds: float
    postgres_seconds: float
    sink_seconds: float
    wal_bytes: int
    commits: int
    transactions: int
    full_page_images: int
    fsyncs: int

    @classmethod
    async def look(cls, dsn: str, pids: Mapping[str, int]) -> "Usage":
        """Look now; `pids` are those of "nodes", "postgres" and "sink"."""
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            row = await (await connection.execute(_COUNTERS)).fetchone()
        if row is None:
            raise RuntimeError("no counters")
        used = await asyncio.to_thread(lambda: {name: cpu_seconds(pid) for name, pid in pids.items()})
        return cls(used["nodes"], used["postgres"], used["sink"], *map(int, row))

    def figures_since(self, before: "Usage", runs: int, seconds: float) -> dict[str, float]:
        """Return what each of `runs` has cost since `before`, and how busy the sink was (of one core) meanwhile."""
        return {
            "python_us": (self.nodes_seconds - before.nodes_seconds) / runs * 1e6,
            "postgres_us": (self.postgres_seconds - before.postgres_seconds) / runs * 1e6,
            "sink_us": (self.sink_seconds - before.sink_seconds) / runs * 1e6,
            "sink_busy": (self.sink_seconds - before.sink_seconds) / seconds,
            "wal_bytes": (self.wal_bytes - before.wal_bytes) / runs,
            "commits": (self.commits - before.commits) / runs,
            "fsyncs": (self.fsyncs - before.fsyncs) / runs,
            "full_page_images": (self.full_page_images - before.full_page_images) / runs,
        }
