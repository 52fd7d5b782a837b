"""`POST /v1/jobs/{jobId}/backfill`: occurrences of the past, run now."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.body import read_json
from countwheel.api.idempotency_key import read_wanted_key
from countwheel.api.jobs import not_found
from countwheel.api.manual_runs import check_is_sent
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.replay import REPLAYED, find_answer, find_replay
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.backfill import BackfillOverlap, Only, TooManyError, choose, named_between
from countwheel.domain.errors import Fault, InvalidError, ScheduleError, together
from countwheel.domain.job import compact_json
from countwheel.domain.schedule import recurring_of
from countwheel.domain.timestamp import parse_oneoff
from countwheel.store import backfill, idempotency, jobs, nodes
from countwheel.store.changes import HeldJob, holding
from countwheel.store.idempotency import KeyedAnswer
from countwheel.store.jobs import JobRow

_ENTROPY_BYTES = 10


@dataclass(frozen=True, slots=True)
class _Wish:
    start: datetime
    end: datetime
    only: Only
    overlap: BackfillOverlap
    dry_run: bool

    def fingerprint(self, job_id: UUID) -> bytes:
        """Return what two requests with one key must share."""
        return hashlib.sha256(f"{job_id} {self}".encode()).digest()


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which occurrences are wanted of a job as it was at a version."""

    version: int
    instants: list[datetime]


async def backfill_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Run those occurrences of a range that are wanted; once for each key (criterion I1).

    They are chosen with no lock in hand: that may take a second, and whoever records a run, or claims one, wants it.
    """
    Parameters(request)
    job_id = path_uuid(request, "jobId")
    wish = _checked(api, await read_json(request, api.settings.max_body_bytes))
    key = read_wanted_key(request, required=api.settings.require_idempotency_key and not wish.dry_run)
    fingerprint = wish.fingerprint(job_id)
    try:
        answer = await _create(api, principal, job_id, wish, key)
    except (InvalidError, Problem):
        # The quota is used up, or the job is another one now, paused say: maybe since the runs were created.
        key = None if wish.dry_run else key
        answer = await find_replay(api, idempotency.BACKFILL_JOB, principal.tenant_id, key, fingerprint)
        if answer is None:
            raise
    if answer is not None:
        return answer
    stored = await find_answer(api, idempotency.BACKFILL_JOB, principal.tenant_id, key, fingerprint)
    return json_answer(stored, 201, REPLAYED)


async def _create(api: ApiParts, principal: Principal, job_id: UUID, wish: _Wish, key: str | None) -> Response | None:
    """Create the runs, or tell which they would be; None where the key was used before."""
    if not wish.dry_run:
        await api.quotas.take_run(principal.tenant_id)
    choice = await _choose(api, principal.tenant_id, job_id, wish)
    backfill_id = ids.job_id(api.clock.now(), api.chance.token_bytes(_ENTROPY_BYTES))
    if wish.dry_run:
        return json_answer(compact_json(_view(job_id, wish, backfill_id, choice.instants)), 200)
    async with holding(api.database, principal.tenant_id, job_id) as held:
        if held is None:
            raise not_found("job")
        instants = await _still_wanted(held, wish, choice)
        answer = compact_json(_view(job_id, wish, backfill_id, instants))
        keyed = KeyedAnswer(key, wish.fingerprint(job_id), answer)
        if not await backfill.create(held, backfill_id, instants, wish.overlap, keyed):
            return None
    await api.quotas.charge_runs(principal.tenant_id, max(0, len(instants) - 1))
    return json_answer(answer, 201)


async def _choose(api: ApiParts, tenant_id: UUID, job_id: UUID, wish: _Wish) -> _Choice:
    """Return what is wanted as things stand. In threads: calls are due meanwhile."""
    async with api.database.connection() as connection:
        job, now = await jobs.find(connection, tenant_id, job_id), await nodes.database_time(connection)
    if job is None:
        raise not_found("job")
    check_is_sent(job.state)
    if wish.end > now:
        raise InvalidError([Fault("#/to", "is still to come: a backfill is of the past, give no later time than now")])
    try:
        named = await asyncio.to_thread(_named, job, wish)
        async with api.database.connection() as connection:
            # No more than what is named, or so.
            known = await backfill.find_known(connection, job_id, wish.start, wish.end)
        return _Choice(job.version, await asyncio.to_thread(choose, named, known, wish.only))
    except TooManyError as error:  # for this job as its schedule is now: the same range is right for another
        raise Problem(409, "conflict", detail=str(error)) from error


def _named(job: JobRow, wish: _Wish) -> list[datetime]:
    schedule = recurring_of(job)
    if schedule is not None:
        return list(named_between(schedule, wish.start, wish.end))
    moment = parse_oneoff(job.schedule_oneoff or "", job.timezone)
    return [moment] if wish.start <= moment < wish.end else []


async def _still_wanted(held: HeldJob, wish: _Wish, choice: _Choice) -> list[datetime]:
    """Return what is wanted now that no other backfill comes between: of what was chosen, and nothing else."""
    check_is_sent(held.job.state)
    if held.job.version != choice.version:
        raise Problem(409, "conflict", detail="the job was changed while its occurrences were chosen: send it again")
    known = await backfill.find_known(held.connection, held.job.job_id, wish.start, wish.end, of=choice.instants)
    return choose(choice.instants, known, wish.only)


def _view(job_id: UUID, wish: _Wish, backfill_id: UUID, instants: list[datetime]) -> dict[str, Any]:
    runs: list[dict[str, Any]] = [{"scheduled_for": timestamp(instant)} for instant in instants]
    if not wish.dry_run:
        for run, instant in zip(runs, instants, strict=True):
            run["run_id"] = str(backfill.run_id(job_id, instant, backfill_id))
    return {
        "job_id": str(job_id),
        "from": timestamp(wish.start),
        "to": timestamp(wish.end),
        "only": wish.only,
        "overlap": wish.overlap,
        "dry_run": wish.dry_run,
        "count": len(instants),
        "runs": runs,
    }


def _checked(api: ApiParts, body: object) -> _Wish:
    """Return what is wanted. Raises `InvalidError` with every fault (criterion E2)."""
    faults = api.contract.faults("Backfill", body)
    if not isinstance(body, Mapping):
        raise InvalidError(faults or [Fault("#", "must be a JSON object")])
    of_meaning: list[Fault] = []
    moments: dict[str, datetime] = {}
    for name in ("from", "to"):
        try:
            if isinstance(text := body.get(name), str):
                moments[name] = parse_oneoff(text, None)
        except ScheduleError as error:
            of_meaning.append(Fault(f"#/{name}", str(error)))
    if len(moments) == len(("from", "to")) and moments["to"] <= moments["from"]:
        of_meaning.append(Fault("#/to", "must be later than from"))
    if faults or of_meaning:
        raise InvalidError(together(faults, of_meaning))
    said = cast("Mapping[str, Any]", body)
    return _Wish(
        moments["from"],
        moments["to"],
        Only(said.get("only", Only.MISSING)),
        BackfillOverlap(said.get("overlap", BackfillOverlap.QUEUE_ALL)),
        bool(said.get("dry_run", False)),
    )
