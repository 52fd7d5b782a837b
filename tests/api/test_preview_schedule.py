"""`POST /v1/schedules:preview`: what a schedule means and does, before any job has it."""

import pytest

from harness import Node

PATH = "/v1/schedules:preview"


async def test_the_next_times_in_each_zone(node: Node) -> None:
    """By the clock of the job's place, of the caller's and in UTC, with what daylight saving does to each."""
    body = {
        "schedule_recurring": "30 2 * * *", "timezone": "America/New_York", "from": "2026-03-07T12:00:00Z", "count": 2,
        "display_timezone": "Asia/Kolkata",
    }  # fmt: skip
    answer = await node.api.call("POST", PATH, body)
    assert answer.status == 200
    assert answer.json == {
        "meaning": "at 02:30, every day, by the clock of America/New_York",
        "timezone": "America/New_York",
        "fires": [
            {"at": "2026-03-08T07:00:00.000Z", "local": "2026-03-08T03:00:00.000-04:00", "note": "shifted",
             "display": "2026-03-08T12:30:00.000+05:30"},
            {"at": "2026-03-09T06:30:00.000Z", "local": "2026-03-09T02:30:00.000-04:00", "note": None,
             "display": "2026-03-09T12:00:00.000+05:30"},
        ],
        "excluded": [],
        "clock_changes": [
            {
                "at": "2026-03-08T07:00:00.000Z",
                "effect": "2026-03-08 02:30:00 does not exist: it runs right after the gap",
            }
        ],
        "warnings": [],
    }  # fmt: skip


async def test_a_preview_is_what_a_job_does(node: Node) -> None:
    """`H` and `@every` are those of the job that is named."""
    for expression in ("H H * * *", "@every 7h"):
        job = await node.api.create(schedule_recurring=expression, job_url="http://127.0.0.1:9/")
        body = {"schedule_recurring": expression, "job_id": job["job_id"], "count": 1}
        shown = (await node.api.call("POST", PATH, body)).json["fires"][0]["at"]
        assert shown == job["next_run"]["scheduled_for"]


async def test_a_one_off_time_is_shown_too(node: Node) -> None:
    """Local time, and the instant that it means."""
    body = {"schedule_oneoff": "2190-07-01T09:00:00", "timezone": "Europe/Berlin"}
    answer = (await node.api.call("POST", PATH, body)).json
    assert answer["meaning"] == "once, at 2190-07-01 09:00:00 by the clock of Europe/Berlin"
    assert (answer["fires"][0]["at"], answer["fires"][0]["note"]) == ("2190-07-01T07:00:00.000Z", None)


@pytest.mark.parametrize(
    ("local", "place", "at", "note", "change", "effect"),
    [
        ("2190-03-28T02:30:00", "Europe/Berlin", "2190-03-28T01:00:00.000Z", "shifted", "2190-03-28T01:00:00.000Z",
         "2190-03-28 02:30:00 does not exist: it runs right after the gap"),
        ("2190-10-31T02:30:00.25", "Europe/Berlin", "2190-10-31T00:30:00.250Z", "first of two",
         "2190-10-31T01:00:00.000Z", "2190-10-31 02:30:00 comes twice: it runs the first time"),
    ],
)  # fmt: skip
async def test_a_one_off_time_is_marked_where_the_clocks_are_changed(
    node: Node, *, local: str, place: str, at: str, note: str, change: str, effect: str
) -> None:
    """C5: local time that a change leaves out, or brings twice, says so before the job is there."""
    answer = (await node.api.call("POST", PATH, {"schedule_oneoff": local, "timezone": place})).json
    assert [(fire["at"], fire["note"]) for fire in answer["fires"]] == [(at, note)]
    assert answer["clock_changes"] == [{"at": change, "effect": effect}]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"#"}),
        ({"schedule_recurring": "61 * * * *", "count": 0}, {"#/schedule_recurring", "#/count"}),
        ({"schedule_recurring": "0 0 30 2 *"}, {"#/schedule_recurring"}),
        ({"schedule_recurring": "@daily", "from": "2026-02-30T00:00:00Z"}, {"#/from"}),
        ({"schedule_recurring": "@daily", "job_url": "http://a/"}, {"#/job_url"}),
        ({"schedule_recurring": "@daily", "end_at": "2020-01-01T00:00:00Z"}, {"#/end_at"}),
    ],
)
async def test_what_cannot_be_previewed_is_refused(node: Node, body, pointers: set[str]) -> None:
    """As a job with it would be: 400, with every fault."""
    answer = await node.api.call("POST", PATH, body)
    assert answer.status == 400
    assert {fault["pointer"] for fault in answer.json["errors"]} == pointers
