"""One tenant's flood of due runs does not hold another tenant's runs back."""

from uuid import UUID

import pytest

from countwheel.engine.held import Held, Phase
from countwheel.engine.turns import Turns, reserved
from countwheel.store import runs
from countwheel.store.database import Database
from countwheel.testing import Reply, WebhookReceiver
from harness import flood, running_node, soon, tenant_of

FLOOD = 6_000


class Waiting:
    """As much of a held run as a queue looks at."""

    def __init__(self, tenant: int, target: str = "target", ready_since: float = 0.0) -> None:
        self.run = self
        self.tenant_id = UUID(int=tenant)
        self.target = target
        self.phase = Phase.READY
        self.ready_since = ready_since


@pytest.mark.alone
async def test_a_flood_of_one_tenant_delays_no_other(dsn: str) -> None:
    """Scenario "one dead or slow target fills all slots": six thousand calls of one tenant to a slow target are under
    way and waiting; each run of another tenant is called within a second of its time.
    """
    slow = lambda call: Reply(delay_seconds=0.5 if "slow" in call.path else 0.0)  # noqa: E731 (named for the reader)
    async with WebhookReceiver(slow) as receiver, running_node(dsn, stop_grace_seconds=1.0) as node:
        flooding = await node.client(tenant="flooding")
        tenant_id = await tenant_of(node, flooding)
        async with node.database.connection() as connection:
            await flood(connection, tenant_id, FLOOD, receiver.url + "/slow")
        await receiver.wait_for(400)
        # Ahead of their time: a create that takes long beside the flood is no lateness of the run.
        quick = [await node.api.create(schedule_oneoff=soon(0.5 + 0.1 * n), job_url=receiver.url) for n in range(20)]
        lateness = [(await node.api.run_when(job, "SUCCEEDED"))["lateness_ms"] for job in quick]
        assert len(receiver.calls) < FLOOD, "the flood must still be under way"
        assert max(lateness) < 1000


async def test_a_few_runs_of_each_tenant_are_claimed(database: Database) -> None:
    """Whoever waits is found in one step of the index each, and gets eight runs at the most."""
    async with database.transaction() as connection:
        for number in (1, 2, 3):
            await flood(connection, UUID(int=number), 10 * number, "http://127.0.0.1:9/")
        await connection.execute("UPDATE runs SET due_at = now() + interval '1 h' WHERE tenant_id = %s", [UUID(int=2)])
    async with database.transaction() as connection:
        waiting = await runs.tenants_waiting(connection, look_ahead_seconds=0.5)
        assert waiting == [UUID(int=1), UUID(int=3)]
        claimed = await runs.claim_for_tenants(connection, tenant_ids=waiting, node_id="n", look_ahead_seconds=0.5)
        assert sorted(run.tenant_id.int for run in claimed) == [1] * 8 + [3] * 8


def test_tenants_take_turns() -> None:
    """A tenant with one run waits for one of each other's, however many they have."""
    turns = Turns(100)
    for tenant in (1, 1, 1, 1, 2, 3, 3):
        turns.put(Waiting(tenant))  # type: ignore[arg-type] # as much as is looked at
    order = [held.run.tenant_id.int for held in iter(turns.take, None)]
    assert order == [1, 2, 3, 1, 3, 1, 1]


def test_targets_of_a_tenant_take_turns() -> None:
    """A target with one run waits for one of each other's, and the tenants' turns come first."""
    turns = Turns(100)
    for tenant, target in ((1, "a"), (1, "a"), (1, "b"), (1, "c"), (2, "a"), (2, "a")):
        turns.put(Waiting(tenant, target))  # type: ignore[arg-type] # as much as is looked at
    order = [(held.run.tenant_id.int, held.target) for held in iter(turns.take, None)]
    assert order == [(1, "a"), (2, "a"), (1, "b"), (2, "a"), (1, "c"), (1, "a")]


def fill(turns: Turns, tenant: int, target: str, count: int) -> list[Held]:
    """Let runs of one target take every slot that they get."""
    for _ in range(count):
        turns.put(Waiting(tenant, target))  # type: ignore[arg-type] # as much as is looked at
    return list(iter(turns.take, None))


@pytest.mark.parametrize("concurrency", [1, 7, 8, 256])
def test_no_tenant_takes_every_slot(concurrency: int) -> None:
    """However many targets a tenant has, something stays free for others; of fewer than eight slots nothing does."""
    turns = Turns(concurrency)
    taken = sum(len(fill(turns, 1, str(target), concurrency)) for target in range(concurrency + 1))
    kept = max(1, reserved(concurrency) // 2) if concurrency >= 8 else 0
    assert taken <= concurrency - kept
    assert len(fill(turns, 2, "other", 1)) == (concurrency >= 8)


@pytest.mark.parametrize("concurrency", [1, 2, 8, 512])
def test_one_target_has_half_of_its_tenants_slots(concurrency: int) -> None:
    """Of seven eighths; and `share_of` says so before and after."""
    turns = Turns(concurrency)
    share = turns.share_of(UUID(int=1), "target")
    assert len(fill(turns, 1, "target", concurrency)) == share
    assert share == max(1, (concurrency - reserved(concurrency) + 1) // 2)
    assert turns.share_of(UUID(int=1), "target") == share


@pytest.mark.parametrize("hanging", [1, 2, 3, 7, 50])
def test_hanging_targets_leave_slots_to_one_that_is_well(hanging: int) -> None:
    """Targets that hang, and want all, leave one part in m + 1; and whoever comes has a slot, and then another."""
    turns = Turns(512)
    for number in range(hanging * 512):
        turns.put(Waiting(1, f"hanging-{number % hanging}"))  # type: ignore[arg-type] # as much as is looked at
    taken = len(list(iter(turns.take, None)))
    assert taken <= 448 - 448 // (hanging + 1) + hanging
    well = fill(turns, 1, "well", 1)
    assert len(well) == 1
    turns.done(well[0])
    assert len(fill(turns, 1, "well", 1)) == 1


def test_a_queue_is_crowded_where_its_calls_are_slow() -> None:
    """Long waiting for slow calls is; long waiting while calls end quickly, or shortly, is not."""
    turns = Turns(8)
    assert len(fill(turns, 1, "slow", 6)) == 4, "two wait"
    assert turns.find_crowded(0.4, 0.25) == [], "it has not waited for long"
    assert turns.find_crowded(0.9, 0.25) == [(UUID(int=1), "slow")]
    quick = Turns(8)
    for held in fill(quick, 1, "quick", 6):
        quick.done(held)
        assert quick.take() is not None or not quick.find_crowded(0.9, 0.25)
    assert quick.find_crowded(0.9, 0.25) == [], "as many have ended as were under way"
