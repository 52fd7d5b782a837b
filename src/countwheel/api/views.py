"""Rows as the API shows them. Field names and formats are the contract's (`openapi.yaml`)."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from countwheel.domain import calling
from countwheel.domain.run import RunStatus
from countwheel.domain.schedule import recurring_of
from countwheel.domain.terms import decode, write_terms
from countwheel.domain.timestamp import format_instant
from countwheel.store.calendars import CalendarRow
from countwheel.store.jobs import JobRow, NewJob
from countwheel.store.ledger import AttemptRow, RunRow


def timestamp(instant: datetime | None) -> str | None:
    """Return RFC 3339 in UTC with milliseconds, or None."""
    return None if instant is None else format_instant(instant)


def new_job(job: NewJob, warnings: Sequence[str]) -> dict[str, Any]:
    """Return the job of a 201, with the run that it was created with."""
    view = _job(
        job,
        state="ACTIVE",
        labels=json.loads(job.labels),
        updated_at=job.created_at,
        deleted_at=None,
        next_run=_next_run(job, job.run_id, job.scheduled_for, RunStatus.SCHEDULED),
    )
    return view | {"warnings": list(warnings)} if warnings else view


def stored_job(job: JobRow) -> dict[str, Any]:
    """Return a job as it stands."""
    return _job(
        job,
        state=job.state,
        labels=job.labels,
        updated_at=job.updated_at,
        deleted_at=job.deleted_at,
        next_run=_next_run(job, job.next_run_id, job.next_scheduled_for, job.next_state),
    ) | _pause(job)


def run(row: RunRow) -> dict[str, Any]:
    """Return a run, live or ended. `lateness_ms` is from the nominal instant to the first attempt's start."""
    lateness = None if row.started_at is None else (row.started_at - row.scheduled_for).total_seconds() * 1000
    view: dict[str, Any] = {
        "run_id": str(row.run_id),
        "job_id": str(row.job_id),
        "status": row.status,
        "scheduled_for": timestamp(row.scheduled_for),
        "due_at": timestamp(row.due_at),
        "started_at": timestamp(row.started_at),
        "finished_at": timestamp(row.finished_at),
        "attempt": row.attempt,
        "http_status": row.http_status,
        "error": row.error,
        "trigger": row.trigger,
        "node_id": row.node_id,
        "lateness_ms": None if lateness is None else round(lateness, 3),
        "deleted_at": timestamp(row.deleted_at),
    }
    if row.waiting:
        view["waiting"] = True
    if row.accepted_at is not None:
        view["accepted_at"] = timestamp(row.accepted_at)
    if row.deadline_at is not None:
        moments = {"deadline_at": timestamp(row.deadline_at), "heartbeat_at": timestamp(row.heartbeat_at)}
        view |= moments | {"progress": row.progress}
    if row.superseded_by is not None:
        view |= {"occurrences": row.occurrences, "superseded_by": timestamp(row.superseded_by)}
    if row.resolution is not None:
        view["resolution"] = {
            "as": row.resolution,
            "at": timestamp(row.resolved_at),
            "by": row.resolved_by,
            "note": row.resolution_note,
        }
    return view


def new_run(job_id: UUID, run_id: UUID, scheduled_for: datetime, trigger: str) -> dict[str, Any]:
    """Return a run that was created just now, and is due."""
    nothing_yet = ("started_at", "finished_at", "http_status", "error", "node_id", "lateness_ms", "deleted_at")
    return {
        "run_id": str(run_id),
        "job_id": str(job_id),
        "status": RunStatus.SCHEDULED,
        "scheduled_for": timestamp(scheduled_for),
        "due_at": timestamp(scheduled_for),
        "attempt": 0,
        "trigger": trigger,
    } | dict.fromkeys(nothing_yet)


def attempt(row: AttemptRow) -> dict[str, Any]:
    """Return an attempt that did not simply succeed. The head of the answer is shown as text."""
    head = row.response_head
    return {
        "attempt": row.attempt,
        "fence": row.fence,
        "started_at": timestamp(row.started_at),
        "finished_at": timestamp(row.finished_at),
        "node_id": row.node_id,
        "http_status": row.http_status,
        "error": row.error,
        "response_head": None if head is None else head.decode("utf-8", "replace"),
    }


def calendar(row: CalendarRow) -> dict[str, Any]:
    """Return a calendar."""
    return {
        "name": row.name,
        "version": row.version,
        "description": row.description,
        **json.loads(row.exclusion),
        "created_at": timestamp(row.created_at),
        "updated_at": timestamp(row.updated_at),
        "in_force": row.in_force,
    }


def _job(
    job: NewJob | JobRow,
    *,
    state: str,
    labels: dict[str, str],
    updated_at: datetime,
    deleted_at: datetime | None,
    next_run: dict[str, Any] | None,
) -> dict[str, Any]:
    view: dict[str, Any] = {"job_id": str(job.job_id), "status": state}
    for name in ("schedule_recurring", "schedule_oneoff", "timezone"):
        if (value := getattr(job, name)) is not None:
            view[name] = value
    return (
        view
        | write_terms(decode(job.terms))
        | calling.written(job.calling)
        | {
            "job_url": job.job_url,
            "job_payload": json.loads(job.job_payload),
            "name": job.name,
            "labels": labels,
            "timeout_seconds": job.timeout_seconds,
            "max_attempts": job.max_attempts,
            "delivery": job.delivery,
            "on_unknown": job.on_unknown,
            "created_at": timestamp(job.created_at),
            "updated_at": timestamp(updated_at),
            "deleted_at": timestamp(deleted_at),
            "next_run": next_run,
        }
    )


def _pause(job: JobRow) -> dict[str, Any]:
    if job.paused_at is None:
        return {}
    return {"paused_at": timestamp(job.paused_at), "pause_reason": job.pause_reason}


def _next_run(
    job: NewJob | JobRow, run_id: UUID | None, scheduled_for: datetime | None, status: str | None
) -> dict[str, Any] | None:
    if run_id is None or scheduled_for is None:
        return None
    view = {"run_id": str(run_id), "scheduled_for": timestamp(scheduled_for), "status": status}
    if decode(job.terms).exclude is not None and (schedule := recurring_of(job)) is not None:
        excluded = schedule.exclusion(scheduled_for)
        return view if excluded is None else view | {"excluded": excluded}
    return view
