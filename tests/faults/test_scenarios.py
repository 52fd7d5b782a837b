"""How schedulers lose or double runs: a test for each way that has none elsewhere; docs/guarantees.md lists all."""

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from countwheel import assembly
from countwheel.clock import SystemClock
from countwheel.store import migrate, runs
from countwheel.testing import Reply, WebhookReceiver
from harness import FAR_RETRY, Node, eventually, running_node, soon

NOWHERE = "http://127.0.0.1:9/"


async def test_scenario_crash_between_advancing_the_schedule_and_inserting_the_run(
    node: Node, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim fails when it is about to insert the next occurrence: nothing of it stands; the next try does both."""
    insert, failures = runs.insert_occurrences, iter([True, True])

    async def fail_twice(connection: Any, occurrences: Sequence[Any]) -> int:
        if next(failures, False):
            raise RuntimeError("crashed between the two")
        return await insert(connection, occurrences)

    monkeypatch.setattr(runs, "insert_occurrences", fail_twice)
    job = await node.api.create(schedule_recurring="* * * * * *", job_url=receiver.url, overlap="allow")
    first = datetime.fromisoformat(job["next_run"]["scheduled_for"])

    def fences_by_instant() -> dict[datetime, list[str]]:
        found = defaultdict(list)
        for call in receiver.calls:
            instant = datetime.fromisoformat(call.headers["countwheel-scheduled-for"])
            found[instant].append(call.headers["countwheel-fence"])
        return found

    both = {first, first + timedelta(seconds=1)}
    await receiver.wait_until(lambda: both <= fences_by_instant().keys())
    assert [fences_by_instant()[instant] for instant in sorted(both)] == [["1"], ["1"]]
    assert not list(failures)


async def test_scenario_two_nodes_plan_the_same_tick(node: Node) -> None:
    """The run's id is its occurrence: a second planner inserts nothing."""
    job = await node.api.create(schedule_recurring="0 0 1 1 *", job_url=NOWHERE)
    async with node.database.connection() as connection:
        cursor = await connection.execute("SELECT job_id, run_id, tenant_id, bucket, scheduled_for, due_at FROM runs")
        planned = [runs.NewOccurrence(*row) async for row in cursor]
        assert await runs.insert_occurrences(connection, planned) == 0
    assert len((await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/")).json["items"]) == 1


async def test_scenario_a_slow_but_living_call_is_not_rescued(dsn: str) -> None:
    """The target takes longer than the lease: its node lives and renews, so no peer takes the run over."""
    async with (
        WebhookReceiver(Reply(delay_seconds=4.5)) as receiver,
        running_node(dsn) as node,
        running_node(dsn),
    ):
        job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, timeout_seconds=20)
        ended = await node.api.run_when(job, "SUCCEEDED")
        assert (ended["attempt"], len(ended["attempts"]), len(receiver.calls)) == (1, 1, 1)


async def test_scenario_claimed_runs_that_wait_for_a_slot_stay_claimed(dsn: str) -> None:
    """One slot, and a queue that outlasts the lease: the lease covers the wait, each run is received once."""
    async with (
        WebhookReceiver(Reply(delay_seconds=0.4)) as receiver,
        running_node(dsn, concurrency=1) as node,
        running_node(dsn, concurrency=1),
    ):
        jobs = [await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url) for _ in range(20)]
        for job in jobs:
            assert (await node.api.run_when(job, "SUCCEEDED"))["attempt"] == 1
        assert receiver.calls_by_run() == {job["next_run"]["run_id"]: 1 for job in jobs}


@pytest.mark.parametrize("hours", [-1, 1])
async def test_scenario_clock_step(
    dsn: str, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """A node whose clock is an hour off: database time decides what is due, what is past and which token is good."""

    class Stepped(SystemClock):
        def now(self) -> datetime:
            return super().now() + timedelta(hours=hours)

    async with running_node(dsn, public_url="http://countwheel.test") as right:
        monkeypatch.setattr(assembly, "SystemClock", Stepped)
        async with running_node(dsn, public_url="http://countwheel.test") as stepped:
            stepped.api.token = right.api.token
            recurring = await stepped.api.create(schedule_recurring="* * * * * *", job_url=receiver.url)
            first = datetime.fromisoformat(recurring["next_run"]["scheduled_for"])
            assert abs((first - datetime.now(UTC)).total_seconds()) < 30  # noqa: TID251 (the right time)
            once = await stepped.api.create(schedule_oneoff=soon(0.3), job_url=receiver.url)
            assert (await right.api.run_when(once, "SUCCEEDED"))["lateness_ms"] < 20_000
            calls = await receiver.wait_for(3)

            async def is_alarmed() -> bool:
                ready = (await right.api.call("GET", "/readyz")).json
                return any(warning["code"] == "clock-skew" for warning in ready["warnings"])

            await eventually(is_alarmed)
    early = [
        call for call in calls if call.received_at < datetime.fromisoformat(call.headers["countwheel-scheduled-for"])
    ]
    assert early == []


async def test_scenario_firing_error_logged_and_passed_over(
    node: Node, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks inside the dispatch ends in the run's state and in its record, never in a log line alone."""

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(node.engine.dispatcher, "_send", broken)
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, retry=FAR_RETRY)
    waiting = await node.api.run_when(job, "RETRYING")
    assert "ZeroDivisionError" in waiting["error"]
    held = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, delivery="at_most_once")
    assert "ZeroDivisionError" in (await node.api.run_when(held, "UNKNOWN"))["error"]


def test_scenario_rolling_upgrade() -> None:
    """Migrations after the first only expand: the release before runs on the new schema."""
    contracting = re.compile(
        r"\b(DROP (TABLE|COLUMN|CONSTRAINT|INDEX)|RENAME|ALTER COLUMN \w+ (TYPE|SET NOT NULL))\b", re.IGNORECASE
    )
    # A list of values may grow: dropped and added again under its name in one statement, with every value of before.
    growing = re.compile(r"DROP CONSTRAINT (\w+),\s*ADD CONSTRAINT \1\s+CHECK \((\w+) IN \(([^)]*)\)\)")
    # An index may be replaced under its name: what it is for is found all the same, if slowly.
    replacing = re.compile(r"CREATE INDEX (\w+) ON [^;]*;\s*DROP INDEX (\w+);\s*ALTER INDEX \1 RENAME TO \2;")
    # A rule may be loosened: what it allowed is allowed still, by the same words with an OR.
    loosened = re.compile(r"DROP CONSTRAINT (\w+),\s*ADD CONSTRAINT \w+\s+CHECK \(([^;]*? OR [^;]*?)\s*\);")
    before = migrate.known_migrations()[0].sql
    for migration in migrate.known_migrations()[1:]:
        statements = re.sub(r"--[^\n]*", "", migration.sql)
        for _, column, values in growing.findall(statements):
            for known in re.findall(rf"\b{column} IN \(([^)]*)\)", before):
                assert set(re.findall(r"'\w+'", known)) <= set(re.findall(r"'\w+'", values)), migration.name
        for name, rule in loosened.findall(statements):
            (known,) = re.findall(rf"CONSTRAINT {name} CHECK \((.*)\)[,\n]", before)
            assert all(part in rule for part in re.split(r" OR ", known)), migration.name
        before += statements
        statements = loosened.sub("", statements)
        statements = replacing.sub("", growing.sub("", statements))
        assert not contracting.search(statements), migration.name
        for column in re.findall(r"ADD COLUMN ([^,;]*)", statements):
            assert "NOT NULL" not in column or "DEFAULT" in column, (migration.name, column)
