"""How long the CLI takes to import, and `countwheel dev` from cold to an answer of /readyz.

Each start is of a process of its own. The data directory is made once before (how long that takes, with initdb, is told
too). Bytecode is compiled, as it is after any first start, whatever the environment says about it: it is kept in a
folder of the benchmark's own. What a start reads is in the page cache.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measured import Goal, Measurement
from benchmarks.row import Figures, Row, alternate
from benchmarks.stage import free_port

_LOOK_EVERY_SECONDS = 0.005
_COMMANDS = "the command line"
_STARTS = "dev from cold to /readyz"


def run_seconds(environment: Mapping[str, str], *arguments: str) -> float:
    """Return how long a fresh interpreter takes for what its arguments say."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began


def ready_seconds(environment: Mapping[str, str], data_dir: Path) -> float:
    """Return how long `countwheel dev` takes to its first answer of 200 at /readyz. It is stopped again."""
    port = free_port()
    own = {"COUNTWHEEL_PORT": str(port), "COUNTWHEEL_DATA_DIR": str(data_dir), "COUNTWHEEL_LOG_LEVEL": "warning"}
    began = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "countwheel", "dev"],
        env={**environment, **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _is_ready(port):
            if server.poll() is not None:
                raise RuntimeError(f"countwheel dev ended with {server.returncode}")
            time.sleep(_LOOK_EVERY_SECONDS)
        return time.perf_counter() - began
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _arguments(_: ArgumentParser) -> None:
    pass


async def _run(given: Namespace) -> list[Measurement]:
    folder = Path(tempfile.mkdtemp(prefix="countwheel-bench-"))
    try:
        unwanted = ("COUNTWHEEL_", "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        compiling = {"ready_seconds": ready_seconds(environment, folder / "once")}
        initialising = {"ready_seconds": ready_seconds(environment, folder / "data")}

        async def commands() -> Figures:
            alone = run_seconds(environment, "-c", "pass")
            imported = run_seconds(environment, "-c", "import countwheel.cli.app")
            helped = run_seconds(environment, "-m", "countwheel", "--help")
            figures = {"interpreter_ms": alone, "import_ms": imported - alone, "help_ms": helped}
            return {name: seconds * 1000 for name, seconds in figures.items()}

        async def start() -> Figures:
            return {"ready_seconds": ready_seconds(environment, folder / "data")}

        found = await alternate(given.rounds, {_COMMANDS: commands, _STARTS: start})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [
        Measurement(_COMMANDS, found[_COMMANDS], (Goal("import_ms", "ms beyond the interpreter's", at_most=150.0),)),
        Measurement(_STARTS, found[_STARTS], (Goal("ready_seconds", "s", at_most=2.0),)),
        Measurement("dev to /readyz, initdb included", [initialising]),
        Measurement("dev to /readyz, initdb included, nothing compiled before", [compiling]),
    ]


ROW = Row("start", "S11 start", "import of the CLI, and dev from cold to /readyz", _arguments, _run)
