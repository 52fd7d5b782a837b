"""One job a submission: criteria I1 to I11."""

import asyncio
import json

import pytest

from harness import Node, running_node

URL = "http://127.0.0.1:9/hook"
BODY = {"schedule_recurring": "@daily", "job_url": URL, "job_payload": {"a": 1, "b": [1, 2]}}


async def submit(node: Node, key: str | None, body=BODY, **more):
    headers = {"Idempotency-Key": key} if key is not None else {}
    return await node.api.call("POST", "/v1/jobs", body, headers=headers | more)


async def count_jobs(node: Node) -> int:
    return len((await node.api.call("GET", "/v1/jobs?page_size=200")).json["items"])


async def test_i1_a_repeated_post_gives_one_job(node: Node) -> None:
    """I1: same key and body: same status and body, and the second answer says that it is a replay."""
    first, second = await submit(node, '"k"'), await submit(node, '"k"')
    assert (first.status, first.body) == (second.status, second.body)
    assert first.status == 201
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["Location"] == first.headers["Location"]
    assert await count_jobs(node) == 1


async def test_without_a_key_every_post_is_a_job(node: Node) -> None:
    """No key, no promise."""
    await submit(node, None)
    await submit(node, None)
    assert await count_jobs(node) == 2


async def test_i2_quoted_and_bare_keys_are_equal(node: Node) -> None:
    """I2: `"k"` and `k` are one key."""
    assert (await submit(node, "8e03978e-40d5")).body == (await submit(node, '"8e03978e-40d5"')).body
    assert await count_jobs(node) == 1


@pytest.mark.parametrize(
    "key",
    [
        "",
        '""',
        '"',
        "a b",
        '"a',
        'a"',
        "ключ".encode().decode("latin-1"),
        "x" * 256,
        '"' + "x" * 256 + '"',
        '"a","b"',
        "'a'",
    ],
)
async def test_i2_malformed_keys_are_refused(node: Node, key: str) -> None:
    """I2: empty, malformed and overlong keys get 400, and nothing is created."""
    assert (await submit(node, key)).status == 400
    assert await count_jobs(node) == 0


async def test_i2_a_repeated_header_is_refused(node: Node) -> None:
    """I2: two keys are no key."""
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert (await node.api.call("POST", "/v1/jobs", BODY, headers=headers)).status == 400


async def test_i3_another_meaning_is_refused(node: Node) -> None:
    """I3: same key, other body: 422 that leads to its explanation, and no job."""
    await submit(node, "k")
    answer = await submit(node, "k", BODY | {"job_payload": {"a": 2}})
    assert answer.status == 422
    assert (await node.api.call("GET", answer.json["type"])).status == 200
    assert await count_jobs(node) == 1


async def test_i3_white_space_and_order_do_not_matter(node: Node) -> None:
    """I3: the same meaning in another spelling is the same request."""
    first = await submit(node, "k")
    spelled = json.dumps(dict(reversed(BODY.items())), indent=4).replace('"a": 1', '"a"  :1').encode()
    second = await node.api.call("POST", "/v1/jobs", data=spelled, headers={"Idempotency-Key": "k"})
    assert second.body == first.body


async def test_i4_fifty_parallel_posts_over_two_nodes_make_one_job(dsn: str) -> None:
    """I4: 50 identical POSTs at once over two nodes: one job, every answer 201 with its id or 409 with Retry-After."""
    async with running_node(dsn) as one, running_node(dsn) as two:
        two.api.token = (await two.client()).token
        answers = await asyncio.gather(*(submit((one, two)[number % 2], "k") for number in range(50)))
        ids = {answer.json["job_id"] for answer in answers if answer.status == 201}
        assert len(ids) == 1
        assert all(
            answer.status == 201 or (answer.status == 409 and answer.headers["Retry-After"]) for answer in answers
        )
        assert await count_jobs(one) == 1


async def test_i6_refusals_are_not_stored(node: Node) -> None:
    """I6: after a 400 or 401 the same key with a corrected request creates the job."""
    assert (await submit(node, "k", BODY | {"job_url": "nonsense"})).status == 400
    assert (await submit(node, "k", Authorization="Bearer nonsense")).status == 401
    assert (await submit(node, "k")).status == 201


async def test_i7_keys_belong_to_their_tenant(node: Node) -> None:
    """I7: two tenants use one key for two jobs."""
    stranger = await node.client(tenant="stranger")
    ours = await submit(node, "k")
    theirs = await stranger.call("POST", "/v1/jobs", BODY, headers={"Idempotency-Key": "k"})
    assert theirs.status == 201
    assert theirs.json["job_id"] != ours.json["job_id"]


async def test_i8_rights_come_before_the_lookup(node: Node) -> None:
    """I8: a used key opens nothing to who may not create jobs."""
    await submit(node, "k")
    reader = await node.client(scopes=frozenset({"jobs:read"}))
    assert (await reader.call("POST", "/v1/jobs", BODY, headers={"Idempotency-Key": "k"})).status == 403


async def test_i9_keys_outlive_a_week_and_their_job(node: Node) -> None:
    """I9: a key is swept only when it is seven days old and its job has ended, by database time."""
    first = await submit(node, "k")
    await node.api.call("DELETE", f"/v1/jobs/{first.json['job_id']}")
    await node.engine.pruner.run_once()
    assert (await submit(node, "k")).body == first.body
    await age_keys(node)
    await node.engine.pruner.run_once()
    assert (await submit(node, "k")).json["job_id"] != first.json["job_id"]
    await age_keys(node)
    await node.engine.pruner.run_once()
    assert (await submit(node, "k")).headers["Idempotent-Replayed"] == "true"


async def age_keys(node: Node) -> None:
    async with node.database.connection() as connection:
        await connection.execute("UPDATE idempotency_keys SET created_at = created_at - interval '8 days'")


async def test_i10_a_setting_makes_the_key_mandatory(dsn: str) -> None:
    """I10: 400 without a key where the server is set so."""
    async with running_node(dsn, require_idempotency_key=True) as node:
        assert (await submit(node, None)).status == 400
        assert (await submit(node, "k")).status == 201


async def test_i11_a_replay_gives_the_stored_answer(node: Node) -> None:
    """I11: after the job was deleted the stored answer still comes."""
    first = await submit(node, "k")
    await node.api.call("DELETE", f"/v1/jobs/{first.json['job_id']}")
    again = await submit(node, "k")
    assert (again.status, again.body) == (201, first.body)
