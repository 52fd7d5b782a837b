"""Clients of our own token endpoint: made, rotated, revoked; criterion O8."""

from typing import Any

from harness import Api, Node, seen_within


async def make(node: Node, *scopes: str, api: Api | None = None) -> dict[str, Any]:
    """Return a client, with its secret."""
    body = {"name": "reports", "scopes": list(scopes)}
    answer = await (api or node.api).call("POST", "/v1/clients", body)
    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    return answer.json


async def grant(node: Node, client: dict[str, Any]) -> int:
    """Return what the token endpoint answers to a client."""
    form = {"grant_type": "client_credentials", "client_id": client["client_id"]}
    async with node.api.session.post(
        f"{node.url}/oauth/token", data=form | {"client_secret": client["client_secret"]}
    ) as answer:
        return answer.status


async def test_o8_a_client_is_made_and_its_secret_is_shown_once(node: Node) -> None:
    """The answer to the create has the secret; no later one has, and the list neither."""
    client = await make(node, "jobs:read")
    assert client["client_secret"].startswith("cws_")
    assert await grant(node, client) == 200
    read = (await node.api.call("GET", f"/v1/clients/{client['client_id']}")).json
    assert read == {name: value for name, value in client.items() if name != "client_secret"}
    listed = (await node.api.call("GET", "/v1/clients?page_size=200")).json["items"]
    assert read in listed
    assert all("client_secret" not in entry for entry in listed)


async def test_o8_a_rotated_secret_is_no_more(node: Node) -> None:
    """From the answer on the new secret gives tokens, and the old one none."""
    before = await make(node, "jobs:read")
    answer = await node.api.call("POST", f"/v1/clients/{before['client_id']}/rotate")
    after = answer.json
    assert (answer.status, await grant(node, before), await grant(node, after)) == (200, 401, 200)


async def test_a_revoked_clients_token_opens_nothing_within_five_seconds(node: Node) -> None:
    """A8 for tokens: revoked, it gets no token, and the one that it has is refused; repeating the revoke is fine."""
    client = await make(node, "jobs:read")
    api = await node.with_credentials(client["client_id"], client["client_secret"])
    assert (await api.call("GET", "/v1/jobs")).status == 200
    for _ in range(2):
        assert (await node.api.call("DELETE", f"/v1/clients/{client['client_id']}")).status == 204
    assert await grant(node, client) == 401

    async def status() -> int:
        return (await api.call("GET", "/v1/jobs")).status

    await seen_within(5.0, 401, status)
    refused = await api.call("GET", "/v1/jobs")
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


async def test_nobody_revokes_itself(node: Node) -> None:
    """409: the last administrator would lock everybody out."""
    api = await node.client()
    (me,) = {entry["principal"] for entry in await _own_entries(node, api)}
    assert (await api.call("DELETE", f"/v1/{me}")).status == 409
    assert (await node.api.call("DELETE", f"/v1/{me}")).status == 204


async def _own_entries(node: Node, api: Api) -> list[dict[str, Any]]:
    """Return what is on record of a client: one change."""
    assert (await api.call("PUT", "/v1/calendars/mine", {})).status == 201
    return (await node.api.call("GET", "/v1/audit-log?resource=calendars/mine")).json["items"]


async def test_what_is_wrong_with_a_client_is_said(node: Node) -> None:
    """E2: an unknown scope, a name of strange characters."""
    answer = await node.api.call("POST", "/v1/clients", {"name": "a b", "scopes": ["everything"]})
    assert answer.status == 400
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["#/name", "#/scopes/0"]
