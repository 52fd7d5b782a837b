"""`/v1/secrets`: values that calls need, under a name that jobs give; they can be written, and never read back."""

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer, page_answer
from countwheel.api.body import read_json
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_name
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.store import secrets
from countwheel.store.secrets import SecretRow


async def put_secret(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`PUT /v1/secrets/{name}`: make it, or give it another value, which calls use within seconds."""
    Parameters(request)
    name = _name(api, request)
    value = api.contract.checked("Secret", await read_json(request, api.settings.max_body_bytes))["value"]
    async with api.database.connection() as connection:
        created = await secrets.put(connection, api.sealer, principal.tenant_id, name, value)
    location = {"Location": f"/v1/secrets/{name}"} if created else {}
    return json_answer(await _read(api, principal.tenant_id, name), 201 if created else 200, location)


async def read_secret(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/secrets/{name}`: that it is there, and since when it has its value."""
    Parameters(request)
    return json_answer(await _read(api, principal.tenant_id, _name(api, request)), 200)


async def list_secrets(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/secrets`: by name."""
    page = Parameters(request, "page_size", "page_token").page()
    async with api.database.connection() as connection:
        rows = await secrets.read(connection, principal.tenant_id, after=page.last, limit=page.size + 1)
    return page_answer(request, page, rows, _view, lambda row: row.name)


async def delete_secret(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`DELETE /v1/secrets/{name}`: refused as long as a job names it."""
    Parameters(request)
    name = _name(api, request)
    async with api.database.transaction() as connection:
        if await secrets.is_named(connection, principal.tenant_id, name):
            raise Problem(409, "conflict", detail="jobs name this secret: take it out of them first")
        if not await secrets.delete(connection, principal.tenant_id, name):
            raise not_found("secret")
    return Response(status_code=204)


async def _read(api: ApiParts, tenant_id: UUID, name: str) -> dict[str, Any]:
    async with api.database.connection() as connection:
        rows = await secrets.read(connection, tenant_id, name=name)
    if not rows:
        raise not_found("secret")
    return _view(rows[0])


def _view(row: SecretRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "created_at": timestamp(row.created_at),
        "updated_at": timestamp(row.updated_at),
    }


def _name(api: ApiParts, request: Request) -> str:
    return path_name(request, api.contract, "SecretName")
