"""`/v1/calendars`: days and times that jobs leave out, under a name that many of them share."""

from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer, page_answer
from countwheel.api.body import read_json
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_name
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.views import calendar as view_of
from countwheel.auth.principal import Principal
from countwheel.domain.errors import Fault, InvalidError, ScheduleError, together
from countwheel.domain.exclusion import Exclusion, read_exclusion, write_exclusion
from countwheel.store import calendars
from countwheel.store.calendars import ChangedCalendar

_CARRIED_AT_ONCE = 200
"""So many jobs get a changed calendar before the answer; the nodes carry it to the others."""


async def put_calendar(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`PUT /v1/calendars/{name}`: make it what the body says; safe to repeat. Jobs that name it are planned anew."""
    Parameters(request)
    name = _name(api, request)
    body, exclusion = _checked(api, await read_json(request, api.settings.max_body_bytes))
    async with api.database.connection() as connection:
        created = await calendars.put(
            connection, principal.tenant_id, name, write_exclusion(exclusion), body.get("description")
        )
        rows = await calendars.read(connection, principal.tenant_id, name=name)
    for row in rows:
        changed = ChangedCalendar(principal.tenant_id, name, row.version, row.exclusion)
        if await calendars.carry(api.database, changed, _CARRIED_AT_ONCE) < _CARRIED_AT_ONCE:
            await calendars.carry(api.database, changed, 1)  # none is behind: it is in force
    location = {"Location": f"/v1/calendars/{name}"} if created else {}
    return json_answer(await _read(api, principal, name), 201 if created else 200, location)


async def read_calendar(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/calendars/{name}`."""
    Parameters(request)
    return json_answer(await _read(api, principal, _name(api, request)), 200)


async def list_calendars(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/calendars`: by name."""
    page = Parameters(request, "page_size", "page_token").page()
    async with api.database.connection() as connection:
        rows = await calendars.read(connection, principal.tenant_id, after=page.last, limit=page.size + 1)
    return page_answer(request, page, rows, view_of, lambda row: row.name)


async def delete_calendar(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`DELETE /v1/calendars/{name}`: refused as long as a job names it."""
    Parameters(request)
    name = _name(api, request)
    async with api.database.transaction() as connection:
        if await calendars.is_named(connection, principal.tenant_id, name):
            raise Problem(409, "conflict", detail="jobs name this calendar: take it out of their exclude first")
        if not await calendars.delete(connection, principal.tenant_id, name):
            raise not_found("calendar")
    return Response(status_code=204)


async def _read(api: ApiParts, principal: Principal, name: str) -> dict[str, Any]:
    async with api.database.connection() as connection:
        rows = await calendars.read(connection, principal.tenant_id, name=name)
    if not rows:
        raise not_found("calendar")
    return view_of(rows[0])


def _name(api: ApiParts, request: Request) -> str:
    return path_name(request, api.contract, "CalendarName")


def _checked(api: ApiParts, body: object) -> tuple[Mapping[str, Any], Exclusion]:
    """Return what a body leaves out. Raises `InvalidError` with every fault (criterion E2)."""
    faults = api.contract.faults("Calendar", body)
    if not isinstance(body, Mapping):
        raise InvalidError(faults or [Fault("#", "must be a JSON object")])
    of_meaning: list[Fault] = []
    exclusion = Exclusion()
    try:
        exclusion = read_exclusion(body)
    except ScheduleError as error:
        of_meaning.append(Fault(f"#/{error.field}", str(error)))
    if faults or of_meaning:
        raise InvalidError(together(faults, of_meaning))
    return cast("Mapping[str, Any]", body), exclusion
