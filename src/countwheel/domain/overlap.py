"""What becomes of an occurrence that is due while an earlier run of its job is alive (criterion P1). Pure."""

from dataclasses import dataclass
from typing import Protocol

from countwheel.domain.policy import QUEUE_ALL_LIMIT, Overlap
from countwheel.domain.terms import decode


@dataclass(frozen=True, slots=True)
class Run:
    """It is sent now."""


@dataclass(frozen=True, slots=True)
class Skip:
    """It is not sent at all, and the ledger says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """It is sent when the earlier ones have ended. `cancel_earlier`: they are to end now."""

    seconds: float
    """When to look again, at the latest: whoever ends a run wakes the one that waits for it, as a rule."""
    cancel_earlier: bool = False


REPLACED = "replaced by the next occurrence (overlap policy cancel_running)"
LOOK_AGAIN_SECONDS = 2.0
_BEHIND_OTHERS_SECONDS = 60.0
_CANCELLED_IS_QUICK_SECONDS = 0.5


class Overlapping(Protocol):
    """A run with what is said of others of its job beside it."""

    @property
    def overlap(self) -> str | None: ...  # noqa: D102 (the names of the columns)
    @property
    def terms(self) -> str | None: ...  # noqa: D102


def policy_of(run: Overlapping) -> Overlap:
    """Return the policy that a run obeys: its own (a backfill has one), or its job's, or skip."""
    return Overlap(run.overlap) if run.overlap is not None else decode(run.terms).overlap or Overlap.SKIP


def decide(policy: Overlap, earlier: int, *, is_redriven: bool = False) -> Run | Skip | Wait:
    """Return what becomes of a due run, by its job's policy and how many earlier runs of the job are alive.

    Under a policy of queues one of those is under way and the others wait, or are about to. A redriven run is in no
    queue's limit: somebody has asked for it, and once skipped it could not be asked for again.
    """
    if earlier == 0:
        return Run()
    waiting = earlier - 1
    match policy:
        case Overlap.ALLOW:
            return Run()
        case Overlap.SKIP:
            return Skip("overlap: an earlier run of this job had not ended (overlap policy skip)")
        case Overlap.QUEUE_ONE if waiting:
            return Skip("overlap: one run of this job waited already (overlap policy queue_one)")
        case Overlap.QUEUE_ALL if waiting >= QUEUE_ALL_LIMIT and not is_redriven:
            return Skip(f"overlap: {QUEUE_ALL_LIMIT} runs of this job waited already (overlap policy queue_all)")
        case Overlap.CANCEL_RUNNING:
            return Wait(_CANCELLED_IS_QUICK_SECONDS, cancel_earlier=True)
        case _:
            return Wait(_BEHIND_OTHERS_SECONDS if waiting else LOOK_AGAIN_SECONDS)
