"""What the database and the target say in the end: the database with SQL of its own, the target by its file."""

import asyncio
from pathlib import Path
from time import time
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

from checker.history import Attempt, History, Job, Live, Receipt, Row

_RECEIPT = msgspec.json.Decoder(Receipt)

_LABEL = "(j.job_payload::jsonb ->> 'label')"
_MS = "round(extract(epoch FROM {}) * 1000)::bigint"
_SECONDS = "extract(epoch FROM {})::float8"

_ROWS = f"""
    SELECT {_LABEL} AS label, h.job_id::text, h.run_id::text, h.status, {_MS.format("h.scheduled_for")} AS scheduled_ms,
        {_SECONDS.format("h.finished_at")} AS finished_at, h.fence, h.attempt,
        {_SECONDS.format("h.started_at")} AS started_at, coalesce(h.error, '') AS error, h.occurrences,
        {_MS.format("h.superseded_by")} AS superseded_ms, coalesce(h.resolution, '') AS resolution,
        coalesce(h.node_id, '') AS node, h.trigger
    FROM run_history h JOIN jobs j USING (job_id)
"""
_ATTEMPTS = f"SELECT run_id::text, fence, {_SECONDS.format('finished_at')} AS finished_at, error FROM attempts"
_LIVE = f"""
    SELECT {_LABEL} AS label, r.run_id::text, {_MS.format("r.scheduled_for")} AS scheduled_ms,
        {_SECONDS.format("r.due_at")} AS due_at, r.state, r.node_id IS NOT NULL AS held, r.trigger
    FROM runs r JOIN jobs j USING (job_id)
"""
_JOBS = f"""
    SELECT {_LABEL} AS label, j.job_id::text, j.state, j.schedule_recurring IS NOT NULL AS recurring FROM jobs j
"""


async def complete(history: History, dsn: str, receipts_file: Path) -> None:
    """Add what the database and the sink know."""
    # The ledger first: a receipt that comes after it belongs to a run that is live in it.
    await asyncio.to_thread(_read_ledger, dsn, history)
    history.checked_at = time()
    history.receipts = read_receipts(receipts_file)


def read_receipts(file: Path) -> list[Receipt]:
    """Return what the sink has noted."""
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [_RECEIPT.decode(line) for line in lines]


def _read_ledger(dsn: str, history: History) -> None:
    with psycopg.connect(dsn) as connection:
        # One snapshot, so that no run is seen between two tables.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        read_all(connection, history)


def read_all(connection: psycopg.Connection[Any], history: History) -> None:
    """Add what the tables hold to a history."""
    history.rows = _all(connection, Row, _ROWS)
    history.attempts = _all(connection, Attempt, _ATTEMPTS)
    history.live = _all(connection, Live, _LIVE)
    history.jobs = _all(connection, Job, _JOBS)


def _all(connection: psycopg.Connection[Any], kind: type[Any], sql: str) -> list[Any]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(sql.encode()).fetchall()
