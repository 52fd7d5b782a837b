"""`countwheel token`: an access token for the local server."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from countwheel.client import ApiError, Countwheel, CredentialsError
from countwheel.client.credentials import load


def print_token(scope: str | None) -> int:
    """Print a token and return the exit code; what goes wrong is said on standard error."""
    data_dir = Path(os.environ.get("COUNTWHEEL_DATA_DIR", "./.countwheel")).expanduser()
    try:
        credentials = load(data_dir)
        if url := os.environ.get("COUNTWHEEL_URL"):
            credentials = replace(credentials, url=url.rstrip("/"))
        token = Countwheel(credentials, scope=scope).fetch_token()
    except (CredentialsError, ApiError) as error:
        print(f"countwheel: {error}", file=sys.stderr)  # noqa: T201 (the terminal is where this belongs)
        return 1
    print(token)  # noqa: T201 (the command's one output)
    return 0
