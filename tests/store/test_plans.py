"""The plans of the hot statements, with 100,000 rows in place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
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

ROWS = 100_000
NODE = "node-1"
TENANT = UUID(md5(b"tenant", usedforsecurity=False).hexdigest())
JOB = UUID(md5(b"job1", usedforsecurity=False).hexdigest())

FILL = f"""
    INSERT INTO jobs (job_id, tenant_id, state, schedule_oneoff, job_url, target_host, job_payload, timeout_seconds,
        max_attempts, created_at, updated_at)
    SELECT md5('job' || n)::uuid, md5('tenant')::uuid, 'ACTIVE', '2027-01-01T00:00:00Z', 'http://127.0.0.1/',
        '127.0.0.1', '{{}}', 30, 5, now(), now()
    FROM generate_series(1, {ROWS}) AS n;
    INSERT INTO runs (
        job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at, attempt, fence, node_id,
        lane, set_aside
    )
    SELECT md5('job' || n)::uuid, md5('run' || n)::uuid, md5('tenant')::uuid, n % 8, 'schedule',
        CASE WHEN held THEN 'CLAIMED' ELSE 'SCHEDULED' END, moment, moment,
        held::int, held::int, CASE WHEN held THEN '{NODE}' END, CASE WHEN n % 3 = 0 THEN 'lane-' || n % 9 END, n % 3 = 0
    FROM (
        SELECT n, n % 20 = 0 AS held,
            date_trunc('milliseconds', now()) + (n - {ROWS} / 10) * interval '100 ms' AS moment
        FROM generate_series(1, {ROWS}) AS n
    ) AS made;
    INSERT INTO cancelled_occurrences (job_id, scheduled_for, run_id, tenant_id, accounted)
    SELECT md5('job1')::uuid, now() + n * interval '1 s', md5('run' || n)::uuid, md5('tenant')::uuid, true
    FROM generate_series(1, {ROWS}) AS n;
"""


@pytest.fixture(scope="module", params=["with statistics", "without statistics", "with statistics of an empty table"])
def filled(cluster: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A database with 100,000 live runs: a tenth is due, a twentieth is held, a third
    is in three lanes, among them the earliest. Tests leave it as it is."""
    with (
        fresh_database(cluster) as dsn,
        psycopg.connect(dsn, autocommit=True, options=SESSION_OPTIONS) as connection,
    ):
        connection.execute("ALTER TABLE runs SET (autovacuum_enabled = off)")
        connection.execute("ALTER TABLE jobs SET (autovacuum_enabled = off)")
        if request.param == "with statistics of an empty table":
            connection.execute("ANALYZE runs, jobs")
        connection.execute(FILL)
        if request.param == "with statistics":
            connection.execute("ANALYZE runs, jobs")
        yield connection


@dataclass(frozen=True)
class Scan:
    """One place in a plan where a table is read."""

    table: str
    kind: str
    index: str | None
    condition: str
    rows_visited: float


PLACE = "ctid"
"""Stands for an index where a row is read at a place that is known."""


def scans_of(plan: dict[str, Any]) -> Iterator[Scan]:
    if "Relation Name" in plan and plan["Node Type"] != "ModifyTable":
        visited = plan.get("Actual Loops", 0) * (plan.get("Actual Rows", 0) + plan.get("Rows Removed by Filter", 0))
        # A bitmap scan names its index one node lower.
        index = plan["Plans"][0] if plan["Node Type"] == "Bitmap Heap Scan" else plan
        by_place = PLACE if index["Node Type"] == "Tid Scan" else None
        condition = index.get("Index Cond") or index.get("TID Cond", "")
        yield Scan(plan["Relation Name"], index["Node Type"], index.get("Index Name", by_place), condition, visited)
    for child in plan.get("Plans", []):
        yield from scans_of(child)


def custom_plan(connection: psycopg.Connection, text: str, parameters: dict[str, Any]) -> list[Scan]:
    """How PostgreSQL really executed the statement, with these values. What it changed is rolled back."""
    with connection.transaction(force_rollback=True):
        row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", parameters).fetchone()
    assert row is not None
    return list(scans_of(row[0][0]["Plan"]))


def generic_plan(connection: psycopg.Connection, text: str) -> list[Scan]:
    """How a prepared statement would be executed, whatever the values."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    numbered = re.sub(r"%\((\w+)\)s", number, text)
    with psycopg.ClientCursor(connection) as cursor:
        row = cursor.execute(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {numbered}").fetchone()
    assert row is not None
    return list(scans_of(row[0][0]["Plan"]))


def check(scans: list[Scan], indexes: dict[str, set[str]]) -> None:
    """Each table is read by the named indexes alone, or at places that are known, each with a condition."""
    assert {scan.table for scan in scans} >= indexes.keys()
    for scan in scans:
        if scan.table in indexes:
            assert "Index" in scan.kind or scan.index == PLACE, scan
            assert scan.index in indexes[scan.table], scan
            assert scan.condition, scan


def finish_parameters(connection: psycopg.Connection, size: int) -> dict[str, Any]:
    held = connection.execute(
        "SELECT job_id, run_id FROM runs WHERE node_id IS NOT NULL ORDER BY run_id LIMIT %s", [size]
    ).fetchall()
    now, count = datetime.now(UTC), len(held)  # noqa: TID251 (any instant will do)
    return {
        "job_ids": [row[0] for row in held],
        "run_ids": [row[1] for row in held],
        "fences": [1] * count,
        "statuses": ["SUCCEEDED"] * count,
        "started_ats": [now] * count,
        "finished_ats": [now] * count,
        "http_statuses": [200] * count,
        "errors": [None] * count,
        "response_heads": [b""] * count,
        "occurrences": [1] * count,
        "superseded_bys": [None] * count,
        "lasts": [True] * count,
        "sent": [True] * count,
        "traces": [None] * count,
        "error_classes": [None] * count,
        "response_headers": [None] * count,
        "fingerprints": [None] * count,
        "targets": [None] * count,
        "completions": [None] * count,
    }


def test_the_claim_reads_what_is_due_and_nothing_else(filled: psycopg.Connection) -> None:
    """The due index leads; the claim visits the rows that it takes and no others."""
    text = query("claim", size=64)
    parameters = {"node_id": NODE, "look_ahead_seconds": 0.5, "since": BEGINNING}
    expected = {"runs": {"runs_due", "runs_pkey", PLACE}, "jobs": {"jobs_pkey"}}
    actual = custom_plan(filled, text, parameters)
    check(actual, expected)
    assert sum(scan.rows_visited for scan in actual if scan.index == "runs_due") <= 8 * 64
    check(generic_plan(filled, text), expected)


def test_the_way_past_a_flood_reads_a_few_rows_a_tenant(filled: psycopg.Connection) -> None:
    """The tenant's own due index leads, to who waits and to what is taken."""
    (tenant,) = filled.execute("SELECT tenant_id FROM runs LIMIT 1").fetchone() or (None,)
    waiting = custom_plan(filled, query("tenants_waiting"), {"look_ahead_seconds": 0.5, "since": BEGINNING})
    assert {scan.index for scan in waiting if scan.table == "runs"} == {"runs_due_by_tenant"}
    assert sum(scan.rows_visited for scan in waiting if scan.table == "runs") <= 2
    text = query("claim_for_tenants", size=8)
    parameters = {"node_id": NODE, "look_ahead_seconds": 0.5, "tenant_ids": [tenant], "since": BEGINNING}
    expected = {"runs": {"runs_due_by_tenant", "runs_pkey", PLACE}, "jobs": {"jobs_pkey"}}
    actual = custom_plan(filled, text, parameters)
    check(actual, expected)
    assert sum(scan.rows_visited for scan in actual if scan.index == "runs_due_by_tenant") <= 8


@pytest.mark.parametrize("size", [1, 512])
def test_the_finish_finds_its_rows_by_key(filled: psycopg.Connection, size: int) -> None:
    """The id is the only indexable condition: never the partial indexes of a state."""
    text = query("finish")
    expected = {"runs": {"runs_pkey"}, "jobs": {"jobs_pkey"}}
    actual = custom_plan(filled, text, finish_parameters(filled, size))
    check(actual, expected)
    assert sum(scan.rows_visited for scan in actual if scan.table == "runs") <= size
    check(generic_plan(filled, text), expected)


def test_what_sleeps_costs_a_claim_nothing(filled: psycopg.Connection) -> None:
    """Where nothing is due no row is visited, however many are due later."""
    long_ago = {
        "node_id": NODE,
        "look_ahead_seconds": -1e6,
        "since": BEGINNING,
        "tenant_ids": [TENANT],
        "tenant_id": TENANT,
        "lane": "lane-3",
    }
    for text in (query("claim", size=64), query("claim_for_tenants", size=8), query("claim_from_lane", size=8)):
        scans = custom_plan(filled, text, long_ago)
        assert sum(scan.rows_visited for scan in scans) == 0, scans


WHOLE_BATCHES = [
    ("claim", {"size": 64}),
    ("claim_for_tenants", {"size": 8}),
    ("claim_from_lane", {"size": 8}),
    *(
        (name, {})
        for name in ("find_cancelled", "insert_occurrences", "count_begun", "finish", "wake", "insert_errands")
    ),
    *((name, {}) for name in ("insert_wanted", "create_jobs", "earlier_runs", "let_wait", "is_live", "lock_live_run")),
    *((name, {}) for name in ("next_due", "tenants_waiting", "held_by_node", "cancel_requests", "request_cancel")),
]


def test_cancelled_occurrences_are_read_no_further_than_asked(filled: psycopg.Connection) -> None:
    """However many lie ahead of a job: in the order of its key, up to the limit."""
    text = query("find_cancelled")
    parameters = {"job_ids": [JOB], "since": [BEGINNING], "limit": 16}
    for scans in (custom_plan(filled, text, parameters), generic_plan(filled, text)):
        check(scans, {"cancelled_occurrences": {"cancelled_occurrences_pkey"}})
        assert sum(scan.rows_visited for scan in scans) <= 16


@pytest.mark.parametrize(("name", "literals"), WHOLE_BATCHES, ids=[name for name, _ in WHOLE_BATCHES])
def test_no_hot_statement_reads_a_whole_table(filled: psycopg.Connection, name: str, literals: dict[str, int]) -> None:
    """Prepared, whatever the values: `runs` and `jobs` are read by an index with a condition, or not at all."""
    for scan in generic_plan(filled, query(name, **literals)):
        if scan.table in {"runs", "jobs"}:
            assert "Index" in scan.kind or scan.index == PLACE, scan
            # The first step to the tenants takes the first entry of their index, whatever it is.
            assert scan.condition or name == "tenants_waiting", scan


def test_recovery_finds_what_is_held_by_its_index(filled: psycopg.Connection) -> None:
    """Asked every second: where no node is lost nothing of `runs` is visited, however much sleeps there."""
    scans = custom_plan(filled, query("recover"), {})
    # A join that has nothing on one side may look whether the other has anything: one row of each.
    assert sum(scan.rows_visited for scan in scans if scan.table in {"runs", "jobs"}) < 10, scans
    plan = "\n".join(row[0] for row in filled.execute("EXPLAIN " + query("recover")))
    assert "on runs_held" in plan or "using runs_held" in plan, plan


def test_what_a_node_holds_is_read_by_its_holder(filled: psycopg.Connection) -> None:
    """What a peer, or nobody, has is not visited."""
    scans = custom_plan(filled, query("held_by_node"), {"node_id": "another"})
    assert [scan.index for scan in scans] == ["runs_held"]
    assert sum(scan.rows_visited for scan in scans) == 0


@pytest.mark.parametrize(
    "name",
    ["retry", "release", "mark_running", "set_aside", "put_lane", "accept", "try_again", "heartbeat", "holders"],
)
def test_other_statements_about_held_runs_find_them_by_key(filled: psycopg.Connection, name: str) -> None:
    """As the finish does."""
    check(generic_plan(filled, query(name)), {"runs": {"runs_pkey"}})


def test_polling_is_cheap(filled: psycopg.Connection) -> None:
    """Asking what is due next, and what is to be cancelled, reads a row a bucket and none."""
    due = custom_plan(filled, query("next_due"), {"since": BEGINNING})
    assert {scan.index for scan in due} == {"runs_due"}
    assert sum(scan.rows_visited for scan in due) <= 8
    requests = custom_plan(filled, query("cancel_requests"), {"node_id": NODE})
    assert {scan.index for scan in requests} == {"runs_cancel_requested"}
    assert sum(scan.rows_visited for scan in requests) == 0


def test_a_lane_is_served_by_its_own_index(filled: psycopg.Connection) -> None:
    """A claim from a lane visits the rows that it takes and no others; a step a lane tells which lanes there are."""
    text = query("claim_from_lane", size=8)
    parameters = {"node_id": NODE, "look_ahead_seconds": 0.5, "tenant_id": TENANT, "lane": "lane-3"}
    expected = {"runs": {"runs_in_lane", "runs_pkey", PLACE}, "jobs": {"jobs_pkey"}}
    actual = custom_plan(filled, text, parameters)
    check(actual, expected)
    assert sum(scan.rows_visited for scan in actual if scan.index == "runs_in_lane") <= 8
    check(generic_plan(filled, text), expected)
    lanes = custom_plan(filled, query("lanes"), {})
    assert {scan.index for scan in lanes if scan.table == "runs"} == {"runs_in_lane"}
    assert sum(scan.rows_visited for scan in lanes if scan.table == "runs") <= 4


def test_what_is_under_way_is_counted_by_its_own_index(filled: psycopg.Connection) -> None:
    """As many entries are read as are counted: of nearly all runs there are none in it."""
    (held,) = filled.execute(
        "SELECT count(*) FROM runs WHERE node_id IS NOT NULL AND lane = 'lane-6'",
    ).fetchone() or (0,)
    scans = custom_plan(filled, query("in_flight"), {"tenant_id": TENANT, "lane": "lane-6"})
    assert {scan.index for scan in scans} == {"runs_held_of_lane"}
    assert sum(scan.rows_visited for scan in scans) == held > 0


def test_looking_after_accepted_runs_reads_those_that_are_overdue(filled: psycopg.Connection) -> None:
    """Nothing is read where nothing is overdue; a completion finds its run by its key."""
    text = query("lock_overdue", size=200)
    overdue = custom_plan(filled, text, {})
    assert [scan.index for scan in overdue if scan.table == "runs"] == ["runs_overdue"]
    assert sum(scan.rows_visited for scan in overdue) == 0
    check(generic_plan(filled, text), {"runs": {"runs_overdue"}, "jobs": {"jobs_pkey"}})
    check(generic_plan(filled, query("lock_for_completion")), {"runs": {"runs_pkey"}, "jobs": {"jobs_pkey"}})


def test_the_jobs_of_a_calendar_are_found_by_its_name(filled: psycopg.Connection) -> None:
    """A change of a calendar reads the jobs that name it, however many others there are."""
    for name in ("find_jobs_behind", "names_calendar"):
        parameters = {"tenant_id": TENANT, "name": "de", "version": 2, "limit": 100}
        scans = custom_plan(filled, query(name), parameters)
        assert all(scan.kind.startswith("Bitmap") and scan.rows_visited == 0 for scan in scans), scans


def test_the_runs_of_a_minute_are_counted_by_their_tenant_and_time(filled: psycopg.Connection) -> None:
    """The warning at a create reads as many entries of an index as it counts, and no row of another minute."""
    at = datetime(2199, 1, 1, tzinfo=UTC)
    parameters = {"tenant_id": TENANT, "start": at, "end": at + timedelta(minutes=1), "limit": 1000}
    scans = custom_plan(filled, query("count_due"), parameters)
    assert {scan.index for scan in scans} == {"runs_due_by_tenant"}
    assert sum(scan.rows_visited for scan in scans) == 0


DAYS, A_DAY = 10, 10_000
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""Where the ledger ends. If it ended now, just after midnight its last day would have too few rows for an index."""
LEDGER = f"""
    INSERT INTO run_history (job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, started_at, finished_at,
        attempt, lost_attempts, fence, http_status, error, fingerprint)
    SELECT md5('job' || n % 100)::uuid, md5('run' || n)::uuid, md5('tenant')::uuid, 'manual',
        CASE WHEN failed THEN 'FAILED' ELSE 'SUCCEEDED' END, moment, moment, moment, moment, 1, 0, 1, 200,
        CASE WHEN failed THEN 'x' END, CASE WHEN failed THEN '0123456789abcdef' END
    FROM (
        SELECT n, n % 4 = 0 AS failed,
            '{NOON}'::timestamptz - ({DAYS * A_DAY} - n) * interval '{DAYS} days' / {DAYS * A_DAY} AS moment
        FROM generate_series(1, {DAYS * A_DAY}) AS n
    ) AS made;
    INSERT INTO jobs (job_id, tenant_id, state, schedule_oneoff, job_url, target_host, job_payload, timeout_seconds,
        max_attempts, created_at, updated_at)
    SELECT md5('job' || n)::uuid, md5('tenant')::uuid, 'ACTIVE', '2027-01-01T00:00:00Z', 'http://127.0.0.1/',
        '127.0.0.1', '{{}}', 30, 5, now(), now()
    FROM generate_series(0, 99) AS n;
"""
ANY = {"job_id": None, "target": None, "trigger": None, "fingerprint": None, "error_class": None, "labels": []}
ENDED = ANY | {
    "tenant_id": TENANT,
    "statuses": ["FAILED", "UNKNOWN"],
    "finished_after": datetime(1, 1, 1, tzinfo=UTC),
    "finished_before": datetime(9999, 12, 31, tzinfo=UTC),
    "show_deleted": False,
    "limit": 51,
}
"""What a first page of dead letters asks."""


@pytest.fixture(scope="module")
def ledger(cluster: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """A ledger of ten days in daily partitions, a quarter of it failures."""
    with fresh_database(cluster) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        for ago in range(DAYS + 1):
            day = NOON.date() - timedelta(days=ago)
            connection.execute(
                f"CREATE TABLE run_history_ago{ago} PARTITION OF run_history "
                f"FOR VALUES FROM ('{day}T00:00:00Z') TO ('{day + timedelta(days=1)}T00:00:00Z')"
            )
        # As autovacuum leaves it. Of what is committed but not flushed yet no page is told to be visible to all.
        connection.execute("SET synchronous_commit = on")
        connection.execute(LEDGER)
        connection.execute("VACUUM ANALYZE run_history, jobs")
        yield connection


def of_the_ledger(scans: list[Scan]) -> list[Scan]:
    return [scan for scan in scans if scan.table.startswith("run_history")]


def test_a_page_of_dead_letters_reads_no_more_than_itself(ledger: psycopg.Connection) -> None:
    """By the index of what did not succeed, newest first, with one entry of each partition beside: 25,000 are there."""
    before = {
        "before": ENDED["finished_before"],
        "before_id": UUID(int=(1 << 128) - 1),
        "since": ENDED["finished_after"],
    }
    scans = of_the_ledger(custom_plan(ledger, query("list_ended"), ENDED | before))
    assert all("status" in (scan.index or "") and "Index" in scan.kind for scan in scans), scans
    assert sum(scan.rows_visited for scan in scans) <= 51 + 2 * 20


def test_a_bite_of_a_redrive_reads_no_more_than_itself(ledger: psycopg.Connection) -> None:
    """First end first; by fingerprint, too."""
    place = {"horizon": ENDED["finished_before"], "after": ENDED["finished_after"], "after_id": UUID(int=0)}
    for narrow in ({}, {"fingerprint": "0123456789abcdef"}):
        scans = of_the_ledger(custom_plan(ledger, query("find_dead_letters"), ENDED | place | narrow))
        assert all("Index" in scan.kind and scan.index for scan in scans), scans
        assert sum(scan.rows_visited for scan in scans) <= 51 + 2 * 20


def test_a_span_with_what_succeeded_reads_that_span(ledger: psycopg.Connection) -> None:
    """No index has them; the block ranges and the partitions of the other days are left alone."""
    until = NOON - timedelta(hours=30)  # in the middle of a full day
    asked = {"statuses": ["SUCCEEDED", "FAILED"], "since": until - timedelta(minutes=5), "before": until}
    scans = of_the_ledger(
        custom_plan(ledger, query("list_ended_within"), ENDED | asked | {"before_id": UUID(int=(1 << 128) - 1)})
    )
    assert sum(scan.rows_visited for scan in scans) <= A_DAY / 2


def test_groups_of_failures_read_the_failures_of_their_span(ledger: psycopg.Connection) -> None:
    """An hour of ten days, by the index alone; of the ledger one error a group is read, and there is one group."""
    asked = {"tenant_id": TENANT, "start": NOON - timedelta(hours=1), "end": NOON, "job_id": None, "target": None}
    scans = of_the_ledger(custom_plan(ledger, query("group_failures", most=100_000), asked | {"limit": 50}))
    assert all("Index" in scan.kind for scan in scans if scan.rows_visited), scans
    assert sum(scan.rows_visited for scan in scans if scan.kind != "Index Only Scan") <= 1
    assert sum(scan.rows_visited for scan in scans) <= 2 * A_DAY / 24 / 4 + 50
