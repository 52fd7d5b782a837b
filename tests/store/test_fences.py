"""Rights are checked by the fence: whoever comes late, or comes twice, changes nothing."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from countwheel.store import nodes, runs
from countwheel.store.database import Connection, Database
from countwheel.store.nodes import Identity
from countwheel.store.runs import ClaimedRun, FinishedRun, HeldRun, RetriedRun, RunningRun

NOW = datetime.now(UTC)  # noqa: TID251 (what the rows say matters, not when)
LOST, PEER = "lost-node", "peer"


@pytest.fixture
async def claimed(database: Database) -> ClaimedRun:
    """A run of a one-off job, due and claimed by a node."""
    async with database.connection() as connection:
        for node_id in (LOST, PEER):
            await nodes.register(connection, Identity("h", 1, "0", ["engine"]), node_id=node_id, lease_seconds=60)
        await connection.execute(
            "INSERT INTO jobs (job_id, tenant_id, state, schedule_oneoff, job_url, target_host, job_payload, "
            "timeout_seconds, max_attempts, created_at, updated_at) SELECT gen_random_uuid(), gen_random_uuid(), "
            "'ACTIVE', '2026-01-01T00:00:00Z', 'http://127.0.0.1/', '127.0.0.1', '{}', 30, 5, now(), now()"
        )
        await connection.execute(
            "INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at) "
            "SELECT job_id, gen_random_uuid(), tenant_id, 0, 'schedule', 'SCHEDULED', moment, moment "
            "FROM jobs, date_trunc('second', now() - interval '1 s') AS moment"
        )
        return await _claim(connection, LOST)


async def _claim(connection: Connection, node_id: str) -> ClaimedRun:
    (run,) = await runs.claim(connection, node_id=node_id, look_ahead_seconds=0.5, size=8)
    return run


def _finished(run: ClaimedRun) -> FinishedRun:
    return FinishedRun(
        job_id=run.job_id, run_id=run.run_id, fence=run.fence, status="SUCCEEDED", started_at=NOW, finished_at=NOW,
        http_status=200, error=None, response_head=None, occurrences=1, superseded_by=None, last=True, sent=True,
    )  # fmt: skip


def _retried(run: ClaimedRun) -> RetriedRun:
    return RetriedRun(run.job_id, run.run_id, run.fence, NOW, NOW, NOW, 503, "HTTP 503", None)


async def _counts(connection: Connection) -> tuple[int, int, int]:
    """Return how many rows runs, run_history and attempts have."""
    cursor = await connection.execute(
        "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM run_history), (SELECT count(*) FROM attempts)"
    )
    live, ended, tried = await cursor.fetchone() or (0, 0, 0)
    return live, ended, tried


async def test_a_late_record_of_a_lost_node_changes_nothing(database: Database, claimed: ClaimedRun) -> None:
    """Once a peer has taken the run over, each way to record by the old fence leaves the row as it is."""
    async with database.connection() as connection:
        await connection.execute("UPDATE nodes SET lost_at = now() WHERE node_id = %s", [LOST])
        assert [run.node_id for run in await runs.recover(connection)] == [LOST]
        taken_over = await _claim(connection, PEER)
        assert taken_over.fence > claimed.fence
        late = HeldRun(claimed.job_id, claimed.run_id, claimed.fence)
        assert await runs.finish(connection, [_finished(claimed)]) == set()
        assert await runs.retry(connection, [_retried(claimed)], node_id=LOST) == set()
        assert await runs.release(connection, [late]) == set()
        await runs.mark_running(connection, [RunningRun(late.job_id, late.run_id, late.fence, NOW)])
        assert await _counts(connection) == (1, 0, 1)
        state = await (await connection.execute("SELECT state, node_id, fence FROM runs")).fetchone()
        assert state == ("CLAIMED", PEER, taken_over.fence)
        assert await runs.finish(connection, [_finished(taken_over)]) == {claimed.run_id}


async def test_a_record_that_is_sent_twice_is_written_once(database: Database, claimed: ClaimedRun) -> None:
    """A batch whose COMMIT went unanswered is sent again: one ledger row, one row for each attempt."""
    async with database.connection() as connection:
        assert await runs.retry(connection, [_retried(claimed)], node_id=LOST) == {claimed.run_id}
        assert await runs.retry(connection, [_retried(claimed)], node_id=LOST) == set()
        assert await _counts(connection) == (1, 0, 1)
        again = await _claim(connection, LOST)
        assert await runs.finish(connection, [_finished(again)]) == {claimed.run_id}
        assert await runs.finish(connection, [_finished(again)]) == set()
        assert await _counts(connection) == (0, 1, 1)


async def test_each_row_of_a_batch_keeps_its_own_fate(database: Database, claimed: ClaimedRun) -> None:
    """One record with a dead fence, or of an unknown run, does not keep the others from being written."""
    async with database.connection() as connection:
        dead = replace(_finished(claimed), fence=claimed.fence + 1)
        unknown = replace(_finished(claimed), run_id=UUID(int=1))
        assert await runs.finish(connection, [dead, unknown, _finished(claimed)]) == {claimed.run_id}
        assert await _counts(connection) == (0, 1, 0)


async def test_a_claim_takes_only_what_is_due_and_free(database: Database, claimed: ClaimedRun) -> None:
    """What a node holds is not claimed again, nor what is due beyond the look-ahead."""
    async with database.connection() as connection:
        assert await runs.claim(connection, node_id=PEER, look_ahead_seconds=0.5, size=8) == []
        await runs.release(connection, [HeldRun(claimed.job_id, claimed.run_id, claimed.fence)])
        await connection.execute("UPDATE runs SET due_at = now() + interval '2 s'")
        assert await runs.claim(connection, node_id=PEER, look_ahead_seconds=0.5, size=8) == []
        assert (await runs.claim(connection, node_id=PEER, look_ahead_seconds=3, size=8))[0].fence == claimed.fence + 1


async def test_what_waits_waits_on_while_it_looks_again(database: Database, claimed: ClaimedRun) -> None:
    """A run that waits says so, claimed for another look or not, until no earlier run is alive or it is sent."""
    async with database.connection() as connection:

        async def is_waiting() -> bool:
            cursor = await connection.execute("SELECT waiting FROM runs WHERE run_id = %s", [UUID(int=2**128 - 1)])
            row = await cursor.fetchone()
            return bool(row and row[0])

        await connection.execute(
            "INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at) "
            "SELECT job_id, %s, tenant_id, 0, trigger, 'SCHEDULED', scheduled_for, due_at FROM runs",
            [UUID(int=2**128 - 1)],
        )
        later = await _claim(connection, LOST)
        assert not await is_waiting()
        await runs.let_wait(connection, HeldRun(later.job_id, later.run_id, later.fence), 0)
        assert await is_waiting()
        later = await _claim(connection, LOST)
        assert await is_waiting()
        await runs.mark_running(connection, [RunningRun(later.job_id, later.run_id, later.fence, NOW)])
        assert not await is_waiting()
        await runs.retry(connection, [_retried(later)], node_id=LOST)
        later = await _claim(connection, LOST)
        await runs.let_wait(connection, HeldRun(later.job_id, later.run_id, later.fence), 0)
        await runs.finish(connection, [_finished(claimed)])
        await _claim(connection, LOST)
        assert not await is_waiting()
