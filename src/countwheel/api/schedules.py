"""`POST /v1/schedules:preview`: what a schedule means and does, before any job has it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.body import read_json
from countwheel.api.parameters import Parameters
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.errors import Fault, InvalidError, ScheduleError, together
from countwheel.domain.job import find_schedule_faults
from countwheel.domain.preview import Fire, preview, preview_once
from countwheel.domain.schedule import Recurring, parse_recurring
from countwheel.domain.terms import read_terms
from countwheel.domain.timestamp import parse_oneoff
from countwheel.domain.zones import zone

_DEFAULT_COUNT = 10
_NO_ENTROPY = bytes(10)


async def preview_schedule(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Say what a schedule means, when it fires next, and what the clock changes in between do to it."""
    del principal  # whoever may read jobs may ask; nothing of anybody's is shown
    Parameters(request)
    body = await read_json(request, api.settings.max_body_bytes)
    faults = api.contract.faults("SchedulePreview", body)
    if not isinstance(body, Mapping):
        raise InvalidError(faults or [Fault("#", "must be a JSON object")])
    after = _begin(body, api.clock.now(), faults)
    job_id = UUID(body["job_id"]) if "job_id" in body and not faults else ids.job_id(after, _NO_ENTROPY)
    of_meaning, first = find_schedule_faults(body, job_id, now=after)
    if faults or of_meaning or first is None:
        raise InvalidError(together(faults, of_meaning))
    if "schedule_oneoff" in body:
        place, found = body.get("timezone", "UTC"), preview_once(first)
    else:
        schedule = _schedule(body, job_id)
        place, found = schedule.timezone, preview(schedule, after, body.get("count", _DEFAULT_COUNT))
    answer = {
        "meaning": found.meaning,
        "timezone": place,
        "fires": [_fire(fire, place, body.get("display_timezone")) for fire in found.fires],
        "clock_changes": [{"at": timestamp(change.at), "effect": change.effect} for change in found.clock_changes],
        "warnings": list(found.warnings),
    }
    return json_answer(answer, 200)


def _begin(body: Mapping[str, Any], now: datetime, faults: list[Fault]) -> datetime:
    """Return from when on is asked. Adds a fault where that is no instant."""
    if not isinstance(text := body.get("from"), str):
        return now
    try:
        return parse_oneoff(text, None)
    except ScheduleError as error:
        faults[:] = together(faults, [Fault("#/from", str(error))])
        return now


def _schedule(body: Mapping[str, Any], job_id: UUID) -> Recurring:
    return parse_recurring(body["schedule_recurring"], body.get("timezone"), job_id, read_terms(body))


def _fire(fire: Fire, place: str, display: str | None) -> dict[str, Any]:
    view: dict[str, Any] = {"at": timestamp(fire.instant), "local": _local(fire.instant, place), "note": fire.note}
    return view if display is None else view | {"display": _local(fire.instant, display)}


def _local(instant: datetime, place: str) -> str:
    return instant.astimezone(zone(place)).isoformat(timespec="milliseconds")
