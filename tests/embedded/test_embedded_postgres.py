"""The embedded PostgreSQL: made once, kept, locked, and never left behind."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from countwheel.clock import SystemClock
from countwheel.embedded.errors import EmbeddedPostgresError
from countwheel.embedded.lock import DataDirectoryInUseError, DataDirectoryLock
from countwheel.embedded.supervisor import EmbeddedPostgres
from harness import clean_environment, eventually, is_running

HOLDER = Path(__file__).parent / "hold_postgres.py"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture
def progress() -> list[str]:
    return []


@pytest.fixture
async def make(progress: list[str]) -> AsyncIterator[Callable[..., EmbeddedPostgres]]:
    """Makes servers and stops each at the end."""
    made: list[EmbeddedPostgres] = []

    def new(data_dir: Path, **named) -> EmbeddedPostgres:
        postgres = EmbeddedPostgres(data_dir, SystemClock(), progress=progress.append, **named)
        made.append(postgres)
        return postgres

    yield new
    for postgres in made:
        await postgres.stop()


def ask(dsn: str, statement: str):
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else None


async def test_the_cluster_is_made_once_and_its_data_kept(tmp_path: Path, make, progress: list[str]) -> None:
    """A second start finds what the first one wrote, and does not initialise again."""
    first = make(tmp_path)
    ask(await first.start(), "CREATE TABLE kept AS SELECT 7 AS n")
    await first.stop()
    second = make(tmp_path)
    assert ask(await second.start(), "SELECT n FROM kept") == [(7,)]
    assert [line for line in progress if "Initialising" in line] == [
        f"Initialising PostgreSQL in {tmp_path}/postgres (once) ..."
    ]


async def test_it_is_closed_to_others(tmp_path: Path, make) -> None:
    """No TCP, no entry without the password, files for the owner alone, and nothing durable turned off."""
    postgres = make(tmp_path)
    dsn = await postgres.start()
    settings = dict(ask(dsn, "SELECT name, setting FROM pg_settings"))
    assert settings["listen_addresses"] == ""
    assert [settings[name] for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3
    assert settings["password_encryption"] == "scram-sha-256"
    assert {row[0] for row in ask(dsn, "SELECT auth_method FROM pg_hba_file_rules")} == {"scram-sha-256"}
    with pytest.raises(psycopg.OperationalError, match=r"password|authentication"):
        psycopg.connect(dsn.partition(" password=")[0] + " password='wrong'")
    for name in ("postgres.password",):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    for name in ("postgres", "socket"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    assert (tmp_path / "postgres").stat().st_uid != 0


async def test_a_stop_leaves_no_process_and_no_lock(tmp_path: Path, make) -> None:
    """The postmaster and its children are gone, and the cluster says that it was shut down in order."""
    postgres = make(tmp_path)
    await postgres.start()
    pid = postgres.pid
    await postgres.stop()
    assert not is_running(pid)
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()
    assert "database system is shut down" in (tmp_path / "postgres.log").read_text()


@asynccontextmanager
async def holder(data_dir: Path, **named) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A process that holds a PostgreSQL, and the pid of its postmaster."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HOLDER), str(data_dir)),
        env=clean_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        **named,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while not (line := await process.stdout.readline()).startswith(b"pid "):
                assert line, "the holder ended before PostgreSQL was ready"
        yield process, int(line.split()[1])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_killed_parent_takes_it_along(tmp_path: Path, make) -> None:
    """kill -9 of the process that owns it: PostgreSQL shuts down in order by itself, and the next start is clean."""
    async with holder(tmp_path) as (process, pid):
        process.kill()
        await process.wait()

        async def is_gone() -> bool:
            return not is_running(pid)

        await eventually(is_gone)
    assert "database system is shut down" in (tmp_path / "postgres.log").read_text()
    await make(tmp_path).start()
    assert "not properly shut down" not in (tmp_path / "postgres.log").read_text()


@pytest.mark.parametrize("pid", ["ours", "1", "4194000", "", "garbage"])
async def test_a_stale_pid_file_is_no_obstacle(tmp_path: Path, make, pid: str) -> None:
    """After a power cut the file is there and its number belongs to another program, to none, or is cut short."""
    postgres = make(tmp_path)
    await postgres.start()
    await postgres.stop()
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid() if pid == 'ours' else pid}\n{tmp_path}/postgres\n")
    assert ask(await make(tmp_path).start(), "SELECT 1") == [(1,)]
    assert is_running(os.getpid())


async def test_an_orphan_is_asked_to_end(tmp_path: Path, make) -> None:
    """A PostgreSQL that still runs on the cluster, and belongs to nobody who holds the lock, is stopped first."""
    orphan, successor = make(tmp_path), make(tmp_path)
    await orphan.start()
    pid = orphan.pid
    assert ask(await successor.start(), "SELECT 1") == [(1,)]
    assert not is_running(pid)
    assert successor.pid != pid


async def kill_and_see_it_back(postgres: EmbeddedPostgres, dsn: str) -> None:
    """Kill PostgreSQL itself under its supervisor, and return when it answers again."""
    supervisor = asyncio.create_task(postgres.supervise())
    try:
        os.kill(postgres.pid, signal.SIGKILL)

        async def is_back() -> bool:
            try:
                return ask(dsn, "SELECT 1") == [(1,)]
            except psycopg.OperationalError:
                return False

        await eventually(is_back)
    finally:
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)


async def test_a_dead_postmaster_is_started_again(tmp_path: Path, make, progress: list[str]) -> None:
    """Supervision: after kill -9 of PostgreSQL itself it comes back with everything that was committed."""
    postgres = make(tmp_path)
    dsn = await postgres.start()
    ask(dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    await kill_and_see_it_back(postgres, dsn)
    assert ask(dsn, "SELECT n FROM kept") == [(7,)]
    assert any("starting it again" in line for line in progress)


async def test_a_start_that_the_machine_refuses_is_tried_again(
    tmp_path: Path, make, progress: list[str], monkeypatch
) -> None:
    """A full disk, or no more processes, when PostgreSQL is to be started again: the supervisor goes on."""
    postgres = make(tmp_path)
    dsn = await postgres.start()
    ways = iter((full_disk, postgres._start_child))

    async def start_child() -> None:
        await next(ways)()

    monkeypatch.setattr(postgres, "_start_child", start_child)
    await kill_and_see_it_back(postgres, dsn)
    assert any("could not be started: [Errno 28]" in line for line in progress)


async def full_disk() -> None:
    raise OSError(28, "No space left on device")


async def test_an_interrupted_initdb_is_made_anew(tmp_path: Path, make) -> None:
    """Killed in the middle of initdb: nothing half made is ever taken for a cluster."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HOLDER), str(tmp_path)),
        env=clean_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"Initialising" in await process.stdout.readline()

    async def has_begun() -> bool:
        return len(list(tmp_path.glob("postgres.unfinished-*/data/*"))) > 3

    await eventually(has_begun)
    process.kill()
    await process.communicate()
    assert not (tmp_path / "postgres").exists()
    assert ask(await make(tmp_path).start(), "SELECT 1") == [(1,)]


async def test_a_long_path_gets_a_short_socket(tmp_path: Path, make) -> None:
    """A Unix socket's path has 107 bytes at the most: a deep directory works, and leaves nothing in /tmp."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    postgres = make(deep)
    dsn = await postgres.start()
    assert ask(dsn, "SELECT 1") == [(1,)]
    socket_dir = Path(psycopg.conninfo.conninfo_to_dict(dsn)["host"])
    assert not socket_dir.is_relative_to(deep)
    await postgres.stop()
    assert not socket_dir.exists()


async def test_quotes_and_spaces_in_a_path_do_no_harm(tmp_path: Path, make) -> None:
    """The directory's name stands in a connection string and in a command line."""
    assert ask(await make(tmp_path / "it's a \\ path").start(), "SELECT 1") == [(1,)]


async def test_missing_binaries_are_said(tmp_path: Path, make) -> None:
    """COUNTWHEEL_PG_BIN that leads nowhere is named."""
    with pytest.raises(EmbeddedPostgresError, match="COUNTWHEEL_PG_BIN"):
        await make(tmp_path, bin_override=tmp_path).start()


async def test_a_server_that_does_not_start_says_why(tmp_path: Path, make) -> None:
    """The end of PostgreSQL's own log stands in the error."""
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        await make(tmp_path, settings={"no_such_setting": "1"}).start()


def test_a_data_directory_has_one_server(tmp_path: Path) -> None:
    """The second is told who is there; the lock ends with its holder."""
    with (
        DataDirectoryLock(tmp_path),
        pytest.raises(DataDirectoryInUseError, match=str(os.getpid())),
        DataDirectoryLock(tmp_path),
    ):
        pass
    with DataDirectoryLock(tmp_path):
        pass


@as_root
async def test_root_needs_no_open_directories(make) -> None:
    """As root PostgreSQL runs as nobody, below a directory that nobody else can enter, and no door is opened for it."""
    private = Path(tempfile.mkdtemp(prefix="countwheel-private-"))
    try:
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        postgres = make(private / "data")
        assert ask(await postgres.start(), "SELECT 1") == [(1,)]
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert Path(f"/proc/{postgres.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        await postgres.stop()
    finally:
        shutil.rmtree(private)


@as_root
async def test_an_ordinary_user_needs_no_root() -> None:
    """The same as a user with no rights: PostgreSQL runs as that user."""
    nobody = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="countwheel-user-"))
    try:
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        async with holder(home / "data", user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[]) as (process, pid):
            assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            assert not is_running(pid)
    finally:
        shutil.rmtree(home)
