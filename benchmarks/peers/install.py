"""Installs the peers, in versions that are written down here, into a folder of their own outside of the repository.

    python -m benchmarks.peers.install

Those in Node.js come by `npm ci` (an npm is needed, of Node.js 20 or later; the Node.js that they run on comes along),
those in Python by uv into a virtual environment. The folder is ~/.cache/countwheel-bench, or COUNTWHEEL_BENCH_CACHE.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
CACHE = Path(os.environ.get("COUNTWHEEL_BENCH_CACHE") or Path.home() / ".cache" / "countwheel-bench")
NODE_HARNESSES = _HERE / "node"
NODE_MODULES = CACHE / "node" / "node_modules"
_PYTHON = CACHE / "python"
_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


def node() -> Path:
    """Return the Node.js that came with the peers; where there is none for this machine, the one on the PATH."""
    own = NODE_MODULES / f"node-linux-{_ARCHITECTURES.get(platform.machine(), '')}" / "bin" / "node"
    return own if own.exists() else Path(shutil.which("node") or "node")


def python() -> Path:
    """Return the Python of the peers' virtual environment."""
    return _PYTHON / "bin" / "python"


def version(package: str, *, is_node: bool) -> str:
    """Return the version of a peer that is installed. Raises `FileNotFoundError` where none is."""
    if is_node:
        described = json.loads((NODE_MODULES / package / "package.json").read_text(encoding="utf-8"))
        return str(described["version"])
    found = sorted(_PYTHON.glob(f"lib/*/site-packages/{package}-*.dist-info"))
    if not found:
        raise FileNotFoundError(f"{package} is not installed: python -m benchmarks.peers.install")
    return found[0].name.removeprefix(f"{package}-").removesuffix(".dist-info")


def main() -> None:
    """Install all of them."""
    folder = CACHE / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NODE_HARNESSES / name, folder / name)
    # No script of a package is run: none of them needs one.
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True
    )
    uv = subprocess.run(["sh", _ROOT / "tools" / "uv.sh"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, _PYTHON], check=True)
    requirements = _HERE / "python" / "requirements.txt"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python(), "-r", requirements], check=True)
    for package, is_node in (
        *(("graphile-worker", True), ("pg-boss", True), ("undici", True)),
        *(("pgqueuer", False), ("procrastinate", False)),
    ):
        print(f"{package} {version(package, is_node=is_node)}")


if __name__ == "__main__":
    main()
