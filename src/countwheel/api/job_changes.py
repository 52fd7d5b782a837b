"""Changing a job: `PATCH /v1/jobs/{jobId}`, pause and resume. No claim acts on what the job was before the answer.

What a node has claimed already is too late to change: `next_run` of the answer shows it as CLAIMED or RUNNING.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.body import read_json, read_optional_json
from countwheel.api.etag import check_match, etag, read_if_match
from countwheel.api.jobs import not_found, read_view
from countwheel.api.named import named_by
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem, invalid_body
from countwheel.api.quotas import PayloadRoom
from countwheel.auth.principal import Principal
from countwheel.domain.errors import Fault, InvalidError, together
from countwheel.domain.job import SCHEDULE_FIELDS, Definition, JobStatus, amended, define, find_faults
from countwheel.domain.planning import is_used_up
from countwheel.domain.schedule import recurring_of
from countwheel.domain.terms import Calendars, decode, named_calendars
from countwheel.domain.timestamp import is_local
from countwheel.store.calendars import find_calendars
from countwheel.store.changes import JobChange, LockedJob, as_submitted, changing

_FROM_PAUSE = "pause"


async def amend_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`PATCH /v1/jobs/{jobId}`: a merge patch (RFC 7396). The next run is planned anew in the same transaction."""
    Parameters(request)
    job_id = path_uuid(request, "jobId")
    wanted = read_if_match(request.headers.getlist("if-match"))
    patch = await _checked(api, principal, await read_json(request, api.settings.max_body_bytes))
    room = await api.quotas.payload_room(principal.tenant_id)
    async with _open(api, principal, job_id) as change:
        check_match(change.job.version, wanted)
        before = as_submitted(change.job)
        merged = amended(before, patch)
        if merged != before:
            await amend(api, change, before, merged, room)
    return await answer_with(api, principal, job_id)


async def pause_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/jobs/{jobId}/pause`: no run begins until the job is resumed."""
    said = await _read_optional(api, request, "Pause")
    async with _changing_at_version(api, request, principal) as change:
        if change.job.state == JobStatus.ACTIVE:
            await change.pause(said.get("reason"))
    return await answer_with(api, principal, path_uuid(request, "jobId"))


async def resume_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/jobs/{jobId}/resume`: go on, from now or from the pause (criterion P5)."""
    said = await _read_optional(api, request, "Resume")
    async with _changing_at_version(api, request, principal) as change:
        if change.job.state == JobStatus.PAUSED:
            await change.resume(from_pause=said.get("from") == _FROM_PAUSE)
    return await answer_with(api, principal, path_uuid(request, "jobId"))


@asynccontextmanager
async def _changing_at_version(api: ApiParts, request: Request, principal: Principal) -> AsyncIterator[JobChange]:
    """Lend a job that is of the version that the request wants, if it wants any."""
    Parameters(request)
    wanted = read_if_match(request.headers.getlist("if-match"))
    async with _open(api, principal, path_uuid(request, "jobId")) as change:
        check_match(change.job.version, wanted)
        yield change


async def _read_optional(api: ApiParts, request: Request, schema: str) -> Mapping[str, Any]:
    """Return a body that may be left out. Raises `InvalidError` with every fault."""
    return api.contract.checked(schema, await read_optional_json(request, api.settings.max_body_bytes))


@asynccontextmanager
async def _open(api: ApiParts, principal: Principal, job_id: UUID) -> AsyncIterator[JobChange]:
    async with changing(api.database, principal.tenant_id, job_id) as change:
        if change is None:
            raise not_found("job")
        if change.job.state in {JobStatus.DELETED, JobStatus.COMPLETED}:
            raise Problem(409, "conflict", detail=f"the job is {change.job.state}: it cannot be changed any more")
        yield change


async def answer_with(api: ApiParts, principal: Principal, job_id: UUID) -> Response:
    """Return the job as it stands now."""
    view, version = await read_view(api, principal.tenant_id, job_id)
    return json_answer(view, 200, {"ETag": etag(version)})


async def _checked(api: ApiParts, principal: Principal, patch: object) -> Mapping[str, Any]:
    """Return a patch whose every field is right by itself. Raises `InvalidError` with every fault (criterion E2)."""
    faults = api.contract.faults("JobPatch", patch)
    if not isinstance(patch, Mapping):
        raise InvalidError(faults or [Fault("#", "must be a JSON object")])
    # What a local time without a zone means can only be said of the whole: the job may have one.
    oneoff = patch.get("schedule_oneoff")
    is_half = isinstance(oneoff, str) and is_local(oneoff) and "timezone" not in patch
    judged = {name: value for name, value in patch.items() if not (is_half and name == "schedule_oneoff")}
    named = await named_by(api, principal.tenant_id, patch)
    of_meaning, _ = find_faults(
        judged, now=api.clock.now(), target_refusal=api.target_refusal, calendars=named.calendars
    )
    of_meaning += named.faults
    if faults or of_meaning:
        raise InvalidError(together(faults, of_meaning))
    return patch


async def amend(
    api: ApiParts, change: JobChange, before: Mapping[str, Any], merged: Mapping[str, Any], room: PayloadRoom
) -> None:
    """Make a job what the merged submission says, and plan its next run anew where the schedule is another."""
    rescheduled = any(before.get(name) != merged.get(name) for name in SCHEDULE_FIELDS)
    calendars = await find_calendars(change.connection, change.tenant_id, named_calendars(merged))
    definition = _define(api, change.job, merged, calendars, rescheduled=rescheduled)
    if is_used_up(decode(definition.terms), change.job.runs_begun) and rescheduled:
        raise Problem(409, "conflict", detail=f"max_runs: the job has begun {change.job.runs_begun} runs already")
    if rescheduled and not await change.replan_is_possible():
        raise Problem(409, "conflict", detail="its one run has begun: it is too late to give it another time")
    room.take(len(definition.job_payload.encode()) - len(change.job.job_payload.encode()))
    await change.amend(definition)
    if rescheduled:
        await change.replan(recurring_of(definition), definition.first_occurrence, definition.first_due_at)


def _define(
    api: ApiParts, job: LockedJob, merged: Mapping[str, Any], calendars: Calendars, *, rescheduled: bool
) -> Definition:
    """Return what the patched job means. Raises the 409 problem where patch and job do not go together."""
    # A time that was right when the job was made is right still.
    now = api.clock.now() if rescheduled else job.created_at
    faults = api.contract.faults("JobSubmission", merged)
    try:
        if not faults:
            return define(merged, job.job_id, now=now, target_refusal=api.target_refusal, calendars=calendars)
    except InvalidError as error:
        faults = list(error.faults)
    problem = invalid_body(faults)
    raise Problem(
        409, "conflict", detail="the job with this change would not be valid; see errors", errors=problem.errors
    )
