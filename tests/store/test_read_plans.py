"""The plans of what people read: a step of a listing reads no more rows than it is to look at (decision 0028)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from test_plans import A_DAY, DAYS, ENDED, NOON, TENANT, Scan, custom_plan, filled, generic_plan, ledger, of_the_ledger

from countwheel.store.queries import query

__all__ = ["filled", "ledger"]  # fixtures

LAST = UUID(int=(1 << 128) - 1)
JOBS = {
    "tenant_id": TENANT, "status": None, "target": None, "name": None, "text": None, "labels": [],
    "created_after": None, "created_before": None, "show_deleted": False, "before": None, "limit": 51, "rows": 1000,
}  # fmt: skip
LIVE = {
    "tenant_id": TENANT, "statuses": ["SCHEDULED", "RETRYING"], "job_id": None, "trigger": None, "target": None,
    "labels": [], "before": datetime(9999, 12, 31, tzinfo=UTC), "before_id": LAST, "limit": 51, "rows": 1000,
    "tried": False, "set_aside": False,
}  # fmt: skip
FULL_DAYS = {f"run_history_ago{ago}" for ago in range(1, DAYS)}
"""Of an empty one any plan will do."""
ANYTHING = {"before": ENDED["finished_before"], "before_id": LAST}


def visited(scans: list[Scan], table: str) -> float:
    return sum(scan.rows_visited for scan in scans if scan.table == table)


@pytest.mark.parametrize(
    "narrow",
    [
        {},
        {"before": UUID(int=1 << 127)},
        {"status": "ACTIVE"},
        {"target": "nobody.example.com"},
        {"labels": ['{"no": "such"}']},
        {"text": "no such text"},
        {"created_before": datetime(2000, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_step_of_jobs_reads_its_rows(filled: psycopg.Connection, narrow: dict[str, Any]) -> None:
    """Twice: for its end, in the index alone, and for what fits. (All of one tenant: any index will do.)"""
    scans = custom_plan(filled, query("list_jobs"), JOBS | narrow)
    assert {scan.index for scan in scans if scan.table == "jobs"} <= {"jobs_by_tenant", "jobs_pkey"}
    assert visited(scans, "jobs") <= 2 * 1000 + 2


@pytest.mark.parametrize(
    ("narrow", "index"),
    [
        ({"status": "PAUSED"}, "jobs_paused"),
        ({"status": "DELETED", "show_deleted": True}, "jobs_deleted"),
        ({"name": "no such name"}, "jobs_by_name"),
    ],
)
def test_what_few_jobs_are_has_an_index(filled: psycopg.Connection, narrow: dict[str, Any], index: str) -> None:
    """The others are not read."""
    scans = custom_plan(filled, query("list_jobs"), JOBS | narrow)
    assert index in {scan.index for scan in scans if scan.table == "jobs"}
    assert visited(scans, "jobs") <= 1


@pytest.mark.parametrize(
    "narrow", [{}, {"target": "nobody.example.com"}, {"labels": ['{"no": "such"}']}, {"trigger": "manual"}]
)
def test_a_step_of_live_runs_reads_its_rows(filled: psycopg.Connection, narrow: dict[str, Any]) -> None:
    """From the far end of the due index; of jobs no more than are asked about, one by one."""
    scans = custom_plan(filled, query("list_live"), LIVE | narrow)
    assert {scan.index for scan in scans if scan.table == "runs"} == {"runs_due_by_tenant"}
    assert visited(scans, "runs") <= 2 * 1000 + 4
    assert visited(scans, "jobs") <= 1000


def test_what_waits_for_another_attempt_has_an_index(filled: psycopg.Connection) -> None:
    """None of those that were never tried is read."""
    scans = custom_plan(filled, query("list_live"), LIVE | {"statuses": ["RETRYING"], "tried": True})
    assert "runs_retrying" in {scan.index for scan in scans}
    assert visited(scans, "runs") == 0


def test_one_job_and_one_run_are_read_by_key(filled: psycopg.Connection, ledger: psycopg.Connection) -> None:
    """Whatever the plan is made for."""
    assert {scan.index for scan in generic_plan(filled, query("find_job"))} <= {
        "jobs_pkey",
        "jobs_by_tenant",
        "runs_pkey",
    }
    for name in ("find_run", "find_attempts"):
        scans = [scan for scan in generic_plan(ledger, query(name)) if scan.table in FULL_DAYS]
        assert scans
        assert all(re.search("job_id.*run_id", scan.condition) for scan in scans), scans


def test_a_page_of_a_jobs_runs_is_read_by_key_with_a_prepared_plan(ledger: psycopg.Connection) -> None:
    """The plan is made once, over all days: each is read by the job and where the page begins and ends."""
    scans = [scan for scan in generic_plan(ledger, query("list_runs")) if scan.table in FULL_DAYS]
    assert all(re.search("job_id.*run_id.*run_id", scan.condition) for scan in scans), scans


@pytest.mark.parametrize(
    "narrow", [{}, {"trigger": "backfill"}, {"labels": ['{"no": "such"}']}, {"target": "nobody.example.com"}]
)
def test_a_span_of_the_ledger_reads_that_span(ledger: psycopg.Connection, narrow: dict[str, Any]) -> None:
    """Neither another day nor all jobs, whatever is asked of them."""
    until = NOON - timedelta(hours=30)  # in the middle of a full day
    asked = ANYTHING | {"before": until, "since": until - timedelta(minutes=5), "statuses": ["SUCCEEDED", "FAILED"]}
    scans = custom_plan(ledger, query("list_ended_within"), ENDED | asked | narrow)
    assert len({scan.table for scan in of_the_ledger(scans)}) <= 2
    assert 0 < sum(scan.rows_visited for scan in of_the_ledger(scans)) <= A_DAY / 2
    assert visited(scans, "jobs") <= A_DAY / 2


def test_a_run_is_looked_for_in_the_days_about_its_instant(ledger: psycopg.Connection) -> None:
    """PostgreSQL opens no other one: that costs more than all of the reading."""
    instant = NOON - timedelta(days=5)
    named = {"tenant_id": TENANT, "job_id": UUID(int=1), "run_id": UUID(int=1)}
    span = {"since": instant - timedelta(days=1), "until": instant + timedelta(days=1)}
    days = {f"run_history_ago{ago}" for ago in (4, 5, 6)}
    for name in ("find_run", "find_attempts"):
        assert {scan.table for scan in of_the_ledger(custom_plan(ledger, query(name), named | span))} == days
    at_once = of_the_ledger(custom_plan(ledger, query("find_completion"), named | {"fence": 1, "finished_at": instant}))
    assert {scan.table for scan in at_once} == {"run_history_ago5"}
