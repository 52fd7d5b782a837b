"""`/v1/principals/{principalId}/access-keys`: what a principal signs its requests with. A secret is shown once."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.body import read_optional_json
from countwheel.api.clients import SHOWN_ONCE
from countwheel.api.jobs import not_found
from countwheel.api.parameters import Parameters, instant_at, path_name, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.replay import only_once
from countwheel.api.views import timestamp
from countwheel.auth.access_keys import new_access_key_id, new_access_secret
from countwheel.auth.principal import Principal
from countwheel.domain.errors import Fault, InvalidError
from countwheel.store import access_keys, principals
from countwheel.store.access_keys import MOST_ACTIVE, AccessKeyRow, NewAccessKey


async def list_access_keys(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET`: newest first, those that are revoked, too, and when each was last used."""
    Parameters(request)
    principal_id = path_uuid(request, "principalId")
    async with api.database.connection() as connection:
        if not await principals.read(connection, principal.tenant_id, principal_id=principal_id):
            raise not_found("principal")
        rows = await access_keys.read(connection, principal.tenant_id, principal_id)
    return json_answer({"items": [_view(row) for row in rows]}, 200)


async def create_access_key(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST`: a key and its secret. A principal has two at the most, so that one can take the place of the other."""
    Parameters(request)
    principal_id = path_uuid(request, "principalId")
    body = api.contract.checked("NewAccessKey", await read_optional_json(request, api.settings.max_body_bytes))
    expires_at = instant_at(body["expires_at"], "#/expires_at") if "expires_at" in body else None
    if expires_at is not None and expires_at <= api.clock.now():
        raise InvalidError([Fault("#/expires_at", "is in the past")])
    await only_once(api, request, principal)
    key_id, secret = new_access_key_id(api.chance), new_access_secret(api.chance)
    async with api.database.transaction() as connection:
        if not await principals.lock(connection, principal.tenant_id, principal_id):
            raise not_found("principal")
        key = NewAccessKey(key_id, principal_id, principal.tenant_id, secret, expires_at)
        created_at = await access_keys.create(connection, api.sealer, key)
        if created_at is None:
            raise Problem(409, "conflict", detail=f"it has {MOST_ACTIVE} keys that are good: revoke one of them first")
    view = _view(AccessKeyRow(key_id, created_at, expires_at, None, None))
    return json_answer(view | {"secret_access_key": secret}, 201, SHOWN_ONCE)


async def revoke_access_key(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`DELETE`: for good. It opens nothing within five seconds, on every node."""
    Parameters(request)
    principal_id = path_uuid(request, "principalId")
    key_id = path_name(request, api.contract, "AccessKeyId", of="accessKeyId")
    async with api.database.connection() as connection:
        if not await access_keys.revoke(connection, principal.tenant_id, principal_id, key_id):
            raise not_found("access key")
    return Response(status_code=204)


def _view(row: AccessKeyRow) -> dict[str, Any]:
    return {
        "access_key_id": row.access_key_id,
        "created_at": timestamp(row.created_at),
        "expires_at": timestamp(row.expires_at),
        "last_used_at": timestamp(row.last_used_at),
        "revoked_at": timestamp(row.revoked_at),
    }
