"""How an embedded PostgreSQL is reached: through its Unix socket, with the password beside its data."""

from pathlib import Path

USER = "countwheel"
"""The role that owns everything, and the name of its database."""


def socket_dsn(socket_dir: Path | str, port: int | str, password: str, database: str = USER) -> str:
    """Return a libpq connection string."""
    parts = {"host": str(socket_dir), "port": str(port), "user": USER, "dbname": database, "password": password}
    return " ".join(f"{name}='{_quoted(value)}'" for name, value in parts.items())


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
