"""Files that only their owner may read, from the first byte on."""

import os
from pathlib import Path

_OWNER_ONLY = 0o600


def keep(path: Path, make: bytes) -> bytes:
    """Return what the file at `path` holds; where there is none yet, write `make` to it first, whole or not at all."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:
            file.write(make)
        fresh.replace(path)
    return path.read_bytes()
