"""Errands: runs that make another call than their job's, once something has come of a run of it.

They are inserted in the transaction that decides what they tell, so that neither is there without the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from countwheel.domain import ids
from countwheel.domain.calling import decode
from countwheel.domain.job import compact_json
from countwheel.domain.run import ERRANDS, Trigger
from countwheel.domain.timestamp import format_instant
from countwheel.store.columns import columns_of
from countwheel.store.database import Connection
from countwheel.store.queries import query


@dataclass(frozen=True, slots=True)
class Errand:
    """A call to be made. `call_body` is the JSON text that will be signed and sent."""

    job_id: UUID
    run_id: UUID
    tenant_id: UUID
    bucket: int
    trigger: str
    scheduled_for: datetime
    call_method: str
    call_url: str
    call_body: str


def errand(
    *,
    about: UUID,
    job_id: UUID,
    tenant_id: UUID,
    trigger: Trigger,
    moment: datetime,
    method: str,
    url: str,
    body: str,
    wish: bytes = b"",
) -> Errand:
    """Return the errand about a run, due at `moment`.

    Its id is computed from the moment, its trigger, the run that it is about, and `wish`, which tells apart what one
    run sends at the same moment. The moment is cut to whole milliseconds; it is due at once where it is past.
    """
    at = ids.instant_of(ids.milliseconds_of(moment))
    run_id = ids.run_id(job_id, at, trigger, about.bytes + wish)
    return Errand(job_id, run_id, tenant_id, ids.bucket_of(run_id), trigger, at, method, url, body)


class CancelledRun(Protocol):
    """A run that was sent and is cancelled, with what its job says of its calls."""

    @property
    def job_id(self) -> UUID: ...  # noqa: D102 (the names of the columns)
    @property
    def run_id(self) -> UUID: ...  # noqa: D102
    @property
    def tenant_id(self) -> UUID: ...  # noqa: D102
    @property
    def trigger(self) -> str: ...  # noqa: D102
    @property
    def scheduled_for(self) -> datetime: ...  # noqa: D102
    @property
    def fence(self) -> int: ...  # noqa: D102
    @property
    def calling(self) -> str | None: ...  # noqa: D102


def cancellation_of(run: CancelledRun, *, attempt: int, reason: str, moment: datetime) -> list[Errand]:
    """Return the errand that tells a run's target of its cancel; none where its job names nobody to be told."""
    calling = decode(run.calling)
    if calling.cancel_url is None or run.trigger in ERRANDS:
        return []
    body = {
        "type": "run.cancelled",
        "job_id": str(run.job_id),
        "run_id": str(run.run_id),
        "scheduled_for": format_instant(run.scheduled_for),
        "attempt": attempt,
        "fence": run.fence,
        "reason": reason,
        "cancelled_at": format_instant(moment),
    }
    told = errand(
        about=run.run_id,
        job_id=run.job_id,
        tenant_id=run.tenant_id,
        trigger=Trigger.CANCELLATION,
        moment=moment,
        method=calling.cancel_method,
        url=calling.cancel_url,
        body=compact_json(body),
    )
    return [told]


async def insert(connection: Connection, errands: Sequence[Errand]) -> None:
    """Write errands down; one that is there already is left as it is."""
    if errands:
        await connection.execute(
            query("insert_errands"),
            columns_of(
                errands,
                *("job_ids", "run_ids", "tenant_ids", "buckets", "triggers", "scheduled_fors"),
                *("call_methods", "call_urls", "call_bodies"),
            ),
        )
