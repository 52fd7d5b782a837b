"""Rows as the API shows them. Field names and formats are the contract's (`openapi.yaml`)."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import structs

from countwheel.domain import calling
from countwheel.domain.attempt import Trace
from countwheel.domain.run import RunStatus
from countwheel.domain.schedule import recurring_of
from countwheel.domain.terms import decode, write_terms
from countwheel.store.calendars import CalendarRow
from countwheel.store.jobs import JobRow, NewJob
from countwheel.store.ledger import AttemptRow
from countwheel.store.run_view import run, timestamp

__all__ = ["attempt", "calendar", "new_job", "new_run", "run", "stored_job", "timestamp"]


def new_job(job: NewJob, warnings: Sequence[str]) -> dict[str, Any]:
    """Return the job of a 201, with the run that it was created with."""
    view = _job(
        job,
        state="ACTIVE",
        payload=msgspec.Raw(job.job_payload.encode()),  # it was read a moment ago: it goes out as it is
        labels=msgspec.json.decode(job.labels),
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
        payload=json.loads(job.job_payload),
        labels=job.labels,
        updated_at=job.updated_at,
        deleted_at=job.deleted_at,
        next_run=_next_run(job, job.next_run_id, job.next_scheduled_for, job.next_state),
    ) | _pause(job)


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
    """Return an attempt: when, to which address, how long each step took, and what came of it.

    The head of the answer is shown as text.
    """
    head = row.response_head
    trace = None if row.trace is None else Trace.decode(row.trace)
    started_at = row.started_at
    if started_at is None and trace is not None and trace.total_ms is not None:
        started_at = row.finished_at - timedelta(milliseconds=trace.total_ms)
    return {
        "attempt": row.attempt,
        "fence": row.fence,
        "started_at": timestamp(started_at),
        "finished_at": timestamp(row.finished_at),
        "node_id": row.node_id,
        "http_status": row.http_status,
        "error": row.error,
        "error_class": row.error_class,
        "response_headers": row.response_headers,
        "response_head": None if head is None else head.decode("utf-8", "replace"),
        "trace": None if trace is None else structs.asdict(trace),
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
    payload: object,
    labels: dict[str, str],
    updated_at: datetime,
    deleted_at: datetime | None,
    next_run: dict[str, Any] | None,
) -> dict[str, Any]:
    view: dict[str, Any] = {"job_id": str(job.job_id), "status": state}
    if job.schedule_recurring is not None:
        view["schedule_recurring"] = job.schedule_recurring
    if job.schedule_oneoff is not None:
        view["schedule_oneoff"] = job.schedule_oneoff
    if job.timezone is not None:
        view["timezone"] = job.timezone
    if job.terms is not None:
        view |= write_terms(decode(job.terms))
    if job.calling is not None:
        view |= calling.written(job.calling)
    created_at = timestamp(job.created_at)
    view["job_url"] = job.job_url
    view["job_payload"] = payload
    view["name"] = job.name
    view["labels"] = labels
    view["timeout_seconds"] = job.timeout_seconds
    view["max_attempts"] = job.max_attempts
    view["delivery"] = job.delivery
    view["on_unknown"] = job.on_unknown
    view["created_at"] = created_at
    view["updated_at"] = created_at if updated_at is job.created_at else timestamp(updated_at)
    view["deleted_at"] = timestamp(deleted_at)
    view["next_run"] = next_run
    return view


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
    if job.terms is not None and decode(job.terms).exclude is not None and (schedule := recurring_of(job)) is not None:
        excluded = schedule.exclusion(scheduled_for)
        return view if excluded is None else view | {"excluded": excluded}
    return view
