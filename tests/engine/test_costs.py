"""What a run costs, in figures that are the same on every machine: statements, commits, rows, index entries, WAL, and
what is made in Python. Speed itself is measured in `benchmarks/`; what makes it is kept here.

A node drains runs that are all due at once. Their target answers in waves, so that how many outcomes are written down
together is no matter of how fast the machine is.
"""

import asyncio
import gc
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from countwheel import assembly
from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.engine.settings import EngineSettings
from countwheel.store.database import Connection
from countwheel.testing import Received, Reply, WebhookReceiver
from harness import Node, eventually, fresh_database, running_node

RUNS = 512
"""A claim's worth: 64 of each of eight buckets."""
WAVE = 128
"""So many calls are answered together: fewer than a node makes at once for one tenant (224)."""

ONE_OFF = None
RECURRING = "0 0 1 1 *"

IN_THE_BACKGROUND = {
    "database_time", "renew_lease", "nodes_beside", "held_by_node", "holders", "next_due", "tenants_waiting",
    "cancel_requests",
    "find_restricted", "lanes", "lose_nodes", "recover", "lock_overdue", "find_changed_calendars", "zone_release",
    "find_unarmed_jobs", "lock_unarmed_jobs", "last_occurrences", "account_for_cancelled",
    "list_partitions", "database_day",
    "prune_default_history", "prune_default_attempts", "prune_cancelled", "prune_nodes", "prune_signing_keys",
    "prune_keys", "prune_jobs", "prune_versions",
}  # fmt: skip
"""Statements that are asked every so often, whatever runs: how often in a drain is a matter of how long it takes."""

INSERT = """
    WITH made AS (
        INSERT INTO jobs (job_id, tenant_id, state, schedule_oneoff, schedule_recurring, job_url, target_host,
            job_payload, timeout_seconds, max_attempts, created_at, updated_at)
        SELECT gen_random_uuid(), tenant_id, 'ACTIVE', CASE WHEN %(cron)s::text IS NULL THEN 'then' END, %(cron)s,
            %(url)s, '127.0.0.1', '{"hello":"world"}', 30, 5, now(), now()
        FROM tenants, generate_series(1, %(count)s)
        RETURNING job_id, tenant_id
    )
    INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at)
    SELECT job_id, gen_random_uuid(), tenant_id, row_number() OVER () %% 8, 'schedule', 'SCHEDULED', at, at
    FROM made, date_trunc('milliseconds', now()) AS at
"""


@dataclass(frozen=True)
class Touched:
    """What happened to a table's rows."""

    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class Costs:
    """What it took to drain RUNS runs."""

    statements: Counter[str]
    """By the query's name, but for those in the background."""
    tables: dict[str, Touched]
    records: Counter[str]
    """Of the WAL, by kind."""
    wal_bytes: int
    """Images of pages that are touched first after a checkpoint are not in it: they come when they come."""


@pytest.fixture(scope="module", params=[ONE_OFF, RECURRING], ids=["one-off", "recurring"])
def kind(request: pytest.FixtureRequest) -> str | None:
    """The schedule of the jobs."""
    schedule: str | None = request.param
    return schedule


@pytest.fixture(scope="module")
def costs(cluster: EmbeddedPostgres, kind: str | None) -> Iterator[Costs]:
    """What a drain cost. It is asked for many times and done once."""
    with fresh_database(cluster) as dsn, pytest.MonkeyPatch.context() as patch:
        yield asyncio.run(drain(dsn, kind, patch))


@asynccontextmanager
async def patient_node(dsn: str, patch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    """Run a node that does nothing merely because a slow machine takes its time: no call is shown as RUNNING, no target
    is found slow and given a smaller share, and the lease is renewed seldom.
    """
    patient = partial(EngineSettings, announce_after_seconds=600.0, pace_every_seconds=600.0)
    patch.setattr(assembly, "EngineSettings", patient)
    async with running_node(dsn, lease_seconds=60.0) as node:
        yield node


async def drain(dsn: str, cron: str | None, patch: pytest.MonkeyPatch) -> Costs:
    """Drain RUNS runs on a fresh node, and tell what that has cost."""
    async with WebhookReceiver() as receiver, patient_node(dsn, patch) as node:
        async with node.database.connection() as connection:
            await connection.execute("CREATE EXTENSION pg_walinspect")
        with counted_statements() as statements:
            start = make_due(dsn, receiver, cron)
            await drained(node, receiver)
        async with node.database.connection() as connection:
            records, wal_bytes = await wal_since(connection, start)
    return Costs(statements, await touched(dsn), records, wal_bytes)


def make_due(dsn: str, receiver: WebhookReceiver, cron: str | None) -> str:
    """Make RUNS jobs that are due now, and return where the WAL stood when they were in."""
    waves = [asyncio.Event() for _ in range(RUNS // WAVE)]

    def answer(_: Received) -> Reply:
        wave, place = divmod(len(receiver.calls) - 1, WAVE)
        if place == WAVE - 1:
            waves[wave].set()
        return Reply(after=waves[wave])

    receiver.calls.clear()
    receiver.answer_with(answer)
    with psycopg.connect(dsn) as connection:  # one transaction
        connection.execute(INSERT, {"cron": cron, "url": receiver.url, "count": RUNS})
        row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


async def drained(node: Node, receiver: WebhookReceiver) -> None:
    """Return when all are sent, answered and written down."""
    await receiver.wait_for(RUNS)
    await node.engine.dispatcher.wait_for_calls(30)
    await node.engine.recorder.wait_until_idle()


@contextmanager
def counted_statements() -> Iterator[Counter[str]]:
    """Count what is executed until the block ends, wherever in this process, by the name that each query carries."""
    counts: Counter[str] = Counter()
    execute = psycopg.AsyncCursor.execute

    async def counted(self: psycopg.AsyncCursor[Any], text: Any, *rest: Any, **named: Any) -> Any:
        named_query = re.match(r"/\* countwheel\.(\w+) \*/", str(text))
        name = named_query[1] if named_query else str(text)
        if name not in IN_THE_BACKGROUND:
            counts[name] += 1
        return await execute(self, text, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.AsyncCursor, "execute", counted)
        yield counts


async def wal_since(connection: Connection, start: str) -> tuple[Counter[str], int]:
    """Return the records of the WAL since `start`, by kind, and their bytes without images of pages."""
    end = await (await connection.execute("SELECT pg_current_wal_insert_lsn()")).fetchone()
    assert end is not None
    # Only what is flushed can be read: this commit waits for that, and all before it is flushed with it.
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        await connection.execute("SELECT pg_logical_emit_message(true, '', '')")
    cursor = await connection.execute(
        'SELECT "resource_manager/record_type", count, record_size FROM pg_get_wal_stats(%s, %s, true)', [start, end[0]]
    )
    found = await cursor.fetchall()
    return Counter({kind: int(count) for kind, count, _ in found}), sum(int(size) for _, _, size in found)


async def touched(dsn: str) -> dict[str, Touched]:
    """Return what happened to the rows of each table. The node has ended: each of its sessions, at its own end, has
    told what it did.
    """
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:

        async def alone() -> bool:
            cursor = await connection.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return cursor.rowcount == 0

        await eventually(alone)
        cursor = await connection.execute(
            "SELECT regexp_replace(relname, '_(\\d+|default)$', ''), sum(n_tup_ins)::int, sum(n_tup_upd)::int, "
            "sum(n_tup_del)::int FROM pg_stat_user_tables GROUP BY 1"
        )
        return {name: Touched(*figures) async for name, *figures in cursor}


def test_a_batch_takes_few_statements(costs: Costs, kind: str | None) -> None:
    """Hundreds of runs are claimed, armed and ended together."""
    # Measured: 3 claims (two of them found nothing more), 3 ends of 4 waves; a wave may come in two parts.
    assert costs.statements["claim"] <= 5, costs.statements
    assert costs.statements["finish"] <= 2 * RUNS / WAVE, costs.statements
    others = {name: count for name, count in costs.statements.items() if name not in {"claim", "finish"}}
    # A tenant's keys are good for 5 s; what is armed is armed with the claim.
    expected = {"signing_keys"} | ({"find_cancelled", "insert_occurrences"} if kind == RECURRING else set())
    assert others.keys() == expected, others
    assert sum(others.values()) <= 2 * len(expected), others


def test_a_batch_is_one_commit(costs: Costs) -> None:
    """A claim with what it arms, and an end: a commit each, however many runs there are in it."""
    # Measured: 5, that of the test included; 0.03 a run at the most.
    assert costs.records["Transaction/COMMIT"] <= 16, costs.records


def test_a_run_touches_the_rows_that_it_must(costs: Costs, kind: str | None) -> None:
    """Claimed, ended and written to the ledger: each once; a one-off job is completed, a recurring one left alone."""
    arms = RUNS if kind == RECURRING else 0
    assert costs.tables["runs"] == Touched(RUNS + arms, RUNS, RUNS)
    assert costs.tables["run_history"] == Touched(RUNS, 0, 0)
    assert costs.tables["attempts"] == Touched(0, 0, 0)
    assert costs.tables["jobs"] == Touched(RUNS, 0 if kind == RECURRING else RUNS, 0)
    by_the_way = {"nodes", "clients", "zone_release"}  # what a start of the node leaves
    busy = {name for name, rows in costs.tables.items() if rows != Touched(0, 0, 0)}
    assert busy == {"runs", "run_history", "jobs"} | by_the_way


def test_a_run_makes_few_index_entries(costs: Costs, kind: str | None) -> None:
    """A claim makes two (its key, its holder), an end one (the ledger's), an occurrence that is armed three."""
    made = sum(costs.records[f"Btree/{way}"] for way in ("INSERT_LEAF", "INSERT_POST", "SPLIT_L", "SPLIT_R"))
    # Measured: 4.3 and 6.0. A one-off job's completion makes two more where its page has no room for a HOT update (two
    # thirds of them here, packed as they are); splits of pages, and what is found dead on the way, move it a little.
    assert made <= (6.4 if kind == RECURRING else 4.8) * RUNS, costs.records


def test_a_run_writes_little_wal(costs: Costs, kind: str | None) -> None:
    """Bytes a run, images of pages left out."""
    # Measured: 1,355 and 1,258; a tenth of slack, for where rows find room is not the same each time.
    assert costs.wal_bytes <= (1_500 if kind == RECURRING else 1_400) * RUNS, costs


CALL_PATH = re.compile(r"/countwheel/(delivery/\w+|engine/(dispatcher|preparation|timer|turns|verdict))\.py$")


def count_makings(patch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the tasks, futures and timers that the way of a call makes on this event loop, from now on."""
    loop, counts = asyncio.get_running_loop(), Counter[str]()

    def counted(name: str) -> Callable[..., Any]:
        make = getattr(loop, name)

        def count(*arguments: Any, **named: Any) -> Any:
            frame = sys._getframe(1)  # who asks
            while frame is not None:
                if CALL_PATH.search(frame.f_code.co_filename):
                    counts[name] += 1
                    break
                frame = frame.f_back  # type: ignore[assignment]
            return make(*arguments, **named)

        return count

    for name in ("create_task", "create_future", "call_at"):  # `call_later` is a `call_at`
        patch.setattr(loop, name, counted(name))
    return counts


async def test_a_call_makes_no_task_and_no_future(
    dsn: str, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once connections stand, a call leaves and comes back in steps of what is there already; no timer, either."""
    async with patient_node(dsn, monkeypatch) as node:
        make_due(dsn, receiver, ONE_OFF)
        await drained(node, receiver)
        counts = count_makings(monkeypatch)
        make_due(dsn, receiver, RECURRING)
        await drained(node, receiver)
    # Measured: no task, two futures and two timers (the pause of a service, the first deadline). When the tenant's keys
    # are looked up again after 5 s, the calls of that moment wait in tasks of their own: 224 at the most.
    assert all(count <= RUNS / 2 for count in counts.values()), counts


async def test_a_run_that_has_ended_leaves_nothing_in_memory(
    dsn: str, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round after round, as many blocks of memory are in use as before."""
    blocks = []
    async with patient_node(dsn, monkeypatch) as node:
        for _ in range(5):
            make_due(dsn, receiver, RECURRING)
            await drained(node, receiver)
            receiver.calls.clear()
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    # Measured: 50 to 120 in the best round, 270 on a busy machine (caches and prepared statements fill up); one id kept
    # of each run would be two blocks a run, in every round.
    growth = [later - earlier for earlier, later in pairwise(blocks)]
    assert min(growth) < 1.5 * RUNS, growth
