"""Fixtures: one embedded PostgreSQL a session, a database of its own for each test, a whole server on request."""

import asyncio
import fcntl
import gc
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from countwheel.auth import bootstrap
from countwheel.clock import SystemChance, SystemClock
from countwheel.domain.exclusion import LEFT_OUT_DAYS_LIMIT, Exclusion
from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store import migrate, partitions
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer
from countwheel.testing import WebhookReceiver
from harness import SECRET_KEY, Node, fresh_database, running_node
from pooler import WANTED, in_between
from simulator.prepare import prepare

# Deadlines would measure the machine; the examples are many enough to find what is to be found in seconds.
settings.register_profile("countwheel", deadline=None, max_examples=100)
settings.load_profile("countwheel")

_REPORT = "report"

HERE = Path(__file__).parent
_MEMORY = Path("/dev/shm")
_ROOM = 6 * 2**30


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give this session a folder of its own, which goes with it. (Another session that ends may take away one of
    pytest's own.)
    """
    if not hasattr(config, "workerinput") and config.option.basetemp is None:
        config.option.basetemp = folder = tempfile.mkdtemp(prefix="countwheel-pytest-", dir=_scratch())
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def _scratch() -> Path | None:
    """Where folders are made: in memory, if there is room. A database for each test is hundreds of files made and
    deleted, and ext4 looks at each deleted one again when the next are made: that was a third of a test's time.
    """
    try:
        available = re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())
        room = min(shutil.disk_usage(_MEMORY).free, int(available[1]) * 1024 if available else 0)
    except OSError:
        return None
    return _MEMORY if room >= _ROOM and os.access(_MEMORY, os.W_OK) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the collector of garbage from what all tests are made of: it stays, and to look through it takes a fifth
    of a second each time, in the middle of whatever runs.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker's share begin with something that takes long, if there is any; what is `alone` comes last. (One
    that waits to be alone keeps every other waiting: it should not have to wait for what takes long.)
    """
    takes_long = [item for item in items if item.get_closest_marker("long") or item.get_closest_marker("background")]
    others = [item for item in items if item not in takes_long]
    others.sort(key=lambda item: item.get_closest_marker("alone") is not None)
    share = len(items) // getattr(config, "workerinput", {"workercount": 1})["workercount"]
    for number, item in enumerate(takes_long):
        others.insert(number * share, item)
    items[:] = others


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run tests beside each other (`pytest -n`), one that is marked `alone` with none beside it but the background."""
    if item.get_closest_marker("background"):
        return (yield)
    with _locked(HERE / "conftest.py", fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH):
        return (yield)


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    """Hold a lock on a file for reading or writing. Whoever asks first gets it first: the folder is the turnstile."""
    turnstile, lock = os.open(path.parent, os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(lock, kind)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield
    finally:
        os.close(lock)
        os.close(turnstile)


@pytest.fixture
def report_line(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Add a line to the summary at the end: what a test found, which is worth reading when it passes too."""

    def add(line: str) -> None:
        request.node.user_properties.append((_REPORT, line))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests had to report."""
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {line}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, line in report.user_properties
        if name == _REPORT
    ]
    if lines:
        terminalreporter.section("what tests report")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL whose template database has the schema. What it must survive is tested elsewhere: no fsync."""
    data_dir = Path(tempfile.mkdtemp(prefix="countwheel-test-", dir=_scratch()))
    settings = {"fsync": "off", "synchronous_commit": "off", "max_connections": "100"}
    postgres = EmbeddedPostgres(data_dir, SystemClock(), progress=lambda _: None, settings=settings)
    try:
        asyncio.run(_prepare(postgres))
        with in_between(postgres.dsn) if WANTED else nullcontext():
            yield postgres
    finally:
        asyncio.run(postgres.stop())
        shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture
def dsn(cluster: EmbeddedPostgres) -> Iterator[str]:
    """A fresh database with the schema and a tenant."""
    with fresh_database(cluster) as lent:
        yield lent


@pytest.fixture
def empty_dsn(cluster: EmbeddedPostgres) -> Iterator[str]:
    """A fresh database with nothing in it."""
    with fresh_database(cluster, "template1") as lent:
        yield lent


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """A pool of connections to a fresh database."""
    pool = Database(dsn, name="test", size=6)
    await pool.open()
    yield pool
    await pool.close()


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    """A receiver of webhooks."""
    async with WebhookReceiver() as listening:
        yield listening


@pytest.fixture
async def node(dsn: str) -> AsyncIterator[Node]:
    """A whole server, API and engine, over real HTTP."""
    async with running_node(dsn) as running:
        yield running


async def _prepare(postgres: EmbeddedPostgres) -> None:
    await postgres.start()
    database = Database(postgres.dsn, name="template", size=1)
    await database.open()
    async with database.connection() as connection:
        await migrate.apply_migrations(connection)
        await partitions.make_ahead(connection)
    sealer, clock = Sealer(SECRET_KEY, SystemChance()), SystemClock()
    await bootstrap.ensure_tenant(database, sealer, SystemChance(), clock.now())
    await bootstrap.ensure_issuer_keys(database, sealer, clock.now())
    await database.close()


@pytest.fixture(scope="module")
def virtual(cluster: EmbeddedPostgres) -> Iterator[str]:
    """A database on virtual time."""
    with fresh_database(cluster, "template1") as dsn:
        prepare(dsn)
        yield dsn


@pytest.fixture
def quiet() -> Iterator[None]:
    """What the nodes of a history have to say is not for the test's output."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.reset_defaults()


@pytest.fixture
def days_looked_at(monkeypatch: pytest.MonkeyPatch) -> list[date]:
    """Every day of which it was asked whether it is left out. More than a few searches may take is an error."""
    looked_at, ask = [], Exclusion.day

    def counted(self: Exclusion, day: date) -> str | None:
        looked_at.append(day)
        assert len(looked_at) <= 10 * LEFT_OUT_DAYS_LIMIT
        return ask(self, day)

    monkeypatch.setattr(Exclusion, "day", counted)
    return looked_at
