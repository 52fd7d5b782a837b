"""What a person is told to begin with: by `countwheel dev`, and by `countwheel admin bootstrap`."""

import shlex
import sys
from pathlib import Path

from countwheel import __version__


def greet(url: str, data_dir: Path) -> None:
    """Print where the development server is, and a first call to paste."""
    soon = "$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -v+2S +%Y-%m-%dT%H:%M:%SZ)"
    called_as = Path(sys.argv[0])
    command = str(called_as.absolute()) if called_as.name == "countwheel" else f"{sys.executable} -m countwheel"
    environment = f"COUNTWHEEL_DATA_DIR={shlex.quote(str(data_dir))} "
    print(  # noqa: T201 (what a person needs to begin)
        f"""
Countwheel {__version__} is running on {url}   (data in {data_dir}; Ctrl-C stops it)
API documentation: {url}/docs

Schedule a call to this server's own echo, two seconds from now:

curl -sS {url}/v1/jobs -H "Authorization: Bearer $({environment}{command} token)" \
-H 'Content-Type: application/json' \
-d '{{"schedule_oneoff": "'{soon}'", "job_url": "{url}/dev/echo", "job_payload": {{"hello": "world"}}}}'

See it arrive:  curl -sS {url}/dev/echo
""",
        flush=True,
    )


def print_admin(client_id: str, secret: str, url: str) -> None:
    """Print the credentials of a new admin, the one time that they can be: the database has a hash alone."""
    print(f"client_id={client_id}\nclient_secret={secret}", flush=True)  # noqa: T201 (the command's output)
    print(  # noqa: T201 (beside the output, not in it)
        f"""
An admin of the tenant `default`, with every right. The secret is shown this once: keep it where secrets are kept.
Get a token:  curl -sS {url}/oauth/token -u "$client_id:$client_secret" -d grant_type=client_credentials""",
        file=sys.stderr,
    )
