"""Targets' paces when a node dies."""

import signal

from countwheel.testing import Reply, WebhookReceiver
from harness import ServeNode, eventually, flood, running_node, tenant_of


async def test_a_killed_nodes_paced_runs_are_called_by_its_peer(dsn: str) -> None:
    """kill -9 of a node that holds runs of a limited target: its peer takes them over, each is called, and no second
    sees more than the rate; what is repeated was under way.
    """
    async with WebhookReceiver(Reply(delay_seconds=0.02)) as receiver, running_node(dsn) as node:
        await node.api.call("PUT", "/v1/targets/partner", {"rate_per_second": 40, "max_concurrency": 20})
        tenant_id = await tenant_of(node, node.api)
        async with ServeNode(dsn) as killed:
            async with node.database.connection() as connection:
                await flood(connection, tenant_id, 200, receiver.url, flow="partner")

            async def holds_some() -> bool:
                async with node.database.connection() as connection:
                    cursor = await connection.execute(
                        "SELECT FROM runs r JOIN nodes n USING (node_id) WHERE n.pid = %s AND r.lane = 'partner'",
                        [killed.process.pid if killed.process else 0],
                    )
                    return len(receiver.calls) > 20 and await cursor.fetchone() is not None

            await eventually(holds_some)
            killed.send(signal.SIGKILL)
            await killed.end()
            await receiver.wait_until(lambda: len(receiver.calls_by_run()) == 200, 60)

            async def nothing_is_left() -> bool:
                state = (await node.api.call("GET", "/v1/targets/partner")).json
                return bool(state["backlog"] == state["in_flight"] == 0)

            await eventually(nothing_is_left)
    arrivals = sorted(call.received_at for call in receiver.calls)
    most = max(sum(0 <= (later - first).total_seconds() < 1 for later in arrivals) for first in arrivals)
    assert most <= 44
    repeats = len(receiver.calls) - len(receiver.calls_by_run())
    assert repeats <= 20, "no more than could be under way"
