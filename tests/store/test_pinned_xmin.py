"""A session that has an old snapshot keeps vacuum from what was claimed since: looks are to walk past none of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store.database import SESSION_OPTIONS
from countwheel.store.queries import query
from countwheel.store.runs import BEGINNING
from harness import fresh_database

GONE = 20_000
"""So many runs were due, one each millisecond, and are claimed."""
LAST_DUE = datetime(2026, 1, 31, 12, tzinfo=UTC)

FILL = f"""
    INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at)
    SELECT md5('job' || n)::uuid, md5('run' || n)::uuid, md5('tenant')::uuid, n % 8, 'schedule', 'SCHEDULED', due, due
    FROM generate_series(1, {GONE}) AS n, LATERAL (
        SELECT '{LAST_DUE}'::timestamptz - ({GONE} - n) * interval '1 ms' AS due
    ) AS made
"""


@pytest.fixture(scope="module")
def pinned(cluster: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """A database in which all of them were claimed while a transaction was open, which is open still."""
    with (
        fresh_database(cluster) as dsn,
        psycopg.connect(dsn) as idle,
        psycopg.connect(dsn, autocommit=True, options=SESSION_OPTIONS) as connection,
    ):
        connection.execute(FILL)
        idle.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        idle.execute("SELECT count(*) FROM runs")
        connection.execute("UPDATE runs SET state = 'CLAIMED', node_id = 'node', attempt = 1, fence = 1")
        connection.execute("VACUUM ANALYZE runs")
        yield connection


def pages_of(connection: psycopg.Connection, name: str, parameters: dict[str, Any], **literals: int) -> int:
    """Return how many pages of tables and indexes a statement looks at."""
    explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query(name, **literals)}"
    with connection.transaction(force_rollback=True):
        row = connection.execute(explained, parameters).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.parametrize(("name", "literals"), [("next_due", {}), ("claim", {"size": 64})], ids=["a look", "a claim"])
def test_what_was_claimed_before_is_not_walked_past(
    pinned: psycopg.Connection, name: str, literals: dict[str, int]
) -> None:
    """From the beginning every dead entry is looked up; from where the last look ended there is none."""
    parameters = {"node_id": "another", "look_ahead_seconds": 0.5}
    whole = pages_of(pinned, name, parameters | {"since": BEGINNING}, **literals)
    assert whole > GONE / 10, "vacuum has taken away what this test is about"
    assert pages_of(pinned, name, parameters | {"since": LAST_DUE + timedelta(milliseconds=1)}, **literals) < 100
