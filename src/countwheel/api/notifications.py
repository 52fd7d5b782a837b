"""`/v1/notifications`: who is told of the end of a run where its job does not say."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.body import read_json
from countwheel.api.parameters import Parameters
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp
from countwheel.auth.principal import Principal
from countwheel.domain.errors import Fault, InvalidError, together
from countwheel.domain.target import find_target_faults
from countwheel.store import notices
from countwheel.store.notices import DefaultsRow

_FIELDS = ("on_failure", "on_success")


async def read_notifications(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`GET /v1/notifications`."""
    Parameters(request)
    async with api.database.connection() as connection:
        row = await notices.read_defaults(connection, principal.tenant_id)
    return json_answer(_view(row), 200)


async def put_notifications(api: ApiParts, request: Request, principal: Principal) -> Response:
    """`PUT /v1/notifications`: for what is claimed from now on. What is left out, or null, nobody is told."""
    Parameters(request)
    body = await read_json(request, api.settings.max_body_bytes)
    faults = api.contract.faults("Notifications", body)
    if not isinstance(body, Mapping):
        raise InvalidError(faults or [Fault("#", "must be a JSON object")])
    if faults := together(faults, list(find_target_faults(body, _FIELDS, api.target_refusal))):
        raise InvalidError(faults)
    async with api.database.connection() as connection:
        row = await notices.put_defaults(
            connection, principal.tenant_id, on_failure=body.get("on_failure"), on_success=body.get("on_success")
        )
    return json_answer(_view(row), 200)


def _view(row: DefaultsRow) -> dict[str, Any]:
    return {"on_failure": row.on_failure, "on_success": row.on_success, "updated_at": timestamp(row.updated_at)}
