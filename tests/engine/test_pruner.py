"""The pruner's rounds: each part by itself, and as many of them as there is to prune."""

from types import SimpleNamespace
from typing import cast

import pytest

from countwheel.engine import pruner
from countwheel.engine.context import Context
from countwheel.engine.settings import EngineSettings
from countwheel.store import nodes, partitions, pruning, signing_keys
from countwheel.store.database import Connection, Database

OLD_KEYS = """
    INSERT INTO idempotency_keys (tenant_id, operation, key, fingerprint, job_id, answer, created_at)
    SELECT gen_random_uuid(), 'createJob', n::text, decode(repeat('00', 32), 'hex'), gen_random_uuid(), '{}',
        now() - interval '8 days' - n * interval '1 ms'
    FROM generate_series(1, %s) AS n
"""


JOBS_OF_KEYS = """
    INSERT INTO jobs (job_id, tenant_id, state, schedule_recurring, job_url, target_host, job_payload, timeout_seconds,
        max_attempts, created_at, updated_at)
    SELECT job_id, tenant_id, 'ACTIVE', '@yearly', 'http://127.0.0.1/', '127.0.0.1', '{}', 30, 5, created_at, created_at
    FROM idempotency_keys WHERE key <> '1'
"""
SETTINGS = EngineSettings()


def pruner_on(database: Database) -> pruner.Pruner:
    """Make a pruner that is all of its node."""
    return pruner.Pruner(cast("Context", SimpleNamespace(database=database, settings=SETTINGS)))


async def put_old_keys(database: Database, many: int) -> None:
    """Keep keys of jobs that are gone, for longer than keys are kept."""
    async with database.connection() as connection:
        await connection.execute(OLD_KEYS, [many])


async def count_keys(database: Database) -> int:
    async with database.connection() as connection:
        return (await connection.execute("SELECT FROM idempotency_keys")).rowcount


async def test_a_round_that_leaves_much_to_prune_is_followed_by_the_next_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round after round without a pause, until all is gone; then the next one has time."""
    monkeypatch.setattr(pruner, "_BITE", 2)
    monkeypatch.setattr(pruner, "_BITES_A_ROUND", 2)
    await put_old_keys(database, 10)
    rounds = pruner_on(database)
    pauses, left = [], []
    for _ in range(4):
        pauses.append(await rounds.run_once())
        left.append(await count_keys(database))
    # The third round comes to the end: the fourth begins at the beginning, and there is nothing.
    assert left == [6, 2, 0, 0]
    assert pauses == [0, 0, SETTINGS.prune_every_seconds, SETTINGS.prune_every_seconds]


async def test_a_walk_past_what_stays_takes_its_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing may go a round looks at its share, and the next one goes on behind it, after the usual pause."""
    monkeypatch.setattr(pruner, "_BITE", 2)
    monkeypatch.setattr(pruner, "_BITES_A_ROUND", 2)
    await put_old_keys(database, 10)
    async with database.connection() as connection:
        await connection.execute(JOBS_OF_KEYS)
    rounds = pruner_on(database)
    left = []
    for _ in range(3):  # four keys a round; the one that goes is the last
        assert await rounds.run_once() == SETTINGS.prune_every_seconds
        left.append(await count_keys(database))
    assert left == [10, 10, 9]


@pytest.mark.parametrize(
    ("where", "what"),
    [
        *((partitions, what) for what in ("make_ahead", "drop_past", "prune_default")),
        *((pruning, f"prune_{what}") for what in ("cancelled", "versions", "aged_jobs", "jobs_of_no_time")),
        (nodes, "prune"),
        (signing_keys, "prune"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_part_that_fails_keeps_no_other_from_being_done(
    database: Database, monkeypatch: pytest.MonkeyPatch, where: object, what: str
) -> None:
    """What is past its time goes all the same, and the round ends as usual."""

    async def fail(connection: Connection, *_: object, **__: object) -> None:
        await connection.execute("SELECT 1 / 0")

    monkeypatch.setattr(where, what, fail)
    await put_old_keys(database, 1)
    assert await pruner_on(database).run_once() == SETTINGS.prune_every_seconds
    assert await count_keys(database) == 0
