"""`/v1/principals`: who signs requests with access keys, or comes with a token of a trusted issuer."""

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer, page_answer
from countwheel.api.body import read_json
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.store import principals
from countwheel.store.principals import Identity, PrincipalRow, TakenIdentityError

_ENTROPY_BYTES = 10


async def list_principals(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/principals`: latest first."""
    page = Parameters(request, "page_size", "page_token").page()
    async with api.database.connection() as connection:
        rows = await principals.read(connection, principal.tenant_id, before=page.before, limit=page.size + 1)
    return page_answer(request, page, rows, _view, lambda row: row.principal_id)


async def create_principal(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/principals`: a principal, which may do nothing until a policy is attached to it."""
    Parameters(request)
    body = api.contract.checked("NewPrincipal", await read_json(request, api.settings.max_body_bytes))
    principal_id = ids.job_id(api.clock.now(), api.chance.token_bytes(_ENTROPY_BYTES))
    identities = [Identity(said["issuer"], said["subject"], said["audience"]) for said in body.get("identities", [])]
    try:
        async with api.database.transaction() as connection:
            if not await principals.create(connection, principal.tenant_id, principal_id, body["name"], identities):
                raise Problem(409, "conflict", detail="there is a principal of this name: choose another one")
    except TakenIdentityError as error:
        detail = "one of the identities is given twice, or is another principal's: a subject is one of them only"
        raise Problem(409, "conflict", detail=detail) from error
    location = {"Location": f"/v1/principals/{principal_id}"}
    return json_answer(await _read(api, principal, principal_id), 201, location)


async def read_principal(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/principals/{principalId}`: with its identities and the policies that are attached to it."""
    Parameters(request)
    return json_answer(await _read(api, principal, path_uuid(request, "principalId")), 200)


async def delete_principal(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`DELETE /v1/principals/{principalId}`: with its keys, which open nothing within five seconds."""
    Parameters(request)
    async with api.database.transaction() as connection:
        if not await principals.delete(connection, principal.tenant_id, path_uuid(request, "principalId")):
            raise not_found("principal")
    return Response(status_code=204)


async def _read(api: ApiParts, principal: Principal, principal_id: UUID) -> dict[str, Any]:
    async with api.database.connection() as connection:
        rows = await principals.read(connection, principal.tenant_id, principal_id=principal_id)
    if not rows:
        raise not_found("principal")
    return _view(rows[0])


def _view(row: PrincipalRow) -> dict[str, Any]:
    return {
        "principal_id": str(row.principal_id),
        "name": row.name,
        "identities": row.identities,
        "policies": row.policies,
        "created_at": timestamp(row.created_at),
    }
