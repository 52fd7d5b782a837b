"""Requests signed with access keys, by the signers that people use, end to end. Criteria A1 to A6 and A8."""

import asyncio
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from countwheel.clock import SystemChance
from countwheel.store.sealing import Sealer, WrongSecretKeyError
from harness import SECRET_KEY, Answer, Node, running_node, seen_within, soon

CURL = shutil.which("curl")
YEARLY = {"schedule_recurring": "0 0 1 1 *", "job_url": "http://127.0.0.1:9/"}
JSON = {"content_type": "application/json"}
EVERYTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


@dataclass(frozen=True)
class Key:
    """An access key as its principal has it."""

    principal_id: str
    access_key_id: str
    secret: str


async def make_principal(node: Node, name: str = "deployer", *, document: Any = EVERYTHING) -> str:
    """Return the id of a principal that may do what `document` allows."""
    made = await node.api.call("POST", "/v1/principals", {"name": name})
    assert made.status == 201, made.body
    principal_id: str = made.json["principal_id"]
    await node.api.call("PUT", f"/v1/policies/{name}", {"document": document})
    holder = {"holder": f"principals/{principal_id}"}
    assert (await node.api.call("POST", f"/v1/policies/{name}/attach", holder)).status == 200
    return principal_id


async def make_key(node: Node, principal_id: str, **body: Any) -> Key:
    answer = await node.api.call("POST", f"/v1/principals/{principal_id}/access-keys", body or None)
    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    return Key(principal_id, answer.json["access_key_id"], answer.json["secret_access_key"])


@pytest.fixture
async def key(node: Node) -> Key:
    return await make_key(node, await make_principal(node))


def signed(key: Key, method: str, url: str, data: bytes = b"", headers: dict[str, str] | None = None) -> AWSRequest:
    """Return a request that botocore has signed."""
    request = AWSRequest(method, url, data=data, headers=headers or {})
    SigV4Auth(Credentials(key.access_key_id, key.secret), "countwheel", "eu-1").add_auth(request)
    return request


async def send(node: Node, request: AWSRequest) -> Answer:
    """Send a request as it was signed."""
    session = node.api.session
    async with session.request(
        request.method,
        URL(request.url, encoded=True),
        data=request.data or None,
        headers=dict(request.headers.items()),
        skip_auto_headers=("Content-Type",),
    ) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


async def call(node: Node, key: Key, method: str, path: str, data: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await send(node, signed(key, method, node.url + path, data, named))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/jobs", 200),
        ("/v1/jobs?page_size=2&status=ACTIVE", 200),
        ("/v1/jobs?status=ACTIVE&page_size=2&label=a:b&label=a:", 200),
        ("/v1/jobs?q=two%20words%20and%20%C3%BCmlaut", 200),
        ("/v1/jobs?q=a%2Bb+c", 200),
        ("/v1/jobs?q=", 400),
        ("/v1/calendars/with%20space", 400),
        ("/v1/calendars/gr%C3%BC%C3%9Fe", 400),
        ("/v1/calendars/bank-holidays", 404),
    ],
)
async def test_a1_botocore_signs_reads(node: Node, key: Key, path: str, status: int) -> None:
    """Query strings, spaces and UTF-8 in paths and queries: let in, and answered as to anybody else."""
    answer = await call(node, key, "GET", path)
    assert (answer.status, answer.body if answer.status != status else b"") == (status, b"")


async def test_a1_botocore_signs_writes(node: Node, key: Key) -> None:
    """A POST with a body in UTF-8, a PATCH, a DELETE."""
    body = '{"schedule_recurring": "0 0 1 1 *", "job_url": "http://127.0.0.1:9/", "name": "grüße"}'.encode()
    job = await call(node, key, "POST", "/v1/jobs", body, content_type="application/json", idempotency_key='"a b"')
    assert (job.status, job.json["name"]) == (201, "grüße")
    path = f"/v1/jobs/{job.json['job_id']}"
    patched = await call(node, key, "PATCH", path, b'{"name": "x"}', content_type="application/json")
    assert (patched.status, patched.json["name"]) == (200, "x")
    assert (await call(node, key, "DELETE", path)).status == 201


@pytest.mark.skipif(CURL is None, reason="there is no curl here: the signer is tried in tests/auth with what it sends")
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["{url}/v1/jobs?page_size=2&status=ACTIVE"], "200"),
        (["-H", "Content-Type: application/json", "-d", '{{"name": "x"}}', "{url}/v1/principals"], "201"),
    ],
)
async def test_a1_curl_signs(node: Node, key: Key, arguments: list[str], status: str) -> None:
    """`curl --aws-sigv4` as its manual has it."""
    process = await asyncio.create_subprocess_exec(
        *(CURL or "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--aws-sigv4", "aws:amz:eu-1:countwheel"),
        *("--user", f"{key.access_key_id}:{key.secret}", *(part.format(url=node.url) for part in arguments)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert output.decode() == status


async def test_whoever_changes_a_signed_request_is_refused(node: Node, key: Key) -> None:
    """A byte of signature, date, body, path or query: 401 with the challenge, and nothing is made."""
    url = f"{node.url}/v1/jobs"
    body = b'{"schedule_recurring": "0 0 1 1 *", "job_url": "http://127.0.0.1:9/"}'
    headers = {"content-type": "application/json"}

    def fresh() -> AWSRequest:
        return signed(key, "POST", url, body, headers)

    def other(text: str, at: int) -> str:
        return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]

    wrong = []
    for at in range(-64, 0, 7):
        request = fresh()
        request.headers.replace_header("Authorization", other(request.headers["Authorization"], at))
        wrong.append(request)
    for change in ("x-amz-date", "content-type"):
        request = fresh()
        request.headers.replace_header(change, other(request.headers[change], -2))
        wrong.append(request)
    request = fresh()
    request.data = body.replace(b"0 0 1 1", b"0 0 2 1")
    wrong.append(request)
    request = fresh()
    request.url += "?"
    request.url += "a=b"
    wrong.append(request)
    request = fresh()
    request.url = f"{node.url}/v1/jobs:run"
    wrong.append(request)
    for number, request in enumerate(wrong):
        answer = await send(node, request)
        assert (number, answer.status) == (number, 401), answer.body
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert (await node.api.call("GET", "/v1/jobs")).json["items"] == []


async def test_a5_an_unknown_key_and_a_bad_signature_look_alike(node: Node, key: Key) -> None:
    """To the letter, but for the request's id."""
    unknown = await call(node, replace(key, access_key_id="CWAKNOTHINGNOTHING00"), "GET", "/v1/jobs")
    bad = await call(node, replace(key, secret="another"), "GET", "/v1/jobs")
    told = [{name: said for name, said in answer.json.items() if name != "instance"} for answer in (unknown, bad)]
    assert (unknown.status, told[0]) == (401, told[1])
    assert unknown.headers["WWW-Authenticate"] == bad.headers["WWW-Authenticate"]


async def test_a6_a_captured_request_makes_no_second_job(node: Node, key: Key) -> None:
    """Sent again within the window, without an Idempotency-Key: the first answer once more, and one job."""
    body = b'{"schedule_recurring": "0 0 1 1 *", "job_url": "http://127.0.0.1:9/"}'
    request = signed(key, "POST", f"{node.url}/v1/jobs", body, {"content-type": "application/json"})
    first, *again = [await send(node, request) for _ in range(3)]
    assert [answer.status for answer in (first, *again)] == [201] * 3
    assert {answer.json["job_id"] for answer in again} == {first.json["job_id"]}
    assert [answer.headers.get("Idempotent-Replayed") for answer in (first, *again)] == [None, "true", "true"]
    job = first.json
    run = signed(key, "POST", f"{node.url}/v1/jobs/{job['job_id']}/run/")
    assert len({(await send(node, run)).json["run_id"] for _ in range(3)}) == 1
    assert len((await node.api.call("GET", "/v1/jobs")).json["items"]) == 1


async def test_a6_a_captured_request_shows_no_secret(node: Node, key: Key) -> None:
    """What makes a secret is done once for each signature: whoever sends it again is shown none, and none is made."""
    client = (await call(node, key, "POST", "/v1/clients", b'{"name": "c", "scopes": []}', **JSON)).json["client_id"]
    asked = [
        ("/v1/clients", b'{"name": "d", "scopes": ["admin"]}'),
        (f"/v1/clients/{client}/rotate", b""),
        (f"/v1/principals/{key.principal_id}/access-keys", b"{}"),
        ("/v1/signing-secrets:rotate", b"{}"),
        ("/v1/tenants", b'{"name": "team-a"}'),
    ]
    for path, body in asked:
        request = signed(key, "POST", node.url + path, body, {"content-type": "application/json"})
        first, again = [await send(node, request) for _ in range(2)]
        assert (path, first.status in {200, 201}, again.status) == (path, True, 409)
        assert "sent before" in again.json["detail"]
    assert len((await node.api.call("GET", "/v1/clients")).json["items"]) == 3


@pytest.mark.parametrize("path", ["/v1//jobs", "/v1/./jobs", "/v1/x/../jobs", "/v1/%2e%2e/jobs", "/v1/a%2Fb"])
async def test_a2_a_path_that_has_two_readings_is_refused(node: Node, key: Key, path: str) -> None:
    """400 where it is signed, whoever asks; to a bearer it is one more path that is not there."""
    request = signed(key, "GET", f"{node.url}/v1/jobs")
    request.url = node.url + path
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(node.url).port)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    writer.write("\r\n".join([f"GET {path} HTTP/1.1", f"host: {URL(node.url).authority}", *lines, "", ""]).encode())
    try:
        answered = await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()
    assert b" 400 " in answered


async def test_policies_apply_to_who_signs(node: Node) -> None:
    """A principal has no scopes: it may what a policy allows, and nothing without one."""
    bare = (await node.api.call("POST", "/v1/principals", {"name": "bare"})).json["principal_id"]
    assert (await call(node, await make_key(node, bare), "GET", "/v1/jobs")).status == 403
    reading = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "jobs:List", "Resource": "jobs/*"}}
    key = await make_key(node, await make_principal(node, "reader", document=reading))
    assert (await call(node, key, "GET", "/v1/jobs")).status == 200
    assert (await call(node, key, "GET", "/v1/runs")).status == 403
    entries = (await node.api.call("GET", f"/v1/audit-log?principal=principals/{key.principal_id}")).json["items"]
    assert [(entry["action"], entry["key_id"]) for entry in entries] == [("runs:List", key.access_key_id)]


async def test_a8_a_principal_has_two_keys_at_the_most(node: Node, key: Key) -> None:
    """The third is refused until one is revoked; lists never show a secret; when it was used is known."""
    second = await make_key(node, key.principal_id)
    path = f"/v1/principals/{key.principal_id}/access-keys"
    assert (await node.api.call("POST", path)).status == 409
    assert (await call(node, second, "GET", "/v1/jobs")).status == 200
    listed = (await node.api.call("GET", path)).json["items"]
    assert [(entry["access_key_id"], entry["last_used_at"] is None) for entry in listed] == [
        (second.access_key_id, False),
        (key.access_key_id, True),
    ]
    assert {"secret_access_key"} & {name for entry in listed for name in entry} == set()
    for _ in range(2):
        assert (await node.api.call("DELETE", f"{path}/{key.access_key_id}")).status == 204
    await make_key(node, key.principal_id)


async def test_a8_a_key_that_signed_nothing_was_not_used(node: Node, key: Key) -> None:
    """Whoever knows its id alone does not make it look as if it were in use."""
    path = f"/v1/principals/{key.principal_id}/access-keys"
    for guess, used in ((replace(key, secret="another"), False), (key, True)):
        await call(node, guess, "GET", "/v1/jobs")
        (listed,) = (await node.api.call("GET", path)).json["items"]
        assert (listed["last_used_at"] is not None) == used


async def test_a8_fifty_at_once_make_no_third_key(node: Node, key: Key) -> None:
    """Those who ask at the same time take turns."""
    path = f"/v1/principals/{key.principal_id}/access-keys"
    answers = await asyncio.gather(*(node.api.call("POST", path) for _ in range(50)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 49


async def test_a8_a_revoked_key_is_refused_on_every_node_within_five_seconds(node: Node, dsn: str, key: Key) -> None:
    """On the node that revoked it and on another that has just let it in; a deleted principal's likewise."""
    async with running_node(dsn) as other:
        assert [(await call(each, key, "GET", "/v1/jobs")).status for each in (node, other)] == [200, 200]
        path = f"/v1/principals/{key.principal_id}/access-keys/{key.access_key_id}"
        assert (await node.api.call("DELETE", path)).status == 204

        async def statuses(key: Key = key) -> list[int]:
            return [(await call(each, key, "GET", "/v1/jobs")).status for each in (node, other)]

        await seen_within(5.0, [401, 401], statuses)
        second = await make_key(node, key.principal_id)
        assert [(await call(each, second, "GET", "/v1/jobs")).status for each in (node, other)] == [200, 200]
        assert (await node.api.call("DELETE", f"/v1/principals/{key.principal_id}")).status == 204

        await seen_within(5.0, [401, 401], lambda: statuses(second))


async def test_an_expired_key_opens_nothing(node: Node, key: Key) -> None:
    """By the database's clock; an end in the past is refused when the key is made."""
    short = await make_key(node, key.principal_id, expires_at=soon(3.0))
    assert (await call(node, short, "GET", "/v1/jobs")).status == 200

    async def status() -> int:
        return (await call(node, short, "GET", "/v1/jobs")).status

    await seen_within(3.0 + 5.0, 401, status)
    past = await node.api.call(
        "POST", f"/v1/principals/{key.principal_id}/access-keys", {"expires_at": "2020-01-01T00:00:00Z"}
    )
    assert (past.status, past.json["errors"][0]["pointer"]) == (400, "#/expires_at")


async def test_a5_more_than_fifteen_minutes_are_refused(node: Node, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was signed long ago, or will be."""
    for minutes, status in ((-16, 401), (-14, 200), (14, 200), (16, 401)):
        moment = datetime.now(UTC) + timedelta(minutes=minutes)  # noqa: TID251 (the signer's own clock)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda at=moment: at)
        answer = await call(node, key, "GET", "/v1/jobs")
        assert (minutes, answer.status) == (minutes, status)


async def test_a8_a_dump_of_the_database_reveals_nothing(node: Node, dsn: str, key: Key) -> None:
    """Every table, as text and in binary: no secret of a key, a client or a tenant, no value, is in it in clear."""
    made = (await node.api.call("POST", "/v1/clients", {"name": "c", "scopes": ["jobs:read"]})).json
    rotated = (await node.api.call("POST", "/v1/signing-secrets:rotate", {})).json
    await node.api.call("PUT", "/v1/secrets/target", {"value": "of-the-target"})
    known = [key.secret, made["client_secret"], rotated["secret"], rotated["secret"].removeprefix("whsec_")]
    known += ["of-the-target", "PRIVATE KEY"]
    dumped = b""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in await cursor.fetchall():
            for how in ("text", "binary"):
                statement = f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT {how})"
                async with connection.cursor().copy(statement.encode()) as copy:
                    dumped += b"".join([bytes(block) async for block in copy])
    assert made["client_id"].encode() in dumped
    assert [secret for secret in known if secret.encode() in dumped] == []
    assert b'"d":"' not in dumped, "the private part of a JWK"


async def test_a8_a_key_is_sealed_for_its_id_and_its_tenant(node: Node, key: Key) -> None:
    """What is stored for one key opens as no other, and under no other tenant."""
    sealer = Sealer(SECRET_KEY, SystemChance())
    async with node.database.connection() as connection:
        row = await (await connection.execute("SELECT tenant_id, sealed FROM access_keys")).fetchone()
    assert row is not None
    bound = f"access key {key.access_key_id} of tenant {row[0]}"
    assert sealer.open(row[1], bound).decode() == key.secret
    with pytest.raises(WrongSecretKeyError):
        sealer.open(row[1], f"access key CWAKNOTHINGNOTHING00 of tenant {row[0]}")
