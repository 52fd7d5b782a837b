"""Who wants to hear of the end of a run, and what they are told (Standard Webhooks 1.0, the form of an event). Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from countwheel.domain import calling
from countwheel.domain.run import ERRANDS, RunStatus

FAILURES = frozenset({RunStatus.FAILED, RunStatus.UNKNOWN, RunStatus.EXPIRED})
"""The ends that `on_failure` is told of: what should have been called and was not, or nobody knows. What a policy
skipped or a person cancelled was meant so."""

EVENT_TYPES = {status: f"run.{status.lower()}" for status in (RunStatus.SUCCEEDED, *sorted(FAILURES))}


@dataclass(frozen=True, slots=True)
class Defaults:
    """Whom a tenant wants told where a job does not say."""

    on_failure: str | None = None
    on_success: str | None = None


def url_told(status: str, trigger: str, job_calling: str | None, defaults: Defaults) -> str | None:
    """Return the URL that is told of an end, or None. An errand tells nobody: no notification is about itself."""
    if trigger in ERRANDS:
        return None
    said = calling.decode(job_calling)
    if status == RunStatus.SUCCEEDED:
        return said.on_success or defaults.on_success
    return (said.on_failure or defaults.on_failure) if status in FAILURES else None


def event(run: Mapping[str, Any], *, name: str | None, labels: Mapping[str, str]) -> str:
    """Return the body that tells of the end of `run` (as the API shows it) and of its job, as JSON text."""
    body = {
        "type": EVENT_TYPES[RunStatus(run["status"])],
        "timestamp": run["finished_at"],
        "data": {**run, "job_name": name, "job_labels": dict(labels)},
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
