"""The ceiling loop does what it says, so that what it leaves out is all that it gains by."""

import asyncio

import psycopg
import pytest

from benchmarks import receipts
from benchmarks.ceiling import FILL, SCHEMA, Loop
from benchmarks.measured import Faults
from benchmarks.raw_client import RawClient
from benchmarks.sink import Connection, Receiver

JOBS = 1_200


@pytest.fixture
async def sink(tmp_path):
    """Lend a sink in this process: its address, and what it takes."""
    receiver = Receiver(tmp_path / "receipts")
    server = await asyncio.get_running_loop().create_server(lambda: Connection(receiver), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}", receiver
    server.close()
    await server.wait_closed()
    receiver.close()


@pytest.fixture
async def client(sink):
    """Lend a raw client of the sink, with fewer connections than there are calls."""
    address, _ = sink
    connected = await RawClient.connect(f"http://{address}", 8)
    yield connected
    connected.close()


async def test_every_row_is_called_once_and_finished(dsn, sink, client, tmp_path):
    """Over several batches each row is sent once, and is then in the history and nowhere else."""
    address, receiver = sink
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as claiming,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as finishing,
    ):
        await claiming.execute(SCHEMA)
        await claiming.execute(FILL, (0, JOBS))
        await Loop(client, address, JOBS).run(claiming, finishing)
        counts = "SELECT (SELECT count(*) FROM ceiling_runs), (SELECT count(DISTINCT id) FROM ceiling_history)"
        assert await (await claiming.execute(counts)).fetchone() == (0, JOBS)
    receiver.flush()
    assert receipts.count(receipts.read(tmp_path / "receipts"), JOBS).faults == Faults()


async def test_raw_client_tells_the_status_of_each_call(client):
    """Calls wait for a connection, and each gets an answer."""
    call = b"POST /hook HTTP/1.1\r\nhost: x\r\nwebhook-id: 1\r\ncontent-length: 2\r\n\r\n{}"
    assert await asyncio.gather(*(client.post(call) for _ in range(50))) == [200] * 50
