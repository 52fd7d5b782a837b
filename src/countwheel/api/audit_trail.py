"""Writes entries of the audit log for many requests at once (see `group_commit`)."""

from collections.abc import Sequence

from countwheel.api.group_commit import GroupCommit
from countwheel.store import audit_log
from countwheel.store.audit_log import Entry
from countwheel.store.database import Connection, Database, RefusedRowError


class AuditTrail:
    """Group commit for the audit log."""

    def __init__(self, database: Database) -> None:
        self._writes = GroupCommit[Entry, None](database, _write)

    async def write(self, entry: Entry) -> None:
        """Return when an entry is durable. Raises `DatabaseUnavailableError`: it may have been written or not."""
        try:
            await self._writes.write(entry)
        except RefusedRowError as error:
            # Ours is the fault: the change has been made, and a 400 would say that it has not.
            raise RuntimeError(f"the audit log refuses an entry of {entry.action}") from error


async def _write(connection: Connection, entries: Sequence[Entry]) -> list[None]:
    await audit_log.write(connection, entries)
    return [None] * len(entries)
