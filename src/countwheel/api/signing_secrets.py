"""`/v1/signing-secrets`: what signs a tenant's calls, and its rotation. A secret is shown once, when it is made."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.body import read_optional_json
from countwheel.api.parameters import Parameters, path_uuid
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.replay import only_once
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.delivery.signing import SECRET_BYTES, format_public_key, format_secret, public_key_of
from countwheel.domain import ids
from countwheel.domain.calling import Signature
from countwheel.store import signing_keys
from countwheel.store.signing_keys import SigningKeyRow

_MOST_AT_ONCE = 5
"""So many of a scheme sign at a time: each is a signature in every call."""

_OVERLAP_SECONDS = 86_400.0
_ENTROPY_BYTES = 10


async def list_signing_secrets(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/signing-secrets`: everything that signs now, newest first; of what is secret only when it was made."""
    Parameters(request)
    items = [_view(row) for row in await _find(api, principal.tenant_id)]
    keys_url = f"{api.issuer.issuer_url}/v1/tenants/{principal.tenant_id}/signing-keys"
    return json_answer({"items": items, "public_keys_url": keys_url}, 200)


async def list_public_keys(api: ApiParts, request: Request) -> Response:
    """`GET /v1/tenants/{tenantId}/signing-keys`: the public keys, for whoever verifies. Of no tenant there are none."""
    Parameters(request)
    rows = await _find(api, path_uuid(request, "tenantId"))
    keys = [_view(row) for row in rows if row.public_key is not None]
    return json_answer({"keys": keys}, 200, {"Cache-Control": "public, max-age=300"})


async def rotate_signing_secret(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`POST /v1/signing-secrets:rotate`: a new one signs; what signed so far signs on for a while."""
    Parameters(request)
    said = api.contract.checked("Rotation", await read_optional_json(request, api.settings.max_body_bytes))
    scheme = str(said.get("scheme", Signature.SHARED_SECRET))
    overlap = timedelta(seconds=said.get("overlap_seconds", _OVERLAP_SECONDS))
    await only_once(api, request, principal)
    secret = api.chance.token_bytes(SECRET_BYTES)
    async with api.database.transaction() as connection:
        now = await signing_keys.lock(connection, principal.tenant_id)
        rows = await signing_keys.find(connection, [principal.tenant_id])
        signing = [row for row in rows if row.scheme == scheme]
        if len(signing) >= _MOST_AT_ONCE:
            detail = f"{_MOST_AT_ONCE} of this scheme sign already: wait until one of them has expired"
            raise Problem(409, "conflict", detail=detail)
        row = SigningKeyRow(
            tenant_id=principal.tenant_id,
            secret_id=ids.job_id(now, api.chance.token_bytes(_ENTROPY_BYTES)),
            scheme=scheme,
            sealed=b"",
            public_key=None if scheme == Signature.SHARED_SECRET else public_key_of(secret),
            created_at=now,
            expires_at=None,
        )
        kept_as = ids.job_id(now, api.chance.token_bytes(_ENTROPY_BYTES))
        fresh = row.holding(api.sealer, secret)
        await signing_keys.rotate(
            connection, api.sealer, fresh, signing_so_far=signing, kept_as=kept_as, overlap=overlap
        )
    shown = {"secret": format_secret(secret)} if scheme == Signature.SHARED_SECRET else {}
    return json_answer(_view(fresh) | shown, 201, {"Cache-Control": "no-store"})


async def _find(api: ApiParts, tenant_id: UUID) -> list[SigningKeyRow]:
    async with api.database.connection() as connection:
        return await signing_keys.find(connection, [tenant_id])


def _view(row: SigningKeyRow) -> dict[str, Any]:
    return {
        "secret_id": None if row.secret_id is None else str(row.secret_id),
        "scheme": row.scheme,
        "public_key": None if row.public_key is None else format_public_key(row.public_key),
        "created_at": timestamp(row.created_at),
        "expires_at": timestamp(row.expires_at),
    }
