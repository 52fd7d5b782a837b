"""The ceiling: claim, signed POST, durable finish, and nothing else. No scheduler in one process could be faster.

One process, one event loop (uvloop), two connections to the same PostgreSQL that schedulers have, and the same sink:

    claim  UPDATE ... RETURNING of up to 500 due rows, under a fence, one commit; the next while the last are sent
    post   one HTTP POST each over kept-alive connections, signed by HMAC-SHA256 as Standard Webhooks wants it
    finish DELETE of those rows under their fences, INSERT into a history table, one commit a batch

It has no API, no rights, no schedules, retries, leases, time-outs, guard, lateness or second node.

    python -m benchmarks.ceiling [--jobs N] [--rounds N]
"""

import argparse
import asyncio
import base64
import hmac
import math
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
import uvloop
from psycopg.rows import namedtuple_row

from benchmarks.ground import ground
from benchmarks.measured import readable
from benchmarks.raw_client import RawClient
from benchmarks.receipts import count
from benchmarks.row import Figures
from benchmarks.stage import Sink

_BATCH = 500
_AHEAD = 1_000
"""So many claimed rows wait for a connection, at the most, before the next are claimed."""
CONNECTIONS = 64
_SECRET = b"the ceiling's secret of 32 bytes"

SCHEMA = """
    DROP TABLE IF EXISTS ceiling_runs, ceiling_history;
    CREATE TABLE ceiling_runs (
        id bigint PRIMARY KEY, due_at timestamptz NOT NULL, claimed bool NOT NULL DEFAULT false,
        fence int NOT NULL DEFAULT 0, payload text NOT NULL
    ) WITH (fillfactor = 50);
    CREATE INDEX ceiling_due ON ceiling_runs (due_at) WHERE NOT claimed;
    CREATE TABLE ceiling_history (
        id bigint NOT NULL, due_at timestamptz NOT NULL, fence int NOT NULL, status int NOT NULL,
        finished_at timestamptz NOT NULL
    );
"""
FILL = """
    INSERT INTO ceiling_runs (id, due_at, payload)
    SELECT n, to_timestamp(%s), '{"hello":"world"}' FROM generate_series(1, %s) AS n
"""
_CLAIM = f"""
    UPDATE ceiling_runs AS r SET claimed = true, fence = fence + 1
    FROM (
        SELECT id FROM ceiling_runs WHERE NOT claimed AND due_at <= now()
        ORDER BY due_at LIMIT {_BATCH} FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE r.id = due.id
    RETURNING r.id, r.due_at, r.fence, r.payload
"""
_FINISH = """
    WITH gone AS (
        DELETE FROM ceiling_runs AS r
        USING unnest(%b::bigint[], %b::int[], %b::int[]) AS ended (id, fence, status)
        WHERE r.id = ended.id AND r.fence = ended.fence
        RETURNING r.id, r.due_at, r.fence, ended.status
    )
    INSERT INTO ceiling_history SELECT id, due_at, fence, status, clock_timestamp() FROM gone
"""


class Claimed(NamedTuple):
    """A row that is ours until it is finished."""

    id: int
    due_at: datetime
    fence: int
    payload: str


class Loop:
    """Three parts that go on at the same time: claiming, sending, finishing."""

    def __init__(self, client: RawClient, host: str, jobs: int) -> None:
        self._client = client
        self._host = host
        self._left_to_claim = jobs
        self._left_to_finish = jobs
        self._unsent = 0
        self._ended: deque[tuple[int, int, int]] = deque()
        self._is_hungry = asyncio.Event()
        self._has_ended = asyncio.Event()
        self._key = hmac.new(_SECRET, digestmod="sha256")

    async def run(self, claiming: psycopg.AsyncConnection[Any], finishing: psycopg.AsyncConnection[Any]) -> float:
        """Return when the last run is durably finished: that moment."""
        await asyncio.gather(self._claim(claiming), self._finish(finishing))
        return time.time()

    async def _claim(self, connection: psycopg.AsyncConnection[Any]) -> None:
        cursor = connection.cursor(binary=True, row_factory=namedtuple_row)
        while self._left_to_claim:
            rows = await (await cursor.execute(_CLAIM, prepare=True)).fetchall()
            self._left_to_claim -= len(rows)
            self._unsent += len(rows)
            for row in rows:
                self._send(row)  # type: ignore[arg-type] # a row has the columns of Claimed
            while self._unsent > _AHEAD - _BATCH:
                self._is_hungry.clear()
                await self._is_hungry.wait()

    def _send(self, run: Claimed) -> None:
        def done(status: int) -> None:
            self._unsent -= 1
            self._ended.append((run.id, run.fence, status))
            self._has_ended.set()
            if self._unsent <= _AHEAD - _BATCH:
                self._is_hungry.set()

        self._client.call(self._request(run), done)

    def _request(self, run: Claimed) -> bytes:
        at, body = int(time.time()), run.payload.encode()
        signing = self._key.copy()
        signing.update(b"%d.%d.%b" % (run.id, at, body))
        signature = base64.b64encode(signing.digest())
        scheduled_for = run.due_at.astimezone(UTC).isoformat(timespec="milliseconds").encode()
        return (
            b"POST /hook HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\nwebhook-id: %d\r\n"
            b"webhook-timestamp: %d\r\nwebhook-signature: v1,%b\r\ncountwheel-scheduled-for: %b\r\n"
            b"content-length: %d\r\n\r\n%b"
            % (self._host.encode(), run.id, at, signature, scheduled_for, len(body), body)
        )

    async def _finish(self, connection: psycopg.AsyncConnection[Any]) -> None:
        cursor = connection.cursor()
        while self._left_to_finish:
            while not self._ended:
                self._has_ended.clear()
                await self._has_ended.wait()
            batch = [self._ended.popleft() for _ in range(min(len(self._ended), _BATCH))]
            ids, fences, statuses = (list(column) for column in zip(*batch, strict=True))
            await cursor.execute(_FINISH, (ids, fences, statuses), prepare=True)
            if cursor.rowcount != len(batch):
                raise RuntimeError("a fence had risen: there is another who claims")
            self._left_to_finish -= len(batch)


async def ceiling(dsn: str, sink: Sink, jobs: int) -> Figures:
    """Make `jobs` rows that are due at one instant, and return how many the loop does a second from then on."""
    since = await sink.count()
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as claiming,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as finishing,
    ):
        await claiming.execute(SCHEMA)
        due = float(math.ceil(time.time() + 3 + jobs / 50_000))
        await claiming.execute(FILL, (due, jobs))
        await claiming.execute("VACUUM ANALYZE ceiling_runs")
        await claiming.execute("CHECKPOINT")
        client = await RawClient.connect(sink.url, CONNECTIONS)
        if time.time() > due:
            raise RuntimeError("making the rows took too long")
        await asyncio.sleep(due - time.time())
        cpu = time.process_time()
        done_at = await Loop(client, sink.url.removeprefix("http://"), jobs).run(claiming, finishing)
        cpu = time.process_time() - cpu
        client.close()
        await sink.count()  # all of them are in the file then
        tally = count(sink.receipts(since), jobs)
        await claiming.execute("DROP TABLE ceiling_runs, ceiling_history")
    return {
        "durable_per_second": jobs / (done_at - due),
        "sent_per_second": jobs / (tally.last_at - due),
        "python_us": cpu / jobs * 1e6,
        **tally.faults.figures(),
    }


async def main(jobs: int, rounds: int) -> None:
    """Measure and print."""
    async with ground() as on:
        for number in range(rounds):
            figures = await ceiling(on.dsn, on.sink, jobs)
            print(
                f"{number + 1}/{rounds}", *(f"{name} {readable(value)}" for name, value in figures.items()), sep="   "
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The ceiling.")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(arguments.jobs, arguments.rounds))
