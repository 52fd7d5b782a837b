"""Notifications: errands that tell somebody how a run has ended, and whom a tenant wants told.

They are written in the transaction that ends the run, and only the end that the ledger took gets one. The id of each is
computed from the run, the moment and the fence of its end: the primary key refuses a second one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from countwheel.domain.notification import event
from countwheel.domain.run import Trigger
from countwheel.store import errands, run_view
from countwheel.store.columns import NO_COLUMN, columns_of
from countwheel.store.database import Connection
from countwheel.store.errands import Errand
from countwheel.store.ledger import RunRow
from countwheel.store.queries import query

_OF_THE_RUN = len(RunRow.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Notice:
    """Somebody to be told of an end that is in the ledger: that of this run, at this fence and moment."""

    job_id: UUID
    run_id: UUID
    fence: int
    finished_at: datetime
    url: Annotated[str, NO_COLUMN]


@dataclass(frozen=True, slots=True)
class DefaultsRow:
    """Whom a tenant wants told where a job does not say."""

    on_failure: str | None
    on_success: str | None
    updated_at: datetime | None


async def insert(connection: Connection, notices: Sequence[Notice]) -> None:
    """Write the errands that tell. Must run in the transaction that wrote the ends."""
    if not notices:
        return
    facts = columns_of(notices, "job_ids", "run_ids", "fences", "finished_ats")
    urls = {notice.run_id: notice.url for notice in notices}
    cursor = await connection.execute(query("notice_facts"), facts)
    await errands.insert(connection, [_errand(row, urls) for row in await cursor.fetchall()])


def _errand(row: tuple[Any, ...], urls: dict[UUID, str]) -> Errand:
    ended, (tenant_id, name, labels) = RunRow(*row[:_OF_THE_RUN]), row[_OF_THE_RUN:]
    if ended.finished_at is None:
        raise AssertionError("what is in the ledger has ended")
    return errands.errand(
        about=ended.run_id,
        job_id=ended.job_id,
        tenant_id=tenant_id,
        trigger=Trigger.NOTIFICATION,
        moment=ended.finished_at,
        method="POST",
        url=urls[ended.run_id],
        body=event(run_view.run(ended), name=name, labels=labels),
        wish=ended.fence.to_bytes(4),  # a run that was redriven may end twice
    )


async def read_defaults(connection: Connection, tenant_id: UUID) -> DefaultsRow:
    """Return whom a tenant wants told; nobody where it never said."""
    cursor = await connection.execute(query("read_notification_defaults"), {"tenant_id": tenant_id})
    row = await cursor.fetchone()
    return DefaultsRow(*row) if row else DefaultsRow(None, None, None)


async def put_defaults(
    connection: Connection, tenant_id: UUID, *, on_failure: str | None, on_success: str | None
) -> DefaultsRow:
    """Write down whom a tenant wants told from now on."""
    said = {"tenant_id": tenant_id, "on_failure": on_failure, "on_success": on_success}
    row = await (await connection.execute(query("put_notification_defaults"), said)).fetchone()
    if row is None:
        raise AssertionError("the statement returns what it wrote")
    return DefaultsRow(*row)
