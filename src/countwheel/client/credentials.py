"""Where a client's id and secret are kept on this machine: one file, readable only by its owner."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_FILE_NAME = "client.json"
_OWNER_ONLY = 0o600


class CredentialsError(Exception):
    """The credentials are missing or cannot be read: where they were looked for, and what makes them."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows to get tokens, and where."""

    url: str
    client_id: str
    client_secret: str


def save(data_dir: Path, credentials: Credentials) -> Path:
    """Write the credentials, readable only by the owner from the first byte on, and return the file."""
    path = data_dir / _FILE_NAME
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w", encoding="utf-8") as file:
        json.dump(asdict(credentials), file, indent=2)
    fresh.replace(path)
    return path


def load(data_dir: Path) -> Credentials:
    """Return the credentials that `countwheel dev` keeps. Raises `CredentialsError`."""
    path = data_dir / _FILE_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(str(document["url"]), str(document["client_id"]), str(document["client_secret"]))
    except FileNotFoundError as error:
        raise CredentialsError(
            f"no credentials in {path}: start `countwheel dev` once, or set COUNTWHEEL_DATA_DIR to its data directory"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CredentialsError(f"cannot read the credentials in {path}: {error!r}") from error
