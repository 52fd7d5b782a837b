"""Fetch uv's wheel from PyPI and unpack its program: `fetch_uv.py VERSION FILE`. For a Python without pip and venv.

Needs nothing but the standard library. The wheel's SHA-256 is checked against the index, as pip does.
"""

import hashlib
import io
import json
import platform
import sys
import urllib.request
import zipfile
from pathlib import Path

INDEX = "https://pypi.org/simple/uv/"
TIMEOUT_SECONDS = 120
TAGS = {"Linux": "manylinux", "Darwin": "macosx"}


def main(version: str, program: Path) -> None:
    """Write the program to a file. Raises `SystemExit` with a reason, and `OSError` for what the network does."""
    request = urllib.request.Request(INDEX, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    listing = json.loads(_read(request))
    machine, tag = platform.machine(), TAGS.get(platform.system(), "none")
    fitting = [
        wheel
        for wheel in listing["files"]
        if wheel["filename"].startswith(f"uv-{version}-py3-none-{tag}") and f"{machine}." in wheel["filename"]
    ]
    if not fitting:
        raise SystemExit(f"PyPI has no wheel of uv {version} for {platform.system()} on {machine}")
    content = _read(urllib.request.Request(fitting[0]["url"]))  # noqa: S310 (PyPI said it, over TLS)
    if hashlib.sha256(content).hexdigest() != fitting[0]["hashes"]["sha256"]:
        raise SystemExit("the wheel of uv is not what the index says: try again")
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_bytes(wheel.read(f"uv-{version}.data/scripts/uv"))
    program.chmod(0o755)


def _read(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 (two addresses of PyPI)
        content: bytes = answer.read()
        return content


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
