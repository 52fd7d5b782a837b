"""A run: the durable work for one occurrence, its states, and the ways between them."""

from enum import StrEnum


class Trigger(StrEnum):
    """Why a run exists. Part of the run's id: never rename one."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    """Somebody wanted a run now. Such a run is part of no chain: it arms nothing, and ends no job."""
    BACKFILL = "backfill"
    """Somebody wanted an occurrence of the past (again). As a manual run, it is part of no chain."""
    NOTIFICATION = "notification"
    """An errand: tells somebody how a run of the job has ended."""
    CANCELLATION = "cancellation"
    """An errand: tells a target that a call it has taken is cancelled."""


ERRANDS = frozenset({Trigger.NOTIFICATION, Trigger.CANCELLATION})
"""Runs that make another call than their job's, once something has come of a run. Each has its own URL and body, is
bound to nothing that the job says of its runs, outlives the job's end, and sends no errand itself."""


class RunStatus(StrEnum):
    """Where a run stands. The values are the API's and the ledger's."""

    SCHEDULED = "SCHEDULED"
    CLAIMED = "CLAIMED"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    SKIPPED = "SKIPPED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


LIVE = frozenset({RunStatus.SCHEDULED, RunStatus.CLAIMED, RunStatus.RUNNING, RunStatus.RETRYING})
"""The states of a row in `runs`; every other state is an end, and its row is in `run_history`."""

ENDED = frozenset(RunStatus) - LIVE

_TAKEN_BACK = {
    RunStatus.UNKNOWN: frozenset({RunStatus.RETRYING}),
    # SCHEDULED where it was parked before its first attempt.
    RunStatus.FAILED: frozenset({RunStatus.RETRYING, RunStatus.SCHEDULED}),
}

TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.SCHEDULED: frozenset({RunStatus.CLAIMED, RunStatus.CANCELED}),
    RunStatus.CLAIMED: frozenset(
        {
            RunStatus.RUNNING,
            RunStatus.SCHEDULED,  # released at a graceful stop, or its node's lease ended
            RunStatus.RETRYING,  # answered, or its node's lease ended, before the call was old enough to show RUNNING
            RunStatus.SUCCEEDED,
            RunStatus.FAILED,
            RunStatus.CANCELED,
            RunStatus.SKIPPED,
            RunStatus.EXPIRED,
        }
    ),
    RunStatus.RUNNING: frozenset(
        {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.RETRYING, RunStatus.CANCELED, RunStatus.UNKNOWN}
    ),
    RunStatus.RETRYING: frozenset(
        {
            RunStatus.CLAIMED,
            RunStatus.CANCELED,
            RunStatus.SUCCEEDED,  # by the word of a target that was taken for silent, or whose answer was lost
            RunStatus.FAILED,
        }
    ),
} | {
    # A person may take back a dead letter: its row in the ledger stays, and it is live once more.
    status: _TAKEN_BACK.get(status, frozenset())
    for status in ENDED
}
"""Every way a run may go. `docs/architecture.md` draws this table; a test keeps the two alike."""
