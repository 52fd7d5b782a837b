"""A session that has an old snapshot keeps vacuum from what was claimed since: looks are to walk past none of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any
from uuid import UUID

import psycopg
import pytest

from countwheel.embedded.supervisor import EmbeddedPostgres
from countwheel.store.database import SESSION_OPTIONS
from countwheel.store.queries import query
from countwheel.store.runs import BEGINNING
from harness import fresh_database

GONE = 20_000
"""So many runs were due, one each millisecond."""
TENANT = UUID(md5(b"tenant", usedforsecurity=False).hexdigest())
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
    """A database in which all of them were claimed, and have ended, while a transaction was open that is open still."""
    with (
        fresh_database(cluster) as dsn,
        psycopg.connect(dsn) as idle,
        psycopg.connect(dsn, autocommit=True, options=SESSION_OPTIONS) as connection,
    ):
        connection.execute(FILL)
        idle.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        idle.execute("SELECT count(*) FROM runs")
        connection.execute("UPDATE runs SET state = 'CLAIMED', node_id = 'node', attempt = 1, fence = 1")
        connection.execute("DELETE FROM runs WHERE bucket > 0 OR random() < 0.9")
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


SINCE = LAST_DUE + timedelta(milliseconds=1)
ASKED = {
    "next_due": {"since": SINCE},
    "claim": {"since": SINCE, "node_id": "another", "look_ahead_seconds": 0.5},
    "tenants_waiting": {"since": SINCE, "look_ahead_seconds": 0.5},
    "claim_for_tenants": {
        "since": SINCE, "node_id": "another", "look_ahead_seconds": 0.5, "tenant_ids": [UUID(int=0), TENANT]
    },
    "recover": {},
    "cancel_requests": {"node_id": "node"},
    "lanes": {},
}  # fmt: skip
"""What is asked all the time, as it is asked."""
SIZES = {"claim": 64, "claim_for_tenants": 8}


@pytest.mark.parametrize("name", ASKED)
def test_what_has_gone_is_not_walked_past(pinned: psycopg.Connection, name: str) -> None:
    """What is asked all the time looks at a few pages, however much was claimed and has ended meanwhile."""
    literals = {"size": SIZES[name]} if name in SIZES else {}
    assert pages_of(pinned, name, ASKED[name], **literals) < 100


@pytest.mark.parametrize("name", ["next_due", "claim", "tenants_waiting", "claim_for_tenants"])
def test_what_has_gone_is_there_still(pinned: psycopg.Connection, name: str) -> None:
    """Else the test above would show nothing: from the beginning, there is much to walk past."""
    literals = {"size": SIZES[name]} if name in SIZES else {}
    assert pages_of(pinned, name, ASKED[name] | {"since": BEGINNING}, **literals) > GONE / 50
