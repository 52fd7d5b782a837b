"""A primary and a synchronous standby from the same binaries, which can take its place."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from countwheel.clock import SystemClock
from countwheel.embedded.account import choose_account
from countwheel.embedded.binaries import find_binaries
from countwheel.embedded.supervisor import EmbeddedPostgres

_SETTINGS = {
    "wal_level": "replica",
    "max_wal_senders": "4",
    "hot_standby": "on",
    "wal_keep_size": "256MB",
    "dynamic_shared_memory_type": "mmap",  # in the data directory: whoever is killed for good leaves none in /dev/shm
}


class Pair:
    """Two servers. Every commit waits until both have it."""

    def __init__(self, primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
        self.primary = primary
        self.standby = standby

    @property
    def dsn(self) -> str:
        """How to connect to whichever of the two takes writes: libpq's own way (several hosts)."""
        one, other = conninfo_to_dict(self.primary.dsn), conninfo_to_dict(self.standby.dsn)
        return make_conninfo(
            self.primary.dsn,
            host=f"{one['host']},{other['host']}",
            port=f"{one['port']},{other['port']}",
            target_session_attrs="read-write",
            connect_timeout="2",
        )

    def kill_primary(self) -> None:
        """kill -9 of the primary: it does not come back."""
        if self.primary.pid is not None:
            os.kill(self.primary.pid, signal.SIGKILL)

    async def promote(self) -> None:
        """Make the standby the primary, as Patroni does. Returns when it takes writes."""
        async with await psycopg.AsyncConnection.connect(self.standby.dsn, autocommit=True) as connection:
            await connection.execute("SELECT pg_promote(wait => true)")


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    """Lend a pair until the block ends."""
    primary = EmbeddedPostgres(folder / "a", SystemClock(), progress=lambda _: None, settings=_SETTINGS)
    standby = EmbeddedPostgres(folder / "b", SystemClock(), progress=lambda _: None, settings=_SETTINGS)
    try:
        await primary.start()
        await asyncio.to_thread(_copy, primary.dsn, folder)
        await standby.start()
        async with await psycopg.AsyncConnection.connect(primary.dsn, autocommit=True) as connection:
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await connection.execute("SELECT pg_reload_conf()")
            await _until_synchronous(connection)
        yield Pair(primary, standby)
    finally:
        await standby.stop()
        await primary.stop()


def _copy(dsn: str, folder: Path) -> None:
    """Make the standby's data directory from the primary (pg_basebackup)."""
    (folder / "b").mkdir()
    shutil.copy(folder / "a" / "postgres.password", folder / "b" / "postgres.password")
    target = folder / "b" / "postgres"
    subprocess.run(
        [str(find_binaries(None) / "pg_basebackup"), "-d", dsn, "-D", str(target), "-R", "-X", "stream", "-c", "fast"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    account = choose_account(folder / "a" / "postgres")
    if account.is_other:
        for path in [target, *target.rglob("*")]:
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


async def _until_synchronous(connection: psycopg.AsyncConnection[tuple[str]]) -> None:
    async with asyncio.timeout(30):
        while True:
            cursor = await connection.execute("SELECT sync_state FROM pg_stat_replication")
            if [row[0] for row in await cursor.fetchall()] == ["sync"]:
                return
            await asyncio.sleep(0.05)
