"""Every operation of the contract against everybody who may come: exactly the status that is expected, no other."""

from dataclasses import dataclass

from countwheel.api.app import OPERATIONS
from countwheel.api.routing import Guarded, Open, Signed
from countwheel.auth.actions import ACTIONS
from countwheel.auth.principal import ALL_SCOPES
from harness import Api, Node

ID = "00000000-0000-8000-8000-000000000000"
PARAMETERS = {"jobId": ID, "runId": ID, "tenantId": ID, "principalId": ID, "name": "nothing", "clientId": "nobody"}
PARAMETERS |= {"accessKeyId": "CWAKNOTHINGNOTHING00"}


@dataclass(frozen=True)
class Row:
    """What an operation answers to somebody who may call it, about what is not there, or with an empty body."""

    path: str
    method: str
    allowed: int
    operators_only: bool = False

    def __str__(self) -> str:
        """Return it as the test's id."""
        return f"{self.method} {self.path}"

    @property
    def served(self) -> Guarded | Signed:
        """The operation."""
        served = OPERATIONS[self.path][self.method]
        assert not isinstance(served, Open)
        return served

    @property
    def url(self) -> str:
        """The path, filled in with what is not there."""
        return self.path.format_map(PARAMETERS)


ROWS = [
    Row("/v1/jobs", "GET", 200),
    Row("/v1/jobs", "POST", 400),
    Row("/v1/jobs:pause", "POST", 400),
    Row("/v1/jobs:resume", "POST", 400),
    Row("/v1/jobs:delete", "POST", 400),
    Row("/v1/jobs:run", "POST", 400),
    Row("/v1/jobs/{jobId}", "GET", 404),
    Row("/v1/jobs/{jobId}", "PUT", 400),
    Row("/v1/jobs/{jobId}", "PATCH", 404),
    Row("/v1/jobs/{jobId}", "DELETE", 404),
    Row("/v1/jobs/{jobId}/pause", "POST", 404),
    Row("/v1/jobs/{jobId}/resume", "POST", 404),
    Row("/v1/jobs/{jobId}/versions", "GET", 404),
    Row("/v1/jobs/{jobId}/backfill", "POST", 400),
    Row("/v1/jobs/{jobId}/audit", "GET", 404),
    Row("/v1/jobs/{jobId}/run/", "GET", 404),
    Row("/v1/jobs/{jobId}/run/", "POST", 404),
    Row("/v1/jobs/{jobId}/run/{runId}/", "GET", 404),
    Row("/v1/jobs/{jobId}/run/{runId}/", "DELETE", 404),
    Row("/v1/jobs/{jobId}/run/{runId}/retry", "POST", 404),
    Row("/v1/jobs/{jobId}/run/{runId}/resolve", "POST", 400),
    Row("/v1/jobs/{jobId}/run/{runId}/complete", "POST", 400),
    Row("/v1/jobs/{jobId}/run/{runId}/heartbeat", "POST", 404),
    Row("/v1/jobs/{jobId}/run/{runId}/redrive", "POST", 404),
    Row("/v1/runs", "GET", 200),
    Row("/v1/runs:redrive", "POST", 400),
    Row("/v1/failures", "GET", 200),
    Row("/v1/notifications", "GET", 200),
    Row("/v1/notifications", "PUT", 200),
    Row("/v1/calendars", "GET", 200),
    Row("/v1/calendars/{name}", "GET", 404),
    Row("/v1/calendars/{name}", "PUT", 201),
    Row("/v1/calendars/{name}", "DELETE", 204),
    Row("/v1/secrets", "GET", 200),
    Row("/v1/secrets/{name}", "GET", 404),
    Row("/v1/secrets/{name}", "PUT", 400),
    Row("/v1/secrets/{name}", "DELETE", 404),
    Row("/v1/signing-secrets", "GET", 200),
    Row("/v1/signing-secrets:rotate", "POST", 201),
    Row("/v1/targets", "GET", 200),
    Row("/v1/targets/{name}", "GET", 404),
    Row("/v1/targets/{name}", "PUT", 400),
    Row("/v1/targets/{name}", "DELETE", 404),
    Row("/v1/targets/{name}/pause", "POST", 200),
    Row("/v1/targets/{name}/resume", "POST", 200),
    Row("/v1/schedules:preview", "POST", 400),
    Row("/v1/schedules:simulate", "POST", 400),
    Row("/v1/forecast", "GET", 200),
    Row("/v1/nodes", "GET", 200, operators_only=True),
    Row("/v1/clients", "GET", 200),
    Row("/v1/clients", "POST", 400),
    Row("/v1/clients/{clientId}", "GET", 404),
    Row("/v1/clients/{clientId}", "DELETE", 404),
    Row("/v1/clients/{clientId}/rotate", "POST", 404),
    Row("/v1/principals", "GET", 200),
    Row("/v1/principals", "POST", 400),
    Row("/v1/principals/{principalId}", "GET", 404),
    Row("/v1/principals/{principalId}", "DELETE", 404),
    Row("/v1/principals/{principalId}/access-keys", "GET", 404),
    Row("/v1/principals/{principalId}/access-keys", "POST", 404),
    Row("/v1/principals/{principalId}/access-keys/{accessKeyId}", "DELETE", 404),
    Row("/v1/policies", "GET", 200),
    Row("/v1/policies:simulate", "POST", 400),
    Row("/v1/policies/{name}", "GET", 404),
    Row("/v1/policies/{name}", "PUT", 400),
    Row("/v1/policies/{name}", "DELETE", 404),
    Row("/v1/policies/{name}/attach", "POST", 400),
    Row("/v1/policies/{name}/detach", "POST", 400),
    Row("/v1/tenants", "GET", 200),
    Row("/v1/tenants", "POST", 400, operators_only=True),
    Row("/v1/tenants/{tenantId}", "GET", 404),
    Row("/v1/tenants/{tenantId}", "PATCH", 404, operators_only=True),
    Row("/v1/tenants/{tenantId}/suspend", "POST", 404, operators_only=True),
    Row("/v1/tenants/{tenantId}/resume", "POST", 404, operators_only=True),
    Row("/v1/audit-log", "GET", 200),
]


async def may_only(node: Node, action: str) -> Api:
    """Return a client without scopes, to which a policy is attached that allows one action."""
    name = action.replace(":", ".")
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": action, "Resource": "*"}}
    answer = await node.api.call("PUT", f"/v1/policies/{name}", {"document": document})
    assert answer.status == 201, answer.body
    made = (await node.api.call("POST", "/v1/clients", {"name": name, "scopes": []})).json
    holder = {"holder": f"clients/{made['client_id']}"}
    assert (await node.api.call("POST", f"/v1/policies/{name}/attach", holder)).status == 200
    return await node.with_credentials(made["client_id"], made["client_secret"])


async def ask(api: Api, row: Row) -> int:
    """Return the status that a row's operation answers."""
    return (await api.call(row.method, row.url, None if row.method in {"GET", "DELETE"} else {})).status


def test_every_operation_has_its_row() -> None:
    """An operation that is new needs a row here; a row whose operation has gone needs none."""
    guarded = {
        (path, method)
        for path, operations in OPERATIONS.items()
        for method, operation in operations.items()
        if not isinstance(operation, Open)
    }
    assert {(row.path, row.method) for row in ROWS} == guarded
    assert {row.served.action for row in ROWS} == ACTIONS.keys(), "an action that no operation takes is none"


async def test_e3_without_a_good_token_nobody_is_let_in(node: Node) -> None:
    """No token, and one that opens nothing: 401, whatever is asked for."""
    bad = Api(node.nobody.session, node.url, "e30.e30.e30")
    found = {str(row): (await ask(node.nobody, row), await ask(bad, row)) for row in ROWS}
    assert found == {str(row): (401, 401) for row in ROWS}


async def test_each_scope_opens_its_own_operations(node: Node) -> None:
    """With its scope alone an operation answers, and with all the others together it does not."""
    having = {scope: await node.client(scopes=frozenset({scope})) for scope in sorted(ALL_SCOPES)}
    lacking = {scope: await node.client(scopes=ALL_SCOPES - {scope}) for scope in sorted(ALL_SCOPES)}
    for row in ROWS:
        scope = ACTIONS[row.served.action]
        found = {name: await ask(api, row) for name, api in having.items()}
        assert (str(row), found) == (str(row), {name: row.allowed if name == scope else 403 for name in having})
        assert (str(row), await ask(lacking[scope], row)) == (str(row), 403)


async def test_a7_each_action_opens_its_own_operations(node: Node) -> None:
    """With a policy for its action an operation answers, and with one for any other action it does not."""
    having = {action: await may_only(node, action) for action in ACTIONS}
    for row in ROWS:
        found = {action: await ask(api, row) for action, api in having.items()}
        expected = {action: row.allowed if action == row.served.action else 403 for action in ACTIONS}
        assert (str(row), found) == (str(row), expected)


async def test_e4_another_tenant_finds_nothing(node: Node) -> None:
    """With every scope, from another tenant: as if nothing were there; what is the operators' is refused."""
    elsewhere = await node.client(tenant="elsewhere")
    found = {str(row): await ask(elsewhere, row) for row in ROWS}
    assert found == {str(row): 403 if row.operators_only else row.allowed for row in ROWS}


async def test_e4_what_is_anothers_looks_like_what_is_not_there(node: Node) -> None:
    """Real ids of one tenant, asked for by another with every scope: the very answer that an unknown id gets."""
    elsewhere = await node.client(tenant="elsewhere")
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url="http://127.0.0.1:9/")
    client = (await node.api.call("POST", "/v1/clients", {"name": "c", "scopes": []})).json["client_id"]
    principal = (await node.api.call("POST", "/v1/principals", {"name": "p"})).json["principal_id"]
    key = (await node.api.call("POST", f"/v1/principals/{principal}/access-keys")).json["access_key_id"]
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    await node.api.call("PUT", "/v1/policies/own", {"document": document})
    await node.api.call("PUT", "/v1/calendars/own", {})
    await node.api.call("PUT", "/v1/secrets/own", {"value": "x"})
    real = {"jobId": job["job_id"], "runId": job["next_run"]["run_id"], "clientId": client, "principalId": principal}
    real |= {"accessKeyId": key, "tenantId": (await node.api.call("GET", "/v1/tenants")).json["items"][-1]["tenant_id"]}
    for row in ROWS:
        if row.allowed != 404 or row.operators_only:
            continue
        at_real = row.path.format_map(real | {"name": "own"})
        body = None if row.method in {"GET", "DELETE"} else {}
        there = await elsewhere.call(row.method, at_real, body)
        nowhere = await elsewhere.call(row.method, row.url, body)
        told = [
            {name: value for name, value in answer.json.items() if name != "instance"} for answer in (there, nowhere)
        ]
        assert (str(row), there.status, told[0]) == (str(row), nowhere.status, told[1])
