"""What was measured on: figures mean nothing without it."""

import os
import platform
import subprocess
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
    }


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "0"


def _commit() -> str:
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()
