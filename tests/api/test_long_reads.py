"""What reads as much as a tenant has keeps nobody else from an answer."""

import asyncio

from harness import Node, eventually
from locks import count_waiting

NOWHERE = "http://127.0.0.1:9/"


async def test_long_reads_leave_connections_for_every_other_request(node: Node) -> None:
    """As many groups of failures as there are connections of the API wait for the ledger; jobs are made and listed."""

    async def some_wait() -> bool:
        return await count_waiting(node.database) >= 2

    async with node.database.transaction() as connection:
        await connection.execute("LOCK TABLE run_history IN ACCESS EXCLUSIVE MODE")
        reading = [asyncio.create_task(node.api.call("GET", "/v1/failures")) for _ in range(8)]
        await eventually(some_wait)
        await node.api.create(schedule_recurring="0 0 1 1 *", job_url=NOWHERE)
        assert (await node.api.call("GET", "/v1/jobs")).status == 200
    assert {answer.status for answer in await asyncio.gather(*reading)} <= {200, 503}
