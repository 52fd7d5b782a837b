"""`/oauth/*`: our own token endpoint, its keys and its metadata (criterion O8)."""

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.attempts import begin_attempt
from countwheel.api.body import read_bytes
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.auth.clients import Client, secret_matches
from countwheel.auth.issuer import TokenError, read_token_request
from countwheel.store import clients

_MAX_BODY_BYTES = 16_384
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


async def issue_token(api: ApiParts, request: Request) -> Response:
    """`POST /oauth/token`: client credentials (RFC 6749 §4.4)."""
    body = await read_bytes(request, _MAX_BODY_BYTES)
    try:
        asked = read_token_request(request.headers.get("authorization"), request.headers.get("content-type"), body)
        attempt = begin_attempt(api, request, asked.client_id)
        client = await _find_client(api, asked.client_id)
        if client is None or not secret_matches(client, asked.client_secret):
            secret_matches(None, asked.client_secret)  # as slow for an unknown client
            attempt.failed()
            raise TokenError("invalid_client", "unknown client or wrong secret", 401)
        attempt.succeeded()
        grant = api.issuer.grant(client, asked.scope)
    except TokenError as error:
        raise _problem(error) from error
    answer = {
        "access_token": grant.access_token,
        "token_type": grant.token_type,
        "expires_in": grant.expires_in,
        "scope": grant.scope,
    }
    return json_answer(answer, 200, _NO_STORE)


async def read_keys(api: ApiParts, _request: Request) -> Response:
    """`GET /oauth/jwks.json`: the public keys (RFC 7517)."""
    return json_answer(api.issuer.jwks(), 200, {"Cache-Control": "public, max-age=300"})


async def read_issuer(api: ApiParts, _request: Request) -> Response:
    """`GET /.well-known/oauth-authorization-server`: the metadata (RFC 8414)."""
    return json_answer(api.issuer.metadata(), 200, {"Cache-Control": "public, max-age=300"})


async def read_provider(api: ApiParts, _request: Request) -> Response:
    """`GET /.well-known/openid-configuration`: for targets that verify the tokens which calls bring (`oidc`)."""
    return json_answer(api.issuer.provider_metadata(), 200, {"Cache-Control": "public, max-age=300"})


async def _find_client(api: ApiParts, client_id: str) -> Client | None:
    async with api.database.connection() as connection:
        row = await clients.find(connection, client_id)
    if row is None:
        return None
    return Client(row.client_id, row.tenant_id, row.secret_hash, row.scopes, row.name)


def _problem(error: TokenError) -> Problem:
    headers = dict(_NO_STORE)
    if error.status == 401:  # noqa: PLR2004 (the status is the name)
        headers["WWW-Authenticate"] = 'Basic realm="countwheel"'
    members = {"error": error.code, "error_description": error.description}
    return Problem(error.status, "invalid-token-request", detail=error.description, headers=headers, members=members)
