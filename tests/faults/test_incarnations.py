"""A node that was declared lost comes back under another name: what it claimed under the old one is not its own."""

from uuid import UUID

from countwheel.testing import WebhookReceiver
from harness import Node, eventually, soon


async def test_a_claim_that_was_answered_late_gives_another_incarnation_no_right(
    node: Node, receiver: WebhookReceiver
) -> None:
    """Claimed by one incarnation and due under the next: it is dropped unsent, however good the new lease is.

    Found by the simulator: a claim was answered between the moment at which a lost node dropped what it held and its
    new registration.
    """
    engine = node.engine
    job = await node.api.create(schedule_oneoff=soon(0.7), job_url=receiver.url)
    run_id = UUID(job["next_run"]["run_id"])

    async def is_held() -> bool:
        return run_id in engine.held

    await eventually(is_held)
    await engine.claimer.stop()  # nobody is to claim it anew
    await engine.pacer.stop()
    await engine.node.register()
    assert engine.node.has_lease()

    async def is_dropped() -> bool:
        return run_id not in engine.held

    await eventually(is_dropped)
    assert receiver.calls == []
