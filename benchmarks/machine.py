"""What was measured on: figures mean nothing without it."""

import os
import platform
import subprocess
import sys
import timeit
from pathlib import Path
from typing import Any

import psycopg

from countwheel.embedded.binaries import find_binaries


def machine() -> dict[str, Any]:
    """Return processor, memory, and what runs on them."""
    postgres = subprocess.run(
        [find_binaries(None) / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return {
        "cores": os.cpu_count(),
        "processor": _field("/proc/cpuinfo", "model name"),
        "memory_gib": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1024**2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgresql": postgres.stdout.split()[-1],
        "psycopg": psycopg.__version__,
        "commit": _commit(),
        "loop_ns": _loop_ns(),
        "loop_ns_beside_others": _loop_ns_beside_others(),
    }


def _loop_ns() -> float:
    """How long one step of a Python loop takes, in nanoseconds."""
    steps = 1_000_000
    return round(min(timeit.repeat("n += 1", "n = 0", number=steps, repeat=5)) / steps * 1e9, 1)


def _loop_ns_beside_others() -> float:
    """The same while every other core is busy. Where two cores are threads of one that is nearly twice as long, and
    what was measured on such a machine must not be held against another's.
    """
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range((os.cpu_count() or 1) - 1)]
    try:
        return _loop_ns()
    finally:
        for other in others:
            other.kill()
            other.wait()


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "0"


def _commit() -> str:
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()
