"""How to reach an embedded PostgreSQL that another process runs."""

from pathlib import Path

from countwheel.embedded.dsn import socket_dsn
from countwheel.embedded.errors import EmbeddedPostgresError

_SOCKET_LINE, _PORT_LINE = 4, 3


def dsn_of_running(data_dir: Path) -> str:
    """Return how to connect to the server of `countwheel dev` on this data directory.

    Raises `EmbeddedPostgresError` if none runs there.
    """
    try:
        lines = (data_dir / "postgres" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        password = (data_dir / "postgres.password").read_text(encoding="utf-8").strip()
        host, port = lines[_SOCKET_LINE], lines[_PORT_LINE]
    except (OSError, IndexError) as error:
        raise EmbeddedPostgresError(
            f"no server runs on {data_dir}: start `countwheel dev`, or set COUNTWHEEL_DATABASE_URL"
        ) from error
    return socket_dsn(host, port, password)
