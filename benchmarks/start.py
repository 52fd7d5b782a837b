"""S11: how long the CLI takes to import, and `countwheel dev` from cold to an answer of /readyz.

python -m benchmarks.start [--rounds N]

Each start is of a process of its own. The data directory is made once before (how long that takes, with initdb, is told
too). Bytecode is compiled, as it is after any first start, whatever the environment says about it: it is kept in a
folder of the benchmark's own. What a start reads is in the page cache.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from benchmarks.stage import free_port

_LOOK_EVERY_SECONDS = 0.005


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


def main(rounds: int) -> None:
    """Measure and print medians."""
    folder = Path(tempfile.mkdtemp(prefix="countwheel-bench-"))
    try:
        unwanted = ("COUNTWHEEL_", "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        compiling = ready_seconds(environment, folder / "once")
        first = ready_seconds(environment, folder / "data")
        nothing = median(run_seconds(environment, "-c", "pass") for _ in range(rounds))
        imported = median(run_seconds(environment, "-c", "import countwheel.cli.app") for _ in range(rounds))
        helped = median(run_seconds(environment, "-m", "countwheel", "--help") for _ in range(rounds))
        ready = [ready_seconds(environment, folder / "data") for _ in range(rounds)]
        print(f"interpreter alone      {nothing * 1000:6.0f} ms")
        print(f"import of the CLI      {(imported - nothing) * 1000:6.0f} ms (beyond the interpreter)")
        print(f"countwheel --help      {helped * 1000:6.0f} ms")
        print(f"dev to /readyz         {median(ready):6.2f} s   (from {min(ready):.2f} to {max(ready):.2f})")
        print(f"dev with initdb        {first:6.2f} s   (once)")
        print(f"... and no bytecode    {compiling:6.2f} s   (the first start of all)")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How long it takes to start.")
    parser.add_argument("--rounds", type=int, default=5)
    main(parser.parse_args().rounds)
