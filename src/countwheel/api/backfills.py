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
from countwheel.api.replay import REPLAYED, find_answer
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.backfill import BackfillOverlap, Only, TooManyError, choose, named_between
from countwheel.domain.errors import Fault, InvalidError, ScheduleError, together
from countwheel.domain.job import compact_json
from countwheel.domain.schedule import recurring_of
from countwheel.domain.timestamp import parse_oneoff
from countwheel.store import backfill, idempotency
from countwheel.store.changes import JobChange, changing
from countwheel.store.idempotency import KeyedAnswer

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


async def backfill_job(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Run those occurrences of a range that are wanted; once for each key (criterion I1)."""
    Parameters(request)
    job_id = path_uuid(request, "jobId")
    wish = _checked(api, await read_json(request, api.settings.max_body_bytes))
    key = read_wanted_key(request, required=api.settings.require_idempotency_key and not wish.dry_run)
    fingerprint = wish.fingerprint(job_id)
    if not wish.dry_run:
        await api.quotas.take_run(principal.tenant_id)
    async with changing(api.database, principal.tenant_id, job_id) as change:
        if change is None:
            raise not_found("job")
        check_is_sent(change)
        instants = await _choose(change, wish)
        backfill_id = ids.job_id(api.clock.now(), api.chance.token_bytes(_ENTROPY_BYTES))
        answer = compact_json(_view(change, wish, backfill_id, instants))
        if wish.dry_run:
            return json_answer(answer, 200)
        keyed = KeyedAnswer(key, fingerprint, answer)
        created = await backfill.create(change, backfill_id, instants, wish.overlap, keyed)
    if created:
        await api.quotas.charge_runs(principal.tenant_id, max(0, len(instants) - 1))
        return json_answer(answer, 201)
    stored = await find_answer(api, idempotency.BACKFILL_JOB, principal.tenant_id, key, fingerprint)
    return json_answer(stored, 201, REPLAYED)


async def _choose(change: JobChange, wish: _Wish) -> list[datetime]:
    if wish.end > change.job.now:
        raise InvalidError([Fault("#/to", "is still to come: a backfill is of the past, give no later time than now")])
    try:
        named = await _named(change, wish)
        known = await backfill.find_known(change, wish.start, wish.end)  # no more than what is named, or so
        return choose(named, known, wish.only)
    except TooManyError as error:  # for this job as its schedule is now: the same range is right for another
        raise Problem(409, "conflict", detail=str(error)) from error


async def _named(change: JobChange, wish: _Wish) -> list[datetime]:
    schedule = recurring_of(change.job)
    if schedule is not None:
        # In a thread: a long range of a dense schedule is a second of work, and calls are due meanwhile.
        return await asyncio.to_thread(list, named_between(schedule, wish.start, wish.end))
    moment = parse_oneoff(change.job.schedule_oneoff or "", change.job.timezone)
    return [moment] if wish.start <= moment < wish.end else []


def _view(change: JobChange, wish: _Wish, backfill_id: UUID, instants: list[datetime]) -> dict[str, Any]:
    job_id = change.job.job_id
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
