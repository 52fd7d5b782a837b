"""Targets are called no faster than they may be, over all nodes, and what waits for one holds up nothing else."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count, pairwise
from typing import Any

import pytest

from countwheel.clock import SystemClock
from countwheel.domain import breaker
from countwheel.engine.targets import Opening
from countwheel.store import targets
from countwheel.store.database import Connection
from countwheel.store.runs import Looked
from countwheel.testing import Reply, WebhookReceiver
from countwheel.testing.receiver import Received
from harness import Node, eventually, flood, passed, running_node, soon, tenant_of

FROZEN_SECONDS = 0.5


async def limit(node: Node, name: str, **limits: Any) -> None:
    answer = await node.api.call("PUT", f"/v1/targets/{name}", limits)
    assert answer.status in {200, 201}, answer.body


async def target(node: Node, name: str) -> dict[str, Any]:
    answer = await node.api.call("GET", f"/v1/targets/{name}")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


async def until_obeyed(*nodes: Node) -> None:
    """Return when each node has looked at the targets once more."""
    for node in nodes:
        looked = node.engine.pacer._looked_at

        async def has_looked(node: Node = node, looked: float = looked) -> bool:
            return node.engine.pacer._looked_at > looked

        await eventually(has_looked)


async def make_due(node: Node, number: int, url: str, **how: Any) -> None:
    tenant_id = await tenant_of(node, node.api)
    async with node.database.connection() as connection:
        await flood(connection, tenant_id, number, url, **how)


def most_in_a_second(calls: list[Received]) -> int:
    arrivals = sorted(call.received_at for call in calls)
    return max(sum(0 <= (later - first).total_seconds() < 1 for later in arrivals) for first in arrivals)


def of_path(receiver: WebhookReceiver, path: str) -> list[Received]:
    return [call for call in receiver.calls if call.path == path]


def is_empty(state: dict[str, Any]) -> bool:
    return state["backlog"] == state["in_flight"] == 0


@pytest.mark.alone
async def test_a_rate_holds_over_all_nodes_and_for_no_other_target(dsn: str) -> None:
    """Fifty a second, and 200 due runs on two nodes: never more in any second, in the order of their time, and a run
    of another target is on time meanwhile.
    """
    async with WebhookReceiver() as receiver, running_node(dsn) as node, running_node(dsn) as other:
        await limit(node, "partner", rate_per_second=50)
        await until_obeyed(node, other)
        await make_due(node, 200, receiver.url, flow="partner")
        quick = [
            await node.api.create(schedule_oneoff=soon(0.6 + n / 5), job_url=receiver.url + "/q") for n in range(9)
        ]
        await receiver.wait_until(lambda: len(of_path(receiver, "/hook")) >= 200)
        paced = of_path(receiver, "/hook")
        assert most_in_a_second(paced) <= 55
        numbers = [json.loads(call.body)["number"] for call in paced]
        assert sorted(numbers) == list(range(1, 201))
        assert max(abs(place + 1 - number) for place, number in enumerate(numbers)) <= 25, "a slot given up costs a few"
        lateness = [(await node.api.run_when(job, "SUCCEEDED"))["lateness_ms"] for job in quick]
        assert sorted(lateness)[len(lateness) // 2] < 100, lateness


async def test_no_more_calls_are_under_way_than_the_limit(dsn: str) -> None:
    """Three at once over two nodes, whoever takes them; and all are called."""
    most = 0
    async with (
        WebhookReceiver(Reply(delay_seconds=0.05)) as receiver,
        running_node(dsn) as node,
        running_node(dsn) as other,
    ):
        await limit(node, "partner", max_concurrency=3)
        await until_obeyed(node, other)
        await make_due(node, 40, receiver.url, flow="partner")
        while len(receiver.calls) < 40:
            state = await target(node, "partner")
            most = max(most, state["in_flight"])
            assert state["in_flight"] <= 3
        arrivals = sorted(call.received_at for call in receiver.calls)
        together = [sum(0 <= (later - first).total_seconds() < 0.05 for later in arrivals) for first in arrivals]
        assert max(together) <= 3
        assert most >= 2


async def test_a_limit_counts_the_calls_that_are_under_way_already(dsn: str) -> None:
    """Two calls hang when a limit of two is set: a third one waits until one of them has ended."""
    let_go = asyncio.Event()
    hanging = lambda call: Reply(after=let_go if "hang" in call.path else None)  # noqa: E731 (named for the reader)
    async with WebhookReceiver(hanging) as receiver, running_node(dsn) as node:
        for _ in range(2):
            await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url + "/hang", flow="partner")
        await receiver.wait_for(2)
        await limit(node, "partner", max_concurrency=2)
        await until_obeyed(node)
        third = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, flow="partner")

        async def waits() -> bool:
            return (await target(node, "partner"))["backlog"] == 1

        await eventually(waits)
        assert (await target(node, "partner"))["in_flight"] == 2
        await until_obeyed(node)
        assert len(receiver.calls) == 2
        let_go.set()
        await node.api.run_when(third, "SUCCEEDED")


async def test_a_paused_target_is_not_called(dsn: str) -> None:
    """From within half a second on no call begins; what was claimed goes back, and says for what it waits; another
    target's runs come as ever. Resumed, each is called once, as its first attempt.
    """
    async with WebhookReceiver() as receiver, running_node(dsn) as node, running_node(dsn) as other:
        waiting = [
            await node.api.create(schedule_oneoff=soon(0.9), job_url=receiver.url, flow="partner") for _ in range(8)
        ]
        answer = await node.api.call("POST", "/v1/targets/partner/pause", {"reason": "they move house"})
        assert (answer.json["state"], answer.json["pause_reason"]) == ("paused", "they move house")
        assert answer.json["in_force_within_seconds"] <= 0.5
        await until_obeyed(node, other)
        await passed(node.database, datetime.fromisoformat(waiting[-1]["next_run"]["scheduled_for"]))
        well = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url + "/well")
        await node.api.run_when(well, "SUCCEEDED")
        assert of_path(receiver, "/hook") == []

        async def all_wait() -> bool:
            return (await target(node, "partner"))["backlog"] == 8

        await eventually(all_wait)
        run = await node.api.run(waiting[0])
        assert (run["status"], run["node_id"], run["waiting_for_target"]) == ("SCHEDULED", None, "partner")
        assert (await node.api.call("POST", "/v1/targets/partner/resume")).json["state"] == "ok"
        for job in waiting:
            ended = await node.api.run_when(job, "SUCCEEDED")
            assert (ended["attempt"], "waiting_for_target" in ended) == (1, False)
        assert len(of_path(receiver, "/hook")) == 8


async def test_a_run_that_waits_in_a_lane_can_be_cancelled(dsn: str) -> None:
    """Nobody holds it, so that a cancel ends it at once; and so does the end of its job."""
    async with WebhookReceiver() as receiver, running_node(dsn) as node:
        await node.api.call("POST", "/v1/targets/partner/pause")
        await until_obeyed(node)
        jobs = [await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, flow="partner") for _ in range(2)]

        async def both_wait() -> bool:
            return (await target(node, "partner"))["backlog"] == 2

        await eventually(both_wait)
        path = f"/v1/jobs/{jobs[0]['job_id']}/run/{jobs[0]['next_run']['run_id']}/"
        assert (await node.api.call("DELETE", path)).json == {"status": "CANCELED"}
        await node.api.call("DELETE", f"/v1/jobs/{jobs[1]['job_id']}")
        for job in jobs:
            assert (await node.api.run(job))["status"] == "CANCELED"
        assert (await target(node, "partner"))["backlog"] == 0
        assert receiver.calls == []


async def test_a_recurring_job_goes_on_while_its_target_is_paused(dsn: str) -> None:
    """Its chain is armed as ever; one run waits, and what comes meanwhile is skipped by its overlap policy."""
    async with WebhookReceiver() as receiver, running_node(dsn) as node:
        await node.api.call("POST", "/v1/targets/partner/pause")
        await until_obeyed(node)
        job = await node.api.create(schedule_recurring="* * * * * *", job_url=receiver.url, flow="partner")

        async def has_skipped() -> Any:
            page = await node.api.call("GET", f"/v1/jobs/{job['job_id']}/run/?status=SKIPPED")
            return len(page.json["items"]) >= 2

        await eventually(has_skipped)
        assert (await target(node, "partner"))["backlog"] == 1
        assert receiver.calls == []
        await node.api.call("POST", "/v1/targets/partner/resume")
        await receiver.wait_for(2)
        assert (await node.api.run_when(job, "SUCCEEDED"))["attempt"] == 1


async def test_what_has_waited_too_long_is_not_called(dsn: str) -> None:
    """A run that has waited in a lane for longer than its catch-up window is EXPIRED when its turn comes."""
    async with WebhookReceiver() as receiver, running_node(dsn) as node:
        await node.api.call("POST", "/v1/targets/partner/pause")
        await until_obeyed(node)
        job = await node.api.create(
            schedule_oneoff=soon(0), job_url=receiver.url, flow="partner", catchup_window_seconds=10
        )

        async def waits() -> bool:
            return (await target(node, "partner"))["backlog"] == 1

        await eventually(waits)
        async with node.database.connection() as connection:
            await connection.execute(
                "UPDATE runs SET scheduled_for = scheduled_for - interval '2 min', due_at = due_at - interval '2 min' "
                "WHERE job_id = %s",
                [job["job_id"]],
            )
        await node.api.call("POST", "/v1/targets/partner/resume")
        assert "catch-up window" in (await node.api.run_when(job, "EXPIRED"))["error"]
        assert receiver.calls == []


@pytest.mark.parametrize("how", ["deleted", "gone", "renamed"])
async def test_nothing_is_stuck_in_a_lane(dsn: str, how: str) -> None:
    """Whatever becomes of a limit while runs wait (taken away, its row lost, its flow renamed), they are called."""
    async with WebhookReceiver() as receiver, running_node(dsn) as node, running_node(dsn) as other:
        await limit(node, "partner", rate_per_second=0.01)
        await until_obeyed(node, other)
        jobs = [await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, flow="partner") for _ in range(6)]

        async def five_wait() -> bool:
            return (await target(node, "partner"))["backlog"] == 5

        await eventually(five_wait)
        match how:
            case "deleted":
                assert (await node.api.call("DELETE", "/v1/targets/partner")).status == 204
                assert (await node.api.call("DELETE", "/v1/targets/partner")).status == 404
            case "gone":
                async with node.database.connection() as connection:
                    await connection.execute("DELETE FROM targets")
            case "renamed":
                async with node.database.connection() as connection:
                    await connection.execute("""UPDATE jobs SET calling = '{"flow": "other"}'""")
                await limit(node, "partner", rate_per_second=100)
        for job in jobs:
            assert (await node.api.run_when(job, "SUCCEEDED"))["attempt"] == 1
        assert len(receiver.calls) == 6


@contextmanager
def quick_breaker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setattr(breaker, "FIRST_OPEN_SECONDS", 0.6)
        yield


async def test_a_breaker_opens_probes_and_closes(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where most calls fail, the target is left alone by all nodes; a probe at a time finds out that it is back; then
    what has waited is called, and nothing is lost.
    """
    status = count()
    is_well = asyncio.Event()

    def reply(call: Received) -> Reply:
        next(status)
        return Reply() if is_well.is_set() or call.path == "/well" else Reply(500)

    with quick_breaker(monkeypatch):
        async with WebhookReceiver(reply) as receiver, running_node(dsn) as node, running_node(dsn) as other:
            await make_due(node, 60, receiver.url, flow="partner", max_attempts=1)

            async def is_open() -> bool:
                answer = await node.api.call("GET", "/v1/targets/partner")
                return answer.status == 200 and answer.json["state"] == "open"

            await eventually(is_open)
            state = await target(node, "partner")
            assert "calls failed; the latest: HTTP 500" in state["open"]["reason"]
            await until_obeyed(node, other)
            before = len(receiver.calls)
            jobs = [
                await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, flow="partner") for _ in range(30)
            ]
            well = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url.replace("hook", "well"))
            await node.api.run_when(well, "SUCCEEDED")
            await receiver.wait_until(lambda: len(receiver.calls) >= before + 3)
            assert len(receiver.calls) <= before + 4, "a probe now and then, and the well one"
            is_well.set()
            for job in jobs:
                await node.api.run_when(job, "SUCCEEDED")
            assert not await is_open()


async def test_a_breaker_can_be_switched_off(dsn: str) -> None:
    """A target whose breaker is off is called whatever comes of it."""
    async with WebhookReceiver(Reply(500)) as receiver, running_node(dsn) as node:
        await limit(node, "partner", breaker="off")
        await until_obeyed(node)
        await make_due(node, 50, receiver.url, flow="partner", max_attempts=1)
        await receiver.wait_for(50)
        await until_obeyed(node)
        await until_obeyed(node)
        assert (await target(node, "partner"))["state"] == "ok"


async def test_a_target_says_when_it_may_be_called_again(dsn: str) -> None:
    """429 with `Retry-After: 2`: no call of any run begins before that, on any node, and then they come one by one."""
    first = count()

    def reply(_call: Received) -> Reply:
        return Reply(429, headers=(("Retry-After", "2"),)) if next(first) == 0 else Reply()

    async with WebhookReceiver(reply) as receiver, running_node(dsn) as node, running_node(dsn) as other:
        refused = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, flow="partner")
        (call,) = await receiver.wait_for(1)

        async def is_slowed() -> bool:
            answer = await node.api.call("GET", "/v1/targets/partner")
            return answer.status == 200 and answer.json["state"] == "slowed"

        await eventually(is_slowed)
        assert (await target(node, "partner"))["slowed"]["held_until"] is not None
        await until_obeyed(node, other)
        jobs = [await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, flow="partner") for _ in range(3)]
        for job in jobs:
            await node.api.run_when(job, "SUCCEEDED")
        since = [(later.received_at - call.received_at).total_seconds() for later in receiver.calls[1:]]
        assert min(since) >= 2
        gaps = [later - earlier for earlier, later in pairwise(since)]
        assert min(gaps) >= 0.4, "the floor is one a second, half of it may be caught up"
        await node.api.run_when(refused, "SUCCEEDED", "RETRYING")


async def test_targets_that_hang_hold_up_no_other_of_their_tenant(dsn: str) -> None:
    """Four targets take a thousand calls each and answer none: the runs of a fifth, of the same tenant, are on time,
    and what waits for the four holds nothing of the node.
    """
    hanging = asyncio.Event()
    reply = lambda call: Reply(after=hanging if "hang" in call.path else None)  # noqa: E731 (named for the reader)
    async with WebhookReceiver(reply) as receiver, running_node(dsn, stop_grace_seconds=0.5) as node:
        for number in range(4):
            await make_due(node, 1_000, receiver.url + "/hang", flow=f"hanging-{number}")

        async def are_crowded() -> bool:
            return len(node.engine.pacer._targets.crowded) == 4

        await eventually(are_crowded)
        await until_obeyed(node)
        jobs = [await node.api.create(schedule_oneoff=soon(0.6 + n / 50), job_url=receiver.url) for n in range(50)]
        lateness = sorted([(await node.api.run_when(job, "SUCCEEDED"))["lateness_ms"] for job in jobs])
        assert lateness[len(lateness) * 9 // 10] < 150, lateness
        assert len(node.engine.held) < 1_000
        assert (await target(node, "hanging-0"))["backlog"] > 500
        hanging.set()
        await receiver.wait_for(4_050)


async def test_what_is_late_for_its_slot_gives_it_up(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that stalls while it holds paced runs does not send them all at once when it goes on."""
    async with WebhookReceiver() as receiver, running_node(dsn) as node:
        await limit(node, "partner", rate_per_second=40)
        await until_obeyed(node)
        await make_due(node, 100, receiver.url, flow="partner")
        await receiver.wait_for(20)
        real = node.engine.timer._on_due
        stalled: list[Any] = []
        monkeypatch.setattr(node.engine.timer, "_on_due", stalled.append)

        async def are_stalled() -> bool:
            return len(stalled) >= 5

        await eventually(are_stalled)
        last = stalled[-1].slot

        async def are_late() -> bool:
            return node.engine.dispatcher._context.clock.monotonic() > last + 0.1

        await eventually(are_late)
        monkeypatch.setattr(node.engine.timer, "_on_due", real)
        for held in stalled:
            real(held)
        await receiver.wait_for(100)
        assert most_in_a_second(receiver.calls) <= 44, "a tenth over the rate: burst, and 50 ms of delay"
        assert receiver.calls_by_run().total() == len(receiver.calls_by_run()) == 100


async def test_a_target_that_is_well_has_no_row(node: Node, receiver: WebhookReceiver) -> None:
    """What nobody limited and what is well costs nothing: no row, no lane; and what was limited once is forgotten."""
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url)
    await node.api.run_when(job, "SUCCEEDED")
    assert (await node.api.call("GET", "/v1/targets")).json["items"] == []
    await limit(node, "partner", max_concurrency=1)
    await node.api.call("DELETE", "/v1/targets/partner")
    node.engine.pacer._forgot_at = float("-inf")

    async def is_forgotten() -> bool:
        return (await node.api.call("GET", "/v1/targets/partner")).status == 404

    await eventually(is_forgotten)


async def test_of_too_many_unwell_targets_the_latest_are_known(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told of one more forgets what was found longest ago: of nothing that a person has said anything of."""
    monkeypatch.setattr(targets, "MOST_OF_A_TENANT", 2)
    tenant_id = await tenant_of(node, node.api)
    await limit(node, "limited", max_concurrency=1)
    await node.api.call("POST", "/v1/targets/paused/pause")
    for name in ("limited", "paused", "first", "second", "third", "fourth"):
        await node.engine.pacer._tell(Opening((tenant_id, name), "most calls failed"))
    listed = (await node.api.call("GET", "/v1/targets")).json["items"]
    assert [item["name"] for item in listed] == ["fourth", "limited", "paused", "third"]


async def test_a_one_off_run_in_a_lane_waits_for_its_paused_job(node: Node, receiver: WebhookReceiver) -> None:
    """As one that was never claimed does, though its target is well again meanwhile."""
    await node.api.call("POST", "/v1/targets/partner/pause", {"reason": "test"})
    await until_obeyed(node)
    job = await node.api.create(schedule_oneoff=soon(0), job_url=receiver.url, flow="partner")

    async def is_in_lane() -> bool:
        return "waiting_for_target" in await node.api.run(job)

    await eventually(is_in_lane)
    assert (await node.api.call("POST", f"/v1/jobs/{job['job_id']}/pause")).status == 200
    shelved = await node.api.run(job)
    assert (shelved["status"], shelved["due_at"]) == ("SCHEDULED", None)
    await node.api.call("POST", "/v1/targets/partner/resume")
    answer = await node.api.call("POST", f"/v1/jobs/{job['job_id']}/resume", {"from": "pause"})
    assert answer.status == 200
    await node.api.run_when(job, "SUCCEEDED")


async def test_scenario_frozen_node_serves_its_lanes_when_it_is_back(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time that passed on the way to the database is none that it took: a node frozen meanwhile rests no longer."""
    ask, pacer = targets.lanes, node.engine.pacer
    asked = 0

    async def ask_and_freeze(connection: Connection) -> Looked[list[targets.Lane]]:
        nonlocal asked
        asked += 1
        looked = await ask(connection)
        await SystemClock().sleep(FROZEN_SECONDS)
        return looked

    monkeypatch.setattr(targets, "lanes", ask_and_freeze)
    pacer._looked_at = float("-inf")  # it is time
    assert await pacer.run_once() < FROZEN_SECONDS
    assert asked > 0


async def test_a_round_that_ends_early_leaves_no_lane_out(
    node: Node, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is time for one lane a round, each has its turn; a tenant with very many keeps no other waiting."""
    pacer, rounds = node.engine.pacer, []
    serve, serve_lane = pacer._serve, pacer._serve_lane

    async def count_round(lanes: list[targets.Lane]) -> None:
        rounds.append(0)
        await serve(lanes)

    async def count_lane(lane: targets.Lane, room: Any) -> None:
        rounds[-1] += 1
        await serve_lane(lane, room)

    monkeypatch.setattr("countwheel.engine.pacer._ROUND_SECONDS", 0.0)
    monkeypatch.setattr(pacer, "_serve", count_round)
    monkeypatch.setattr(pacer, "_serve_lane", count_lane)
    for number in range(4):
        await limit(node, f"flow-{number}", rate_per_second=100)
    await until_obeyed(node)
    for number in range(4):
        await make_due(node, 3, receiver.url, flow=f"flow-{number}")
    await receiver.wait_for(12)
    assert max(rounds) == 1
