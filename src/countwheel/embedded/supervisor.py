"""Makes, starts, watches and stops the embedded PostgreSQL."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from countwheel.clock import Clock
from countwheel.embedded import launch, orphan
from countwheel.embedded.account import Account, choose_account
from countwheel.embedded.binaries import find_binaries
from countwheel.embedded.dsn import USER, socket_dsn
from countwheel.embedded.errors import EmbeddedPostgresError
from countwheel.embedded.private_file import keep

_PORT = 5432
_SOCKET_PATH_BYTES = 107
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.02
_MAX_LOG_BYTES = 10 * 1_048_576
_STATUS_LINE = 7
_TAKES_CONNECTIONS = frozenset({"ready", "standby"})
_UNFINISHED = "postgres.unfinished-"
_BACKOFF_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "jit": "off",
    "scram_iterations": "4096",  # for whoever makes roles of their own; see `initdb` for ours
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """A PostgreSQL server of our own, on a Unix socket, with its data in `data_dir`/postgres.

    The caller holds the `DataDirectoryLock` of `data_dir`.
    """

    def __init__(
        self,
        data_dir: Path,
        clock: Clock,
        *,
        bin_override: Path | None = None,
        progress: Callable[[str], None],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`progress` takes lines for a person; `settings` win over ours (tests turn fsync off)."""
        self._data_dir = data_dir.absolute()
        self._cluster = self._data_dir / "postgres"
        self._clock = clock
        self._bin_override = bin_override
        self._progress = progress
        self._settings = {**_SETTINGS, **(settings or {})}
        self._child: subprocess.Popen[bytes] | None = None
        self._socket_dir: Path | None = None
        self._account: Account | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    @property
    def dsn(self) -> str:
        """How to connect, as a libpq connection string. Raises `EmbeddedPostgresError` before the start."""
        return self._dsn_of(USER)

    async def start(self) -> str:
        """Make the cluster if there is none, start PostgreSQL, and return how to connect when it is ready.

        Raises `EmbeddedPostgresError` with the end of its log if it does not come up.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._account = choose_account(self._cluster)
        if not self._cluster.exists():
            await self._make_cluster()
        await orphan.clear(self._cluster, self._clock)
        self._socket_dir = self._socket_dir or self._choose_socket_dir()
        await self._start_child()
        return self.dsn

    async def stop(self) -> None:
        """Stop cleanly and wait for it. Does nothing where nothing runs."""
        child, self._child = self._child, None
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGINT)  # fast: open transactions are rolled back, everything is on disk
            if not await self._has_ended(child, _STOP_SECONDS):
                child.send_signal(signal.SIGQUIT)
                await self._has_ended(child, _STOP_SECONDS)
        if self._socket_dir is not None and self._socket_dir.parent != self._data_dir:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
        self._socket_dir = None

    async def supervise(self) -> None:
        """Start PostgreSQL again whenever it ends by itself, until cancelled."""
        failures, task = 0, asyncio.current_task()
        # Asked, not only awaited: asyncio.wait_for of Python 3.11, which drivers use, may swallow a cancellation.
        while task is None or not task.cancelling():
            await self._clock.sleep(0.1)
            if self._child is None or self._child.poll() is None:
                continue
            self._progress(f"PostgreSQL ended by itself (code {self._child.returncode}): starting it again")
            try:
                await orphan.clear(self._cluster, self._clock)
                await self._start_child()
                failures = 0
            except (EmbeddedPostgresError, OSError) as error:  # a full disk, no more processes: that may pass
                self._progress(f"PostgreSQL could not be started: {error}")
                await self._clock.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
                failures += 1

    async def _make_cluster(self) -> None:
        """Run initdb under another name and rename the result: what a kill interrupts is made anew.

        The name is fresh each time: an initdb whose parent was killed may still be at work for a moment.
        """
        self._progress(f"Initialising PostgreSQL in {self._cluster} (once) ...")
        for leftover in self._data_dir.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._data_dir))
        account = self._known_account()
        account.own(unfinished)
        with tempfile.NamedTemporaryFile("w", dir=unfinished) as password_file:
            password_file.write(self._password())
            password_file.flush()
            if account.is_other:
                os.chown(password_file.name, account.uid, account.gid)
            # Iterations slow down who guesses passwords. This one is 256 bits of chance, and without them a connection
            # takes half the time.
            command = [
                "initdb", "--pgdata", str(unfinished / "data"), "--username", USER, "--pwfile", password_file.name,
                "--auth", "scram-sha-256", "--set", "scram_iterations=1",
                "--locale", "C.UTF-8", "--encoding", "UTF8", "--no-instructions",
            ]  # fmt: skip
            child = self._launch(command, subprocess.PIPE)
            if not await self._has_ended(child, _START_SECONDS):
                child.kill()
            output = child.communicate()[0].decode("utf-8", "replace")
        if child.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise EmbeddedPostgresError(f"PostgreSQL could not be initialised in {self._cluster}:\n{output}")
        (unfinished / "data").rename(self._cluster)
        shutil.rmtree(unfinished)

    async def _start_child(self) -> None:
        log_path = self._data_dir / "postgres.log"
        if log_path.exists() and log_path.stat().st_size > _MAX_LOG_BYTES:
            log_path.replace(log_path.with_suffix(".log.1"))
        settings = self._settings | {"unix_socket_directories": str(self._socket_dir)}
        command = ["postgres", "-D", str(self._cluster), "-p", str(_PORT)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with log_path.open("ab") as log:
            self._child = self._launch(command, log)
        give_up_at = self._clock.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._child.poll() is not None or self._clock.monotonic() > give_up_at:
                await self._give_up(log_path)
            await self._clock.sleep(_LOOK_EVERY_SECONDS)
        await self._ensure_database()

    async def _give_up(self, log_path: Path) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGQUIT)
            await self._has_ended(self._child, _STOP_SECONDS)
        raise EmbeddedPostgresError(f"PostgreSQL did not start; the end of {log_path}:\n{_tail(log_path)}")

    def _launch(self, command: list[str], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        binaries = find_binaries(self._bin_override)
        account = self._known_account()
        reach = not (account.can_reach(self._cluster) and account.can_reach(binaries / "x"))
        return subprocess.Popen(  # noqa: S603 (our own launcher and PostgreSQL's binaries)
            [
                sys.executable, "-I", "-S", launch.__file__,
                str(os.getpid()), str(account.uid), str(account.gid), str(int(reach)), "--",
                str(binaries / command[0]), *command[1:],
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            close_fds=True,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        )  # fmt: skip

    async def _ensure_database(self) -> None:
        import psycopg  # noqa: PLC0415 (only here, and only once)

        async with await psycopg.AsyncConnection.connect(self._dsn_of("postgres"), autocommit=True) as connection:
            cursor = await connection.execute("SELECT FROM pg_database WHERE datname = %s", (USER,))
            if cursor.rowcount == 0:
                await connection.execute(f"CREATE DATABASE {USER}")

    def _dsn_of(self, database: str) -> str:
        if self._socket_dir is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL has not been started")
        return socket_dsn(self._socket_dir, _PORT, self._password(), database)

    def _is_ready(self) -> bool:
        """Whether the postmaster has written that it takes connections."""
        with contextlib.suppress(OSError):
            lines = (self._cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() in _TAKES_CONNECTIONS
        return False

    async def _has_ended(self, child: subprocess.Popen[bytes], seconds: float) -> bool:
        give_up_at = self._clock.monotonic() + seconds
        while child.poll() is None:
            if self._clock.monotonic() > give_up_at:
                return False
            await self._clock.sleep(_LOOK_EVERY_SECONDS)
        return True

    def _choose_socket_dir(self) -> Path:
        """Return a directory for the socket whose path is short enough for the kernel."""
        account = self._known_account()
        beside = self._data_dir / "socket"
        if len(f"{beside}/.s.PGSQL.{_PORT}".encode()) <= _SOCKET_PATH_BYTES:
            beside.mkdir(exist_ok=True)
            account.own(beside)
            return beside
        short = Path(tempfile.mkdtemp(prefix="countwheel-"))
        account.own(short)
        return short

    def _password(self) -> str:
        return keep(self._data_dir / "postgres.password", secrets.token_urlsafe(32).encode()).decode()

    def _known_account(self) -> Account:
        if self._account is None:
            self._account = choose_account(self._cluster)
        return self._account


def _tail(log_path: Path) -> str:
    return "\n".join(log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
