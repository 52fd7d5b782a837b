"""Dead letters sent again: one run, or every run that a filter finds.

A run lives again under its own id; what was tried before stays on record, and its retry policy counts anew. A request
by filter works for some seconds at the most and says where to go on. What fails again meanwhile ends after the request
began, and is not met again by it.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer
from countwheel.api.body import read_json
from countwheel.api.jobs import not_found
from countwheel.api.paging import Page, not_a_token, read_page
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.recording import note_asked
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.errors import Fault, InvalidError, ScheduleError
from countwheel.domain.fingerprint import DEAD_LETTERS
from countwheel.domain.job import JobStatus
from countwheel.domain.policy import ATTEMPTS_LIMIT
from countwheel.domain.run import LIVE
from countwheel.domain.timestamp import parse_oneoff
from countwheel.store import dead_letters, ledger, nodes
from countwheel.store.changes import holding
from countwheel.store.dead_letters import DeadLetter, Place
from countwheel.store.ledger import RunRow
from countwheel.store.listing import EndedFilter

_WORK_SECONDS = 10.0
_BITE = 200
_SIDE_BY_SIDE = 2
"""So many jobs are worked on at a time: a redrive leaves connections for the others."""

_NEVER_DUE = datetime(2200, 1, 1, tzinfo=UTC)
"""Nothing is due then or later (as a job's own times are not), at the slowest pace of any redrive."""

_NOT_CALLED = frozenset({JobStatus.DELETED, JobStatus.PAUSED})


@dataclass(frozen=True, slots=True)
class _Wish:
    statuses: Sequence[str]
    narrow: EndedFilter
    seconds_apart: float


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far it has come. `next_due` is when the next run that is found is due."""

    place: Place
    next_due: datetime
    changed: int = 0
    due_until: datetime | None = None
    is_over: bool = False


async def redrive_run(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/jobs/{jobId}/run/{runId}/redrive`: send a FAILED or UNKNOWN run again, now, under its own id."""
    return await send_again(api, request, principal, sorted(DEAD_LETTERS), _not_dead)


async def send_again(
    api: ApiParts,
    request: Request,
    principal: Principal,
    statuses: Sequence[str],
    refusal: Callable[[RunRow], Problem],
) -> Response:
    """Make the run of the path live again if it ended in one of `statuses`; one that is live is left as it is."""
    Parameters(request)
    job_id, run_id = path_uuid(request, "jobId"), path_uuid(request, "runId")
    async with holding(api.database, principal.tenant_id, job_id) as held:
        if held is None:
            raise not_found("run")
        if held.job.state in _NOT_CALLED:
            raise Problem(409, "conflict", detail=f"its job is {held.job.state}: nothing of it is sent")
        sent = await dead_letters.redrive(
            held.connection,
            principal.tenant_id,
            job_id,
            {run_id: held.job.now},
            statuses=statuses,
            by=principal.name,
        )
    row = await find_run(api, principal, job_id, run_id)
    if not sent and row.status not in LIVE:
        raise _tried_too_often(row) if row.attempt >= ATTEMPTS_LIMIT and row.resolution is None else refusal(row)
    return json_answer(views.run(row), 200)


async def find_run(api: ApiParts, principal: Principal, job_id: UUID, run_id: UUID) -> RunRow:
    """Return a run as it stands. Raises the 404 problem where there is none."""
    async with api.database.connection() as connection:
        row = await ledger.find(connection, principal.tenant_id, job_id, run_id)
    if row is None:
        raise not_found("run")
    return row


async def redrive_runs(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/runs:redrive`: send again every dead letter that a filter finds, at a pace if one is wanted."""
    Parameters(request)
    body = api.contract.checked("Redrive", await read_json(request, api.settings.max_body_bytes))
    is_dry = bool(body.get("dry_run", False))
    note_asked(request, body)
    pace, asked = body.get("pace_per_second"), body["filter"]
    wish = _Wish(asked.get("status", sorted(DEAD_LETTERS)), _narrow(asked), 0.0 if pace is None else 1 / pace)
    page = read_page(None, body.get("page_token"), {"redrive": [json.dumps([asked, pace], sort_keys=True)]})
    async with api.long_reads.connection() as connection:
        now = await nodes.database_time(connection)
        progress = _resumed(page, now)
        horizon = progress.place.horizon
        matched = await dead_letters.count(connection, principal.tenant_id, wish.statuses, wish.narrow, horizon)
    if not is_dry:
        progress = await _work(api, principal, wish, progress)
    answer = {
        "dry_run": is_dry,
        "matched": matched,
        "changed": progress.changed,
        "due_until": views.timestamp(progress.due_until),
        "next_page_token": "" if progress.is_over or is_dry else _token(page, progress),
    }
    return json_answer(answer, 200)


async def _work(api: ApiParts, principal: Principal, wish: _Wish, progress: _Progress) -> _Progress:
    """Work for as long as a request may."""
    until = api.clock.monotonic() + _WORK_SECONDS
    while True:
        async with api.long_reads.connection() as connection:
            found = await dead_letters.find(
                connection, principal.tenant_id, wish.statuses, wish.narrow, place=progress.place, limit=_BITE
            )
        progress = await _redrive(api, principal, wish, progress, found)
        if len(found) < _BITE:
            return replace(progress, is_over=True)
        if api.clock.monotonic() > until:
            return progress


async def _redrive(
    api: ApiParts, principal: Principal, wish: _Wish, progress: _Progress, found: Sequence[DeadLetter]
) -> _Progress:
    """Redrive a bite: the runs of a job together, some jobs at a time."""
    if not found:
        return progress
    apart = timedelta(seconds=wish.seconds_apart)
    due_ats = {letter.run_id: progress.next_due + apart * number for number, letter in enumerate(found)}
    by_job: dict[UUID, dict[UUID, datetime]] = {}
    for letter in found:
        if not principal.may("runs:Redrive", f"jobs/{letter.job_id}/run/{letter.run_id}"):
            continue
        by_job.setdefault(letter.job_id, {})[letter.run_id] = due_ats[letter.run_id]
    changed = set[UUID]()
    waiting = list(by_job)
    for start in range(0, len(waiting), _SIDE_BY_SIDE):
        some = waiting[start : start + _SIDE_BY_SIDE]
        redriven = await asyncio.gather(*(_redrive_job(api, principal, wish, each, by_job[each]) for each in some))
        changed.update(*redriven)
    last = found[-1]
    return replace(
        progress,
        place=replace(progress.place, after=last.finished_at, after_id=last.run_id),
        next_due=progress.next_due + apart * len(found),
        changed=progress.changed + len(changed),
        due_until=max((due_ats[run_id] for run_id in changed), default=progress.due_until),
    )


async def _redrive_job(
    api: ApiParts, principal: Principal, wish: _Wish, job_id: UUID, due_ats: dict[UUID, datetime]
) -> set[UUID]:
    """Redrive runs of one job, which may have been paused or deleted since they were found."""
    async with holding(api.database, principal.tenant_id, job_id) as held:
        if held is None or held.job.state in _NOT_CALLED:
            return set()
        return await dead_letters.redrive(
            held.connection, principal.tenant_id, job_id, due_ats, statuses=wish.statuses, by=principal.name
        )


def _token(page: Page, progress: _Progress) -> str:
    """Return where to go on: the horizon, the last one that was met, and when the next one is due."""
    moments = (progress.place.horizon, progress.place.after, progress.next_due)
    return page.token_after(
        "_".join([*(str(ids.microseconds_of(moment)) for moment in moments), str(progress.place.after_id)])
    )


def _resumed(page: Page, now: datetime) -> _Progress:
    """Return how far an earlier request came; a first one begins now. Raises the 400 problem for no token of ours."""
    if page.last is None:
        return _Progress(Place(now), now)
    try:
        *moments, after_id = page.last.split("_")
        horizon, after, next_due = (ids.instant_of_microseconds(int(moment)) for moment in moments)
        place = Place(horizon, after, UUID(after_id))
    except (ValueError, OverflowError) as error:
        raise not_a_token() from error
    if next_due >= _NEVER_DUE:
        raise not_a_token()
    return _Progress(place, max(next_due, now))


def _narrow(given: Mapping[str, Any]) -> EndedFilter:
    """Return what is asked for. Raises `InvalidError` for an instant that is none."""
    moments: dict[str, datetime | None] = {}
    for name in ("finished_after", "finished_before"):
        try:
            moments[name] = parse_oneoff(given[name], None).astimezone(UTC) if name in given else None
        except ScheduleError as error:
            raise InvalidError([Fault(f"#/filter/{name}", str(error))]) from error
    return EndedFilter(
        job_id=UUID(given["job_id"]) if "job_id" in given else None,
        target=given.get("target"),
        trigger=given.get("trigger"),
        fingerprint=given.get("fingerprint"),
        error_class=given.get("error_class"),
        labels=list(given.get("labels", {}).items()),
        finished_after=moments["finished_after"],
        finished_before=moments["finished_before"],
    )


def _tried_too_often(row: RunRow) -> Problem:
    detail = f"the run was tried {row.attempt} times, as often as a run may be: run its job by hand instead"
    return Problem(409, "conflict", detail=detail)


def _not_dead(row: RunRow) -> Problem:
    if row.status in DEAD_LETTERS and row.resolution is not None:
        return Problem(409, "conflict", detail=f"the run is resolved already, as {row.resolution}")
    if row.status in DEAD_LETTERS:
        return Problem(409, "conflict", detail="an earlier release did not keep what this notification calls")
    return Problem(409, "conflict", detail=f"the run is {row.status}: only a FAILED or UNKNOWN one is redriven")
