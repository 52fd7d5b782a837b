"""What was seen. Times are seconds since 1970 by one clock; instants of schedules are whole milliseconds."""

from pathlib import Path

import msgspec


class Schedule(msgspec.Struct, frozen=True):
    """Exactly one of the two: a cron expression in UTC, or one instant."""

    cron: str | None = None
    at_ms: int | None = None


class Operation(msgspec.Struct):
    """Something that a client asked for. Operations on one label never overlap.

    `answered_at` is None and `outcome` "unknown" where no answer came: it may have happened at any time, or never.
    `outcome` "fail" means that it certainly did not happen.
    """

    kind: str
    """create, amend, pause, resume, delete, cancel or run."""
    label: str
    """The client's own name for the job: it travels in the payload, and depends on no id of the server."""
    invoked_at: float
    answered_at: float | None = None
    outcome: str = "unknown"
    schedule: Schedule | None = None
    hold: bool = False
    """A run of this job that was sent and not answered is held (UNKNOWN), never sent again."""
    run_ms: int | None = None
    """For a cancel: the occurrence."""
    answer: str = ""
    """For a cancel what was answered; for a run, its id."""
    overlap: str = ""
    """For a create: the policy, where it is not the default."""


class Receipt(msgspec.Struct):
    """A call that a target received, and what it answered: a status, or "none"."""

    label: str
    run_id: str
    fence: int
    attempt: int
    scheduled_ms: int
    received_at: float
    answered_at: float | None = None
    answer: str = "none"
    trigger: str = "schedule"
    callback: str = ""
    """Where the target says how it went, of a call that it has taken over."""

    @property
    def accepted(self) -> bool:
        """Whether the target answered with a 2xx that says it is done."""
        return self.answer.startswith("2") and not self.taken_over

    @property
    def taken_over(self) -> bool:
        """Whether the target answered 202: it says later how it went. (No target of ours answers so otherwise.)"""
        return self.answer == "202"


class Completion(msgspec.Struct):
    """What a target said of a run that it had taken over. `answer` is empty where none came, or "ok", or "refused"."""

    label: str
    run_id: str
    fence: int
    said: str
    """SUCCEEDED, FAILED, or RETRY: it failed, and is to be tried again."""
    invoked_at: float
    answered_at: float | None = None
    answer: str = ""


class Row(msgspec.Struct):
    """An ended run, as the ledger has it."""

    label: str
    job_id: str
    run_id: str
    status: str
    scheduled_ms: int
    finished_at: float
    fence: int
    attempt: int = 0
    started_at: float | None = None
    error: str = ""
    occurrences: int = 1
    superseded_ms: int | None = None
    resolution: str = ""
    node: str = ""
    trigger: str = "schedule"


class Attempt(msgspec.Struct):
    """An attempt that did not simply succeed, as the ledger has it."""

    run_id: str
    fence: int
    finished_at: float
    error: str


class Live(msgspec.Struct):
    """A run that had not ended when the ledger was read."""

    label: str
    run_id: str
    scheduled_ms: int
    due_at: float
    state: str
    held: bool
    trigger: str = "schedule"

    @property
    def shelved(self) -> bool:
        """Whether it waits for its job to be resumed: it is due at the end of time."""
        return self.due_at > _END_OF_TIME


_END_OF_TIME = 2.5e11
"""Seconds since 1970: a little before the year 9999 is over."""


class Job(msgspec.Struct):
    """A job as the database has it at the end."""

    label: str
    job_id: str
    state: str
    recurring: bool


class Fault(msgspec.Struct):
    """Something that was done to the system, or that the machine did to all of it ("stall")."""

    kind: str
    target: str
    began: float
    ended: float


class Limits(msgspec.Struct, frozen=True):
    """What the system is held to, in seconds."""

    look_ahead: float = 0.5
    lease: float = 3.0
    detection: float = 2.0
    drain: float = 3.0
    punctual: float = 0.05

    @property
    def recovery(self) -> float:
        """How long after a fault its effects may last."""
        return self.lease + self.detection + self.drain


class History(msgspec.Struct):
    """Everything that was seen in one round."""

    began: float
    healed_at: float
    """No fault after this."""
    checked_at: float
    """When the ledger was read."""
    limits: Limits = Limits()
    operations: list[Operation] = []
    receipts: list[Receipt] = []
    completions: list[Completion] = []
    rows: list[Row] = []
    attempts: list[Attempt] = []
    live: list[Live] = []
    jobs: list[Job] = []
    faults: list[Fault] = []

    def save(self, path: Path) -> None:
        """Keep the history as JSON."""
        path.write_bytes(msgspec.json.encode(self))


def load(path: Path) -> History:
    """Return a history that was kept. Raises `msgspec.ValidationError` for anything else."""
    return msgspec.json.decode(path.read_bytes(), type=History)
