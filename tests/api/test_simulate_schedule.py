"""`POST /v1/schedules:simulate`: what policies make of an outage. That it comes true: tests/proof/test_outage.py."""

import pytest

from harness import Node

PATH = "/v1/schedules:simulate"
OUTAGE = {"from": "2026-01-01T01:05:30Z", "to": "2026-01-01T04:00:30Z"}
STORY = {
    "schedule_recurring": "*/10 * * * *", "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T06:05:00Z",
    "run_seconds": 90,
    "outage": OUTAGE,
}  # fmt: skip


def without_zeros(totals: dict[str, int]) -> dict[str, int]:
    return {status: count for status, count in totals.items() if count}


async def test_p1_p2_an_outage_is_foretold(node: Node) -> None:
    """By default the latest that was missed runs, and the others stand in one row; with fire_all each has its turn."""
    answer = await node.api.call("POST", PATH, STORY)
    assert answer.status == 200
    assert answer.json["runs"] == sorted(answer.json["runs"], key=lambda run: run["scheduled_for"])
    (dropped,) = [run for run in answer.json["runs"] if run["status"] == "SKIPPED"]
    assert (dropped["scheduled_for"], dropped["occurrences"]) == ("2026-01-01T01:10:00.000Z", 17)
    assert "fire_latest" in dropped["reason"]
    assert answer.json["complete"]
    assert {status: count for status, count in answer.json["totals"].items() if count} == {
        "SUCCEEDED": 19,
        "SKIPPED": 17,
    }
    every = (await node.api.call("POST", PATH, STORY | {"misfire": "fire_all", "overlap": "queue_all"})).json
    assert without_zeros(every["totals"]) == {"SUCCEEDED": 36}
    started = [run["started_at"] for run in every["runs"]]
    assert started == sorted(started)


async def test_a_story_without_an_end_is_bounded(node: Node) -> None:
    """Every second for 173 years, each call an hour long, all beside each other: what was followed is told."""
    body = {"schedule_recurring": "* * * * * *", "to": "2199-12-31T00:00:00Z", "run_seconds": 3600, "overlap": "allow"}
    answer = await node.api.call("POST", PATH, body)
    assert answer.status == 200
    assert 0 < len(answer.json["runs"]) <= 5_000
    assert not answer.json["complete"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"#/schedule_recurring"}),
        ({"schedule_oneoff": "2190-01-01T00:00:00Z"}, {"#/schedule_recurring", "#/schedule_oneoff"}),
        (STORY | {"outage": {"from": OUTAGE["to"], "to": OUTAGE["from"]}}, {"#/outage/to"}),
        (STORY | {"to": "2025-01-01T00:00:00Z"}, {"#/to"}),
        (STORY | {"overlap": "maybe", "run_seconds": -1}, {"#/overlap", "#/run_seconds"}),
    ],
)
async def test_what_cannot_be_simulated_is_refused(node: Node, body, pointers: set[str]) -> None:
    """400, with every fault."""
    answer = await node.api.call("POST", PATH, body)
    assert answer.status == 400
    assert {fault["pointer"] for fault in answer.json["errors"]} == pointers
