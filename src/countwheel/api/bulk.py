"""`POST /v1/jobs:pause`, `:resume`, `:delete` and `:run`: one operation on every job that a filter finds.

A request works for some seconds at the most and says where to go on. Each job is changed in a transaction of its own;
repeating a request, or a part of it, changes nothing twice.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.body import read_json
from countwheel.api.idempotency_key import read_wanted_key
from countwheel.api.jobs import DELETE_REASON
from countwheel.api.manual_runs import run_now
from countwheel.api.paging import read_page
from countwheel.api.parameters import Parameters
from countwheel.api.parts import ApiParts
from countwheel.api.recording import note_asked
from countwheel.auth.principal import Principal
from countwheel.domain.errors import Fault, InvalidError, ScheduleError
from countwheel.domain.job import JobStatus
from countwheel.domain.timestamp import parse_oneoff
from countwheel.store import cancellation, jobs
from countwheel.store.changes import JobChange, changing
from countwheel.store.jobs import JobFilter

_WORK_SECONDS = 10.0
"""How long one request works before it says where to go on."""

_BITE = 100
_SIDE_BY_SIDE = 2
"""So many jobs are changed at a time: a bulk operation leaves connections for the others."""

_Act = Callable[[ApiParts, Principal, "_Wish", UUID], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Wish:
    body: Mapping[str, Any]
    narrow: JobFilter
    key: str | None


@dataclass(frozen=True, slots=True)
class _Operation:
    schema: str
    action: str
    resource: str
    """Of one job: one that the principal may not touch is passed over."""
    states: tuple[JobStatus, ...]
    """Jobs in other states are not found."""
    act: _Act
    makes_runs: bool = False
    """It is no change that may be repeated: it may need a key, and it uses up the quota of runs."""


async def _do(api: ApiParts, request: Request, principal: Principal, operation: _Operation) -> Response:
    Parameters(request)
    body = api.contract.checked(operation.schema, await read_json(request, api.settings.max_body_bytes))
    is_dry = bool(body.get("dry_run", False))
    note_asked(request, body)
    makes_runs = operation.makes_runs and not is_dry
    key = read_wanted_key(request, required=api.settings.require_idempotency_key and makes_runs)
    wish = _Wish(body, _narrow(body["filter"]), key)
    page = read_page(None, body.get("page_token"), {"filter": [json.dumps(body["filter"], sort_keys=True)]})
    async with api.long_reads.connection() as connection:
        matched = await jobs.count_matching(connection, principal.tenant_id, wish.narrow, operation.states)
    if makes_runs:
        await api.quotas.take_run(principal.tenant_id)
    changed, last = (0, None) if is_dry else await _work(api, principal, wish, operation, after=page.before)
    if makes_runs:
        # What is begun is done whole: refused halfway, it would begin with the same jobs again and come no further.
        await api.quotas.charge_runs(principal.tenant_id, max(0, changed - 1))
    token = "" if last is None else page.token_after(str(last))
    answer = {"dry_run": is_dry, "matched": matched, "changed": changed, "next_page_token": token}
    return json_answer(answer, 200)


async def _work(
    api: ApiParts, principal: Principal, wish: _Wish, operation: _Operation, *, after: UUID | None
) -> tuple[int, UUID | None]:
    """Work for as long as a request may. Returns how many jobs were changed, and after which one to go on, if any."""
    until = api.clock.monotonic() + _WORK_SECONDS
    changed = 0
    while True:
        async with api.long_reads.connection() as connection:
            found = await jobs.find_matching(
                connection, principal.tenant_id, wish.narrow, operation.states, after=after, limit=_BITE
            )
        for start in range(0, len(found), _SIDE_BY_SIDE):
            some = found[start : start + _SIDE_BY_SIDE]
            allowed = [
                job_id for job_id in some if principal.may(operation.action, operation.resource.format(jobId=job_id))
            ]
            changed += sum(await asyncio.gather(*(operation.act(api, principal, wish, job_id) for job_id in allowed)))
            after = some[-1]
            if api.clock.monotonic() > until:
                return changed, after
        if len(found) < _BITE:
            return changed, None


def _changes_if(state: JobStatus) -> Callable[[Callable[[_Wish, JobChange], Awaitable[bool]]], _Act]:
    """Turn what is done to a locked job into what is done to one that may have changed since it was found."""

    def decorate(change_it: Callable[[_Wish, JobChange], Awaitable[bool]]) -> _Act:
        async def act(api: ApiParts, principal: Principal, wish: _Wish, job_id: UUID) -> bool:
            async with changing(api.database, principal.tenant_id, job_id) as change:
                return change is not None and change.job.state == state and await change_it(wish, change)

        return act

    return decorate


@_changes_if(JobStatus.ACTIVE)
async def _pause(wish: _Wish, change: JobChange) -> bool:
    await change.pause(wish.body.get("reason"))
    return True


@_changes_if(JobStatus.PAUSED)
async def _resume(wish: _Wish, change: JobChange) -> bool:
    await change.resume(from_pause=wish.body.get("from") == "pause")
    return True


@_changes_if(JobStatus.ACTIVE)
async def _run(wish: _Wish, change: JobChange) -> bool:
    # A key of its own for each job: the request may be repeated as a whole, or from any page on.
    key = None if wish.key is None else hashlib.sha256(f"{wish.key} {change.job.job_id}".encode()).hexdigest()
    return (await run_now(change, key)).created


async def _delete(api: ApiParts, principal: Principal, wish: _Wish, job_id: UUID) -> bool:
    del wish
    async with api.database.connection() as connection:
        is_new = await jobs.mark_deleted(connection, principal.tenant_id, job_id)
    await cancellation.cancel_job_runs(api.database, principal.tenant_id, job_id, DELETE_REASON)
    return is_new


_JOB = "jobs/{jobId}"
_PAUSE = _Operation("BulkPause", "jobs:Pause", _JOB, (JobStatus.ACTIVE,), _pause)
_RESUME = _Operation("BulkResume", "jobs:Resume", _JOB, (JobStatus.PAUSED,), _resume)
_DELETE = _Operation(
    "BulkOperation", "jobs:Delete", _JOB, (JobStatus.ACTIVE, JobStatus.PAUSED, JobStatus.COMPLETED), _delete
)
_RUN = _Operation("BulkOperation", "runs:Create", "jobs/{jobId}/run/*", (JobStatus.ACTIVE,), _run, makes_runs=True)


async def pause_jobs(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Pause every active job that is found."""
    return await _do(api, request, principal, _PAUSE)


async def resume_jobs(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Resume every paused job that is found."""
    return await _do(api, request, principal, _RESUME)


async def delete_jobs(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Delete every job that is found. Its runs that a node holds end soon after the answer."""
    return await _do(api, request, principal, _DELETE)


async def run_jobs(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Run every active job that is found, now; once for each key and job (criterion I1)."""
    return await _do(api, request, principal, _RUN)


def _narrow(given: Mapping[str, Any]) -> JobFilter:
    """Return what is asked for. Raises `InvalidError` for an instant that is none."""
    moments: dict[str, datetime | None] = {}
    for name in ("created_after", "created_before"):
        try:
            moments[name] = parse_oneoff(given[name], None) if name in given else None
        except ScheduleError as error:
            raise InvalidError([Fault(f"#/filter/{name}", str(error))]) from error
    return JobFilter(
        status=given.get("status"),
        target=given.get("target"),
        labels=list(given.get("labels", {}).items()),
        name=given.get("name"),
        text=given.get("q"),
        created_after=moments["created_after"],
        created_before=moments["created_before"],
    )
