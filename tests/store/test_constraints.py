"""The database refuses rows that must not be, whoever writes them."""

from typing import Any

import psycopg
import pytest

RUN = {
    "job_id": "'00000000-0000-0000-0000-000000000001'",
    "run_id": "'00000000-0000-0000-0000-000000000002'",
    "tenant_id": "'00000000-0000-0000-0000-000000000003'",
    "bucket": "0",
    "trigger": "'schedule'",
    "state": "'SCHEDULED'",
    "scheduled_for": "'2027-01-01T00:00:00Z'",
    "due_at": "'2027-01-01T00:00:00Z'",
    "attempt": "0",
    "fence": "0",
}
CLAIMED = RUN | {"state": "'CLAIMED'", "node_id": "'n'", "attempt": "1", "fence": "1"}
ENDED = {name: value for name, value in RUN.items() if name not in {"bucket", "state"}} | {
    "status": "'SUCCEEDED'",
    "http_status": "200",
    "started_at": "now()",
    "finished_at": "now()",
    "lost_attempts": "0",
}
JOB = {
    "job_id": RUN["job_id"],
    "tenant_id": RUN["tenant_id"],
    "state": "'ACTIVE'",
    "schedule_recurring": "'@daily'",
    "job_url": "'http://127.0.0.1/'",
    "target_host": "'127.0.0.1'",
    "job_payload": "'{}'",
    "timeout_seconds": "30",
    "max_attempts": "5",
    "created_at": "now()",
    "updated_at": "now()",
}


def insert(dsn: str, table: str, row: dict[str, str]) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(row.values())})".encode())


@pytest.mark.parametrize(("table", "row"), [("runs", RUN), ("runs", CLAIMED), ("run_history", ENDED), ("jobs", JOB)])
def test_a_whole_row_is_taken(dsn: str, table: str, row: dict[str, str]) -> None:
    """What the refusals below start from is itself right."""
    insert(dsn, table, row)


@pytest.mark.parametrize(
    ("table", "row", "changes", "constraint"),
    [
        ("runs", RUN, {"due_at": "'2026-12-31T23:59:59Z'"}, "never_due_early"),
        ("runs", RUN, {"state": "'CLAIMED'"}, "held_when_claimed"),
        ("runs", RUN, {"node_id": "'n'"}, "held_when_claimed"),
        ("runs", RUN, {"attempt": "1"}, "scheduled_is_untried"),
        ("runs", RUN, {"state": "'RETRYING'", "attempt": "1"}, "retrying_says_why"),
        ("runs", RUN, {"state": "'SUCCEEDED'"}, "runs_state_check"),
        ("runs", RUN, {"bucket": "8"}, "runs_bucket_check"),
        ("runs", RUN, {"scheduled_for": "'2026-12-31T00:00:00.0001Z'"}, "runs_scheduled_for_check"),
        ("runs", CLAIMED, {"state": "'RUNNING'"}, "running_has_started"),
        ("runs", CLAIMED, {"lost_attempts": "2"}, "lost_is_part_of_attempts"),
        ("runs", CLAIMED, {"fence": "-1"}, "runs_fence_check"),
        ("run_history", ENDED, {"http_status": "500"}, "success_is_a_2xx"),
        ("run_history", ENDED, {"http_status": "NULL"}, "success_is_a_2xx"),
        ("run_history", ENDED, {"started_at": "NULL"}, "success_has_started"),
        ("run_history", ENDED, {"status": "'FAILED'"}, "other_ends_say_why"),
        ("run_history", ENDED, {"status": "'RUNNING'", "error": "'x'"}, "run_history_status_check"),
        ("run_history", ENDED, {"occurrences": "2"}, "a_range_is_superseded"),
        ("run_history", ENDED, {"superseded_by": "'2026-01-01T00:00:00Z'"}, "superseded_later"),
        ("run_history", ENDED, {"response_head": "repeat('x', 4097)::bytea"}, "run_history_response_head_check"),
        ("jobs", JOB, {"schedule_oneoff": "'x'"}, "one_schedule"),
        ("jobs", JOB, {"schedule_recurring": "NULL"}, "one_schedule"),
        ("jobs", JOB, {"state": "'DELETED'"}, "deleted_has_its_time"),
        ("jobs", JOB, {"state": "'COMPLETED'"}, "ended_has_its_time"),
        ("jobs", JOB, {"timeout_seconds": "1801"}, "jobs_timeout_seconds_check"),
        ("jobs", JOB, {"max_attempts": "0"}, "jobs_max_attempts_check"),
    ],
)
def test_what_must_not_be_is_refused(
    dsn: str, table: str, row: dict[str, str], changes: dict[str, Any], constraint: str
) -> None:
    """Each invariant of a row is a CHECK constraint with a name that says it."""
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        insert(dsn, table, row | changes)
    assert (caught.value.diag.constraint_name or "").replace("_default_", "_") == constraint


def test_an_occurrence_is_one_run(dsn: str) -> None:
    """Promise 2: the primary key refuses a second run of one occurrence."""
    insert(dsn, "runs", RUN)
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(dsn, "runs", CLAIMED)
