"""What calls say of whose they are: signatures through a rotation, own headers, secrets, tokens (W1, W2, W4)."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jwt
from joserfc.jwk import KeySet
from standardwebhooks import Webhook, WebhookVerificationError

from countwheel.engine import credentials
from countwheel.testing import Received, WebhookReceiver
from harness import Node, eventually, soon


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes is known at once."""
    monkeypatch.setattr(credentials, "KEEP_SECONDS", 0.1)


async def signed_by_two(receiver: WebhookReceiver) -> Received:
    async def arrived() -> Received | None:
        return next((call for call in receiver.calls if call.headers["webhook-signature"].count("v1,") == 2), None)

    found: Received = await eventually(arrived)
    return found


async def rotate(node: Node, **said) -> dict:
    answer = await node.api.call("POST", "/v1/signing-secrets:rotate", said)
    assert answer.status == 201, answer.body
    return answer.json


@pytest.mark.usefixtures("quick")
async def test_w2_during_a_rotation_both_secrets_verify_and_afterwards_the_new_one(
    node: Node, receiver: WebhookReceiver
) -> None:
    """The PyPI verifier takes calls with the old and with the new secret; a third one opens nothing."""
    old = await rotate(node, overlap_seconds=0)
    await node.api.create(schedule_recurring="* * * * * *", job_url=receiver.url)
    (first,) = await receiver.wait_for(1)
    Webhook(old["secret"]).verify(first.body, first.headers)
    new = await rotate(node)
    call = await signed_by_two(receiver)
    for secret in (old["secret"], new["secret"]):
        Webhook(secret).verify(call.body, call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(bytes(32)).decode()).verify(call.body, call.headers)
    await rotate(node, overlap_seconds=0)  # the one before signs no more, at once

    async def only_the_newest() -> bool:
        return receiver.calls[-1].headers["webhook-signature"].count("v1,") == 1

    await eventually(only_the_newest)
    with pytest.raises(WebhookVerificationError):
        Webhook(old["secret"]).verify(receiver.calls[-1].body, receiver.calls[-1].headers)


async def test_a_secret_is_shown_once(node: Node) -> None:
    """The listing tells that it is there, and not what it is; the first rotation keeps what signed before."""
    made = await rotate(node)
    items = (await node.api.call("GET", "/v1/signing-secrets")).json["items"]
    assert items[0]["secret_id"] == made["secret_id"]
    assert [item["expires_at"] is None for item in items] == [True, False]
    assert not any("secret" in item for item in items)
    assert "secret" in made


async def test_too_many_at_a_time_are_refused(node: Node) -> None:
    """Each signs every call: the sixth is a 409, and changes nothing."""
    for _ in range(4):
        await rotate(node)
    answer = await node.api.call("POST", "/v1/signing-secrets:rotate", {})
    assert answer.status == 409
    assert len((await node.api.call("GET", "/v1/signing-secrets")).json["items"]) == 5


async def test_v1a_verifies_with_the_published_key_alone(node: Node, receiver: WebhookReceiver) -> None:
    """Ed25519 over the exact bytes, beside v1 where both are wanted; the key is read without a token."""
    await rotate(node, scheme="v1a")
    url = (await node.api.call("GET", "/v1/signing-secrets")).json["public_keys_url"].removeprefix(node.url)
    (key,) = (await node.api.call("GET", url, headers={"Authorization": ""})).json["keys"]
    await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, signatures=["v1", "v1a"])
    (call,) = await receiver.wait_for(1)
    headers = call.headers
    by_scheme = dict(each.split(",", 1) for each in headers["webhook-signature"].split(" "))
    assert by_scheme.keys() == {"v1", "v1a"}
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key["public_key"].removeprefix("whpk_")))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + call.body
    public.verify(base64.b64decode(by_scheme["v1a"]), content)


async def test_w4_own_headers_arrive_with_the_values_of_secrets(node: Node, receiver: WebhookReceiver) -> None:
    """Plain values as they are, secrets by name; basic authorization from a stored password."""
    for name, value in (("partner-key", "k-1"), ("partner-password", "pass word")):
        assert (await node.api.call("PUT", f"/v1/secrets/{name}", {"value": value})).status == 201
    job = await node.api.create(
        schedule_oneoff=soon(0),
        job_url=receiver.url,
        headers={"X-Env": "prod", "X-Api-Key": {"secret": "partner-key"}},
        authorization={"type": "basic", "username": "us", "secret": "partner-password"},
    )
    (call,) = await receiver.wait_for(1)
    assert (call.headers["x-env"], call.headers["x-api-key"]) == ("prod", "k-1")
    assert base64.b64decode(call.headers["authorization"].removeprefix("Basic ")) == b"us:pass word"
    found = await node.api.run_when(job, "SUCCEEDED")
    assert "k-1" not in str(found)


@pytest.mark.usefixtures("quick")
async def test_another_value_is_used_within_seconds_and_a_missing_secret_is_a_failed_attempt(
    node: Node, receiver: WebhookReceiver
) -> None:
    """Calls follow the secret; where it vanished under a job, the attempt says so, and is tried again."""
    await node.api.call("PUT", "/v1/secrets/token", {"value": "first"})
    job = await node.api.create(
        schedule_recurring="* * * * * *",
        job_url=receiver.url,
        authorization={"type": "bearer", "secret": "token"},
        retry={"first_delay_seconds": 60, "jitter": "none"},
    )
    (first,) = await receiver.wait_for(1)
    assert first.headers["authorization"] == "Bearer first"
    assert (await node.api.call("PUT", "/v1/secrets/token", {"value": "second"})).json["version"] == 2

    async def follows() -> bool:
        return receiver.calls[-1].headers["authorization"] == "Bearer second"

    await eventually(follows)
    async with node.database.connection() as connection:
        await connection.execute("DELETE FROM secrets")

    async def says_why() -> list:
        runs = (await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/?status=RETRYING")).json["items"]
        return [run for run in runs if run["error"].startswith("not_ready: there is no secret 'token'")]

    assert await eventually(says_why)


async def test_an_oidc_token_tells_the_audience_which_job_calls(node: Node, receiver: WebhookReceiver) -> None:
    """Signed by the published key, for the audience that the job names; our own API does not take it."""
    job = await node.api.create(
        schedule_oneoff=soon(0), job_url=receiver.url, authorization={"type": "oidc", "audience": "https://target"}
    )
    (call,) = await receiver.wait_for(1)
    token = call.headers["authorization"].removeprefix("Bearer ")
    keys = KeySet.import_key_set((await node.api.call("GET", "/oauth/jwks.json")).json)
    decoded = jwt.decode(token, keys, algorithms=["RS256"])
    provider = (await node.api.call("GET", "/.well-known/openid-configuration")).json
    assert decoded.header["typ"] == "JWT"
    assert (decoded.claims["sub"], decoded.claims["aud"]) == (f"job:{job['job_id']}", "https://target")
    assert decoded.claims["iss"] == provider["issuer"]
    assert 300 <= decoded.claims["exp"] - decoded.claims["iat"] <= 600
    refused = await node.api.call("GET", "/v1/jobs", headers={"Authorization": f"Bearer {token}"})
    assert refused.status == 401


async def test_a_secret_is_there_though_the_cache_begins_anew(
    node: Node, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is known is not lost because another one is looked for and there is no room."""
    monkeypatch.setattr(credentials, "_MAX_KEPT", 1)
    for name in ("one", "two"):
        assert (await node.api.call("PUT", f"/v1/secrets/{name}", {"value": name})).status in {200, 201}
    headers = {"x-one": {"secret": "one"}}
    for said in (headers, headers | {"x-two": {"secret": "two"}}):
        job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, headers=said)
        found = await node.api.run_when(job, "SUCCEEDED", "RETRYING")
        assert found["status"] == "SUCCEEDED", found["error"]
    assert receiver.calls[-1].headers["x-one"] == "one"
