"""pgbouncer between tests and PostgreSQL, each session lent for a transaction.

`COUNTWHEEL_TEST_POOLER=pgbouncer pytest tests/store tests/engine` lets every `Database` of the tests, and every
`countwheel serve` that they start, go through one. What a test itself asks of PostgreSQL goes straight there.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import harness
from countwheel.store.database import Database

WANTED = os.environ.get("COUNTWHEEL_TEST_POOLER", "")
"""`pgbouncer`, or nothing."""
BINARY = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
_PORT = 6432
# It sends nothing of its own and refuses what it does not know of a session's beginning: as it comes from the package.
_SETTINGS = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = {own_port}
auth_type = any
admin_users = {user}
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 12
server_idle_timeout = 2
"""


class Pooler:
    """A pgbouncer that runs, and the way through it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def way_to(self, dsn: str) -> str:
        """Return the connection string of the same database by way of the pooler."""
        return make_conninfo(dsn, host=str(self._folder), port=_PORT)

    def connect_anew(self, dsn: str) -> None:
        """Let it end its sessions with a database, as soon as nobody has them, and begin others."""
        with psycopg.connect(make_conninfo(self.way_to(dsn), dbname="pgbouncer"), autocommit=True) as admin:
            admin.execute(f"RECONNECT {conninfo_to_dict(dsn)['dbname']}", prepare=False)


@contextmanager
def pooler_before(dsn: str) -> Iterator[Pooler]:
    """Run a pgbouncer before a PostgreSQL until the block ends."""
    assert BINARY is not None, "there is no pgbouncer: apt-get install pgbouncer"
    folder = Path(tempfile.mkdtemp(prefix="countwheel-pooler-"))
    parts = conninfo_to_dict(dsn)
    # As root it does not run, and into the socket's folder only its owner comes.
    sockets = Path(str(parts["host"]))
    account = sockets.stat().st_uid if os.geteuid() == 0 else None
    if account is not None:
        sockets.parent.chmod(0o711)  # the tests' own folder: to come through, not to look
    settings = _SETTINGS.format(
        host=parts["host"], port=parts["port"], user=parts["user"], password=parts["password"], folder=folder,
        own_port=_PORT,
    )  # fmt: skip
    (folder / "pgbouncer.ini").write_text(settings, encoding="utf-8")
    if account is not None:
        for path in (folder, folder / "pgbouncer.ini"):
            os.chown(path, account, -1)
    process = subprocess.Popen(
        [BINARY, str(folder / "pgbouncer.ini")], user=account, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_it_listens(folder / f".s.PGSQL.{_PORT}", process)
        yield Pooler(folder)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def in_between(dsn: str) -> Iterator[None]:
    """Let every `Database`, and every `countwheel serve` of `harness`, that begins within go through a pooler."""
    straight = Database.__init__
    with pooler_before(dsn) as pooler, pytest.MonkeyPatch.context() as patch:

        def through(self: Database, dsn: str, **arguments: Any) -> None:
            straight(self, pooler.way_to(dsn), **arguments | {"behind_pooler": True})

        patch.setattr(Database, "__init__", through)
        patch.setattr(
            harness, "database_of",
            lambda dsn: {"COUNTWHEEL_DATABASE_URL": pooler.way_to(dsn), "COUNTWHEEL_DATABASE_POOLER": "transaction"},
        )  # fmt: skip
        yield


def _wait_until_it_listens(path: Path, process: subprocess.Popen[bytes]) -> None:
    while True:
        assert process.poll() is None, f"pgbouncer ended with {process.returncode}"
        try:
            with socket.socket(socket.AF_UNIX) as looking:
                looking.connect(str(path))
                return
        except (FileNotFoundError, ConnectionRefusedError):
            _wait_a_moment_for(process)


def _wait_a_moment_for(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(0.02)
    except subprocess.TimeoutExpired:
        return
