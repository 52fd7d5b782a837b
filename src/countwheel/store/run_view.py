"""A run as it is shown: by the API, and to whoever is notified of its end. Names and formats are the contract's."""

from datetime import datetime
from typing import Any

from countwheel.domain.timestamp import format_instant
from countwheel.store.ledger import RunRow


def timestamp(instant: datetime | None) -> str | None:
    """Return RFC 3339 in UTC with milliseconds, or None."""
    return None if instant is None else format_instant(instant)


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
    if row.error_class is not None:
        view["error_class"] = row.error_class
    if row.fingerprint is not None:
        view["fingerprint"] = row.fingerprint
    if row.waiting:
        view["waiting"] = True
    if row.accepted_at is not None:
        view["accepted_at"] = timestamp(row.accepted_at)
    if row.deadline_at is not None:
        moments = {"deadline_at": timestamp(row.deadline_at), "heartbeat_at": timestamp(row.heartbeat_at)}
        view |= moments | {"progress": row.progress}
    if row.lane is not None:
        view["waiting_for_target"] = row.lane
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
