"""POST /v1/jobs: both kinds of job, and every way of getting it wrong."""

import io
from datetime import UTC, datetime

import pytest

from harness import Node, soon

URL = "http://127.0.0.1:9/hook"


async def test_a_recurring_job_is_created_with_its_next_run(node: Node) -> None:
    """The 201 holds the job as submitted and the run that comes next."""
    job = await node.api.create(
        schedule_recurring="*/5 * * * *", job_url=URL, job_payload={"any": "JSON object"}, labels={"team": "billing"}
    )
    assert job["status"] == "ACTIVE"
    assert job["schedule_recurring"] == "*/5 * * * *"
    assert "schedule_oneoff" not in job
    assert job["job_payload"] == {"any": "JSON object"}
    assert job["next_run"]["status"] == "SCHEDULED"
    scheduled_for = datetime.fromisoformat(job["next_run"]["scheduled_for"])
    assert scheduled_for.minute % 5 == 0
    assert 0 < (scheduled_for - datetime.now(UTC)).total_seconds() <= 300  # noqa: TID251


async def test_a_oneoff_job_is_created_and_stands_in_its_place(node: Node) -> None:
    """A one-off with an offset is one run at that instant, and Location leads to the job."""
    answer = await node.api.call("POST", "/v1/jobs", {"schedule_oneoff": "2190-01-01T09:00:00+01:00", "job_url": URL})
    assert answer.status == 201
    assert answer.json["next_run"]["scheduled_for"] == "2190-01-01T08:00:00.000Z"
    found = await node.api.call("GET", answer.headers["Location"])
    assert found.json == answer.json


async def test_local_time_is_read_in_its_zone(node: Node) -> None:
    """A local time with a zone means the instant that the wall clock there shows it."""
    job = await node.api.create(schedule_oneoff="2190-07-01T09:00:00", timezone="Europe/Berlin", job_url=URL)
    assert job["next_run"]["scheduled_for"] == "2190-07-01T07:00:00.000Z"


async def test_a_oneoff_a_little_in_the_past_is_called_at_once(node: Node, receiver) -> None:
    """Within the catch-up window a past instant fires now."""
    await node.api.create(schedule_oneoff=soon(-3600), job_url=receiver.url)
    assert len(await receiver.wait_for(1)) == 1


RECURRING = {"schedule_recurring": "* * * * *", "job_url": URL}


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"#", "#/job_url"}),
        ({"job_url": URL}, {"#"}),
        ({**RECURRING, "schedule_oneoff": "2190-01-01T00:00:00Z"}, {"#"}),
        ({**RECURRING, "schedule_recurring": None}, {"#/schedule_recurring"}),
        ({**RECURRING, "schedule_recurring": "61 * * * *"}, {"#/schedule_recurring"}),
        ({**RECURRING, "schedule_recurring": "0 0 30 2 *"}, {"#/schedule_recurring"}),
        ({**RECURRING, "schedule_recurring": "5-1 * * * *"}, {"#/schedule_recurring"}),
        ({**RECURRING, "schedule_recurring": "@reboot"}, {"#/schedule_recurring"}),
        ({**RECURRING, "timezone": "Mars/Olympus"}, {"#/timezone"}),
        ({**RECURRING, "schedule_recurring": "TZ=UTC 0 0 * * *", "timezone": "UTC"}, {"#/timezone"}),
        ({**RECURRING, "schedule_recurring": "TZ=Mars/Olympus 0 0 * * *"}, {"#/schedule_recurring"}),
        ({**RECURRING, "schedule_recurring": "0 0 0 1 1 * 2020"}, {"#/schedule_recurring"}),
        ({**RECURRING, "schedule_recurring": "@every 0s"}, {"#/schedule_recurring"}),
        ({**RECURRING, "end_at": "2020-01-01T00:00:00Z"}, {"#/end_at"}),
        ({**RECURRING, "start_at": "2190-01-01T00:00:00Z", "end_at": "2189-01-01T00:00:00Z"}, {"#/end_at"}),
        ({**RECURRING, "start_at": "2190-02-30T00:00:00Z", "end_at": "x"}, {"#/start_at", "#/end_at"}),
        ({**RECURRING, "start_at": "2190-01-01T00:00:00"}, {"#/start_at"}),
        ({**RECURRING, "dst_gap": "jump", "dst_overlap": 1}, {"#/dst_gap", "#/dst_overlap"}),
        ({"schedule_oneoff": "2190-01-01T00:00:00Z", "job_url": URL, "end_at": "2199-01-01T00:00:00Z"}, {"#/end_at"}),
        ({**RECURRING, "job_url": "ftp://example.com/"}, {"#/job_url"}),
        ({**RECURRING, "job_url": "http://user:secret@example.com/"}, {"#/job_url"}),
        ({**RECURRING, "job_url": "http://10.0.0.1/"}, {"#/job_url"}),
        ({**RECURRING, "job_url": 5}, {"#/job_url"}),
        ({**RECURRING, "job_payload": [1]}, {"#/job_payload"}),
        ({**RECURRING, "job_payload": None}, {"#/job_payload"}),
        ({**RECURRING, "timeout_seconds": 0}, {"#/timeout_seconds"}),
        ({**RECURRING, "max_attempts": 1.5}, {"#/max_attempts"}),
        ({**RECURRING, "name": "a\tb"}, {"#/name"}),
        ({**RECURRING, "labels": {"a b": "c"}}, {"#/labels"}),
        ({**RECURRING, "job_ulr": "x", "priority": 1}, {"#/job_ulr", "#/priority"}),
        ({"schedule_oneoff": "2020-01-01T00:00:00Z", "job_url": URL}, {"#/schedule_oneoff"}),
        ({"schedule_oneoff": "2190-01-01T00:00:00", "job_url": URL}, {"#/schedule_oneoff"}),
        ({"schedule_oneoff": "2190-02-30T00:00:00Z", "job_url": URL}, {"#/schedule_oneoff"}),
        ({"schedule_oneoff": "2190-01-01T24:00:00Z", "job_url": URL}, {"#/schedule_oneoff"}),
        ({"schedule_oneoff": "tomorrow", "job_url": "x", "name": ""}, {"#/schedule_oneoff", "#/job_url", "#/name"}),
        ([], {"#"}),
        ("text", {"#"}),
    ],
)
async def test_every_fault_is_named_at_once(node: Node, body, pointers) -> None:
    """E2: 400 with all faults of the body, each with the pointer to its field, and nothing is created."""
    answer = await node.api.call("POST", "/v1/jobs", body)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {error["pointer"] for error in answer.json["errors"]} == pointers
    assert all(error["detail"] for error in answer.json["errors"])
    assert (await node.api.call("GET", "/v1/jobs")).json["items"] == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"job_url": "http://a/", "job_url": "http://b/"}',
        b'{"job_payload": {"x": {"y": 1, "y": 2}}}',
        b'{"job_payload": {"x": "\\u0000"}}',
        b'{"job_payload": {"\\u0000": 1}}',
        b'{"job_payload": {"x": "\\ud800"}}',
        b'{"name": "a\x00b"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"job_payload": ' + b'{"a":' * 100 + b"1" + b"}" * 101,
        b"{} {}",
    ],
)
async def test_what_json_parsers_disagree_on_is_refused(node: Node, text: bytes) -> None:
    """E9: garbage, duplicate names, NUL, lone surrogates, NaN and bombs get 400, never 500."""
    answer = await node.api.call("POST", "/v1/jobs", data=text)
    assert answer.status == 400, answer.body
    assert answer.json["errors"][0]["pointer"] == "#"


async def test_the_payload_is_kept_as_it_was_sent(node: Node) -> None:
    """Unicode, order and nesting of the payload come back unchanged."""
    payload = {"z": [1, 2.5, {"ключ": "значение \U0001f514"}], "a": None, "long": 12345678901234567890}
    job = await node.api.create(**RECURRING, job_payload=payload)
    assert list(job["job_payload"]) == list(payload)
    assert job["job_payload"] == payload


async def test_a_wrong_content_type_is_refused(node: Node) -> None:
    """E8: 415 for anything that is not JSON in UTF-8."""
    for content_type in ("text/plain", "application/json; charset=latin-1", "application/jsonx", ""):
        answer = await node.api.call("POST", "/v1/jobs", data=b"{}", headers={"Content-Type": content_type})
        assert (content_type, answer.status) == (content_type, 415)


async def test_a_body_over_the_limit_is_refused(node: Node) -> None:
    """E8: 413 for an announced length over the limit, and for a chunked body that grows over it."""
    announced = await node.api.call("POST", "/v1/jobs", data=io.BytesIO(b" " * 1_048_577))
    assert announced.status == 413

    async def chunks():
        for _ in range(40):
            yield b" " * 65_536

    streamed = await node.api.call("POST", "/v1/jobs", data=chunks())
    assert streamed.status == 413
    assert streamed.headers["Content-Type"] == "application/problem+json"
