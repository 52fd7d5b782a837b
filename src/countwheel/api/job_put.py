"""`PUT /v1/jobs/{jobId}`: a job under an id that the client has chosen, created or replaced; safe to repeat (I12)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer
from countwheel.api.body import read_json
from countwheel.api.etag import check_match, etag, read_if_match
from countwheel.api.job_changes import amend, answer_with
from countwheel.api.jobs import FIRST_VERSION, define_submission, find_warnings
from countwheel.api.named import Named, find_named, named_by
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.quotas import PayloadRoom
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.calling import secret_places
from countwheel.domain.job import SCHEDULE_FIELDS, JobStatus
from countwheel.domain.terms import decode
from countwheel.store import jobs
from countwheel.store.changes import JobChange, as_submitted, changing
from countwheel.store.database import RefusedRowError


async def put_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Create the job, or make it what the body says. What it is already changes nothing, and makes no new version."""
    Parameters(request)
    job_id = path_uuid(request, "jobId")
    wanted = read_if_match(request.headers.getlist("if-match"))
    body = await read_json(request, api.settings.max_body_bytes)
    if not await _replace(api, principal, job_id, body, wanted):
        if wanted is not None:
            raise Problem(412, "precondition-failed", detail="there is no such job: leave If-Match out to create it")
        created = await _create(api, principal, job_id, body)
        if created is not None:
            return created
        # Somebody was quicker with this id: it is replaced, or it is none of this tenant's.
        if not await _replace(api, principal, job_id, body, wanted):
            raise Problem(409, "conflict", detail="this id is taken: choose another, a random UUID say")
    return await answer_with(api, principal, job_id)


async def _create(api: ApiParts, principal: Principal, job_id: UUID, body: object) -> Response | None:
    """Create the job; None where the id is taken by now."""
    created_at = ids.instant_of(ids.milliseconds_of(api.clock.now()))
    named = await named_by(api, principal.tenant_id, body)
    definition = define_submission(api, body, job_id, named, now=created_at)
    job = jobs.prepare(definition, principal.tenant_id, created_at)
    await api.quotas.take_create(principal.tenant_id, len(job.job_payload.encode()))
    try:
        await api.creator.create(job)
    except RefusedRowError:
        return None
    view = views.new_job(job, await find_warnings(api, job))
    return json_answer(view, 201, {"Location": f"/v1/jobs/{job_id}", "ETag": etag(FIRST_VERSION)})


async def _replace(
    api: ApiParts, principal: Principal, job_id: UUID, body: object, wanted: frozenset[str] | None
) -> bool:
    """Make an existing job what the body says. Returns False where there is none of this tenant."""
    room = await api.quotas.payload_room(principal.tenant_id)
    async with changing(api.database, principal.tenant_id, job_id) as change:
        if change is None:
            return False
        if change.job.state == JobStatus.DELETED:
            raise Problem(409, "conflict", detail="the job is DELETED, and its id stays its own: choose another")
        check_match(change.job.version, wanted)
        await _make_it(api, change, body, room)
    return True


async def _make_it(api: ApiParts, change: JobChange, body: object, room: PayloadRoom) -> None:
    before = as_submitted(change.job)
    # A time that was right when the job was made is right still.
    named = await _find_named(change, body, before)
    after = as_submitted(define_submission(api, body, change.job.job_id, named, now=change.job.created_at))
    if after == before:
        return
    if change.job.state == JobStatus.COMPLETED:
        raise Problem(409, "conflict", detail="the job is COMPLETED: it cannot be changed any more")
    if any(before.get(name) != after.get(name) for name in SCHEDULE_FIELDS):
        define_submission(api, body, change.job.job_id, named, now=api.clock.now())
    await amend(api, change, before, after, room)


async def _find_named(change: JobChange, body: object, before: Mapping[str, Any]) -> Named:
    """Return what the body names. What the job has of it already need not be there: an ended job outlives it."""
    found = await find_named(change.connection, change.tenant_id, body)
    exclude = decode(change.job.terms).exclude
    carried = {} if exclude is None else {copy.name: copy for copy in exclude.copies}
    kept = {pointer for pointer, _ in {*secret_places(body)} & {*secret_places(before)}}
    return Named(carried | dict(found.calendars), [fault for fault in found.faults if fault.pointer not in kept])
