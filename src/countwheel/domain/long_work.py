"""Work that takes longer than its call: a target accepts a run (202) and says later how it went. Pure.

What a target says of a run counts by two rules. A success of any attempt counts: the work is done. A failure speaks for
its own attempt, and for nothing once a later one is under way.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from countwheel.domain.attempt import Failure, FailureKind
from countwheel.domain.outcome import AttemptsSoFar, Failed, Outcome, decide
from countwheel.domain.policy import Delivery, RetryPolicy
from countwheel.domain.run import RunStatus

MAX_RESULT_BYTES = 65_536
"""What a target may leave of its result, as UTF-8."""

TOKEN_MARGIN = timedelta(days=1)
"""How much longer than the work may take the target can say how it went."""

_AT_MOST_ONCE = "at most once: the target had the call, so it is not sent again"
_SILENT_FAILURE = "the target said that it failed"


@dataclass(frozen=True, slots=True)
class Completion:
    """What a target says at the end. `result` is JSON text; `retry` wishes for another attempt after a failure."""

    succeeded: bool
    result: str | None = None
    error: str | None = None
    retry: bool = False

    @property
    def status(self) -> RunStatus:
        """How the run ends by it, unless it is tried again."""
        return RunStatus.SUCCEEDED if self.succeeded else RunStatus.FAILED

    @property
    def reason(self) -> str:
        """Why it failed, for the ledger."""
        return f"{FailureKind.REPORTED}: {self.error or _SILENT_FAILURE}"

    def encode(self) -> str:
        """Return it as it is stored: equal texts are the same completion."""
        said: dict[str, Any] = {"status": self.status, "error": self.error, "retry": self.retry}
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        return f'{text[:-1]},"result":{self.result or "null"}}}'


@dataclass(frozen=True, slots=True)
class Standing:
    """How a live run stands as something is said of it."""

    state: RunStatus
    fence: int
    is_accepted: bool
    was_sent: bool
    has_callback: bool
    was_sent_before: bool = False
    """Before it was redriven."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The run goes by what was said."""


@dataclass(frozen=True, slots=True)
class StandsAlready:
    """What was said is how things are."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be said of this run."""

    why: str


def weigh(completion: Completion, run: Standing, fence: int | None) -> Counts | StandsAlready | Refused:
    """Return what a completion means for a live run.

    `fence` is the attempt that it is about; None where whoever says it has a right to the run as a whole.
    """
    if not run.was_sent and not (run.was_sent_before and completion.succeeded):
        return Refused("it was not sent yet")
    if fence is None and not run.is_accepted and not run.has_callback:
        return Refused("its job has no callback: how it went is what the call is answered with")
    if completion.succeeded:
        return Counts()
    if run.state is RunStatus.RETRYING:
        return StandsAlready() if completion.retry else Counts()
    if fence is None or fence == run.fence:
        return Counts()
    return Refused("a later attempt of it is under way")


@dataclass(frozen=True, slots=True)
class Attempts:
    """What decides whether a run is tried again: its job's policy, and what was tried."""

    policy: RetryPolicy
    so_far: AttemptsSoFar
    now: datetime
    jitter: float = field(default=1.0)
    """From 0 to 1: see `outcome.decide`."""


def decide_reported(completion: Completion, attempts: Attempts) -> Outcome:
    """Return what becomes of a run whose target said that it failed."""
    if not completion.retry:
        return Failed(completion.reason)
    if attempts.policy.delivery is Delivery.AT_MOST_ONCE:
        return Failed(f"{completion.reason} ({_AT_MOST_ONCE})")
    # Certain, unlike a broken call: the target has said how it went.
    return _decide(FailureKind.REPORTED, completion.error or _SILENT_FAILURE, attempts, maybe_sent=False)


@dataclass(frozen=True, slots=True)
class Silence:
    """An accepted run of which nothing was heard in time."""

    accepted_at: datetime
    deadline_at: datetime
    heartbeat_seconds: float | None


def decide_overdue(silence: Silence, attempts: Attempts) -> Outcome:
    """Return what becomes of a run whose target has let its deadline, or its next heartbeat, pass."""
    if attempts.now >= silence.deadline_at or silence.heartbeat_seconds is None:
        seconds = (silence.deadline_at - silence.accepted_at).total_seconds()
        detail = f"accepted, and not completed by its deadline of {seconds:g} s"
    else:
        detail = f"accepted, and no heartbeat for {silence.heartbeat_seconds:g} s"
    return _decide(FailureKind.OVERDUE, detail, attempts, maybe_sent=True)


def _decide(kind: FailureKind, detail: str, attempts: Attempts, *, maybe_sent: bool) -> Outcome:
    failure = Failure(kind, detail, maybe_sent=maybe_sent)
    return decide(failure, attempts.policy, attempts.so_far, now=attempts.now, jitter=attempts.jitter)
