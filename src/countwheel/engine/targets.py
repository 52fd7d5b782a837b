"""What this node knows of targets: which are restricted, which are crowded here, and what its own calls met.

The pacer refreshes it a few times a second; nobody else asks the database. A claim, and a run that is about to be sent,
look here whether they are to wait in their target's lane.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from countwheel.clock import Clock
from countwheel.domain.attempt import AttemptResult
from countwheel.domain.breaker import Sign, Window, sign_of
from countwheel.domain.calling import decode
from countwheel.domain.outcome import describe, retry_after
from countwheel.domain.overlap import policy_of
from countwheel.domain.pace import Pace, TargetState
from countwheel.domain.policy import Overlap
from countwheel.domain.target import target_name
from countwheel.engine.held import Held
from countwheel.store.database_time import DatabaseTime
from countwheel.store.runs import ClaimedRun
from countwheel.store.targets import SetAsideRun, Target

Key = tuple[UUID, str]
"""A tenant and the name of one of its targets."""

_LATELY_SECONDS = 2
"""Over so many seconds it is seen at what rate a target is called."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Most of the last calls failed."""

    key: Key
    reason: str


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe has an outcome."""

    key: Key
    well: bool
    reason: str


@dataclass(frozen=True, slots=True)
class TooMuch:
    """A target asked for fewer calls than the `seen_rate` a second that it got from here."""

    key: Key
    seen_rate: float
    retry_after: timedelta | None


Finding = Opening | Probed | TooMuch


def target_of(run: ClaimedRun) -> str:
    """Return the name of the target that a run calls."""
    return target_name(run.job_url, decode(run.calling).flow)


def set_aside(run: ClaimedRun, lane: str | None) -> SetAsideRun:
    """Return the record of a run that is to wait in a lane, or in the common queue where that is None."""
    return SetAsideRun(run.job_id, run.run_id, run.fence, lane)


class Targets:
    """The targets of all tenants, as far as there is anything to know of them."""

    def __init__(self, clock: Clock, database_time: DatabaseTime) -> None:
        self._clock = clock
        self._database_time = database_time
        self._paces: dict[Key, Pace] = {}
        self._crowded: set[Key] = set()
        self._windows: dict[tuple[int, str], Window] = {}
        """By the number that a tenant's id is: every answer is counted, and a UUID is hashed in Python."""
        self._found: dict[tuple[Key, type], Finding] = {}

    def now(self) -> datetime:
        """Return the database's time."""
        return self._database_time.at(self._clock.monotonic())

    # What is known:

    def refresh(self, known: Iterable[Target]) -> None:
        """Take what the database says in place of what was known."""
        self._paces = {(target.tenant_id, target.name): target.pace for target in known}

    def forget_idle(self) -> None:
        """Forget what calls met that have ended long ago."""
        second = int(self._clock.monotonic())
        for key in [key for key, window in self._windows.items() if window.is_empty(second)]:
            del self._windows[key]

    def note(self, key: Key, pace: Pace) -> None:
        """Take what this node has just decided about a target."""
        if key in self._paces:
            self._paces[key] = pace

    def find(self, key: Key) -> Pace | None:
        """Return the pace of a target that is restricted, or None."""
        pace = self._paces.get(key)
        return None if pace is None or pace.state(self.now()) is TargetState.OK else pace

    @property
    def crowded(self) -> frozenset[Key]:
        """The targets whose slow calls fill all the slots that they may have here, while more wait."""
        return frozenset(self._crowded)

    def crowd(self, keys: Iterable[Key]) -> None:
        """Let further runs of targets wait in their lanes."""
        self._crowded.update(keys)

    def uncrowd(self, keys: Iterable[Key]) -> None:
        """Let runs of targets come as ever."""
        self._crowded.difference_update(keys)

    def with_limited_concurrency(self) -> list[Key]:
        """Return the targets whose calls under way are counted."""
        return [key for key, pace in self._paces.items() if pace.max_concurrency is not None]

    def is_any_restricted(self) -> bool:
        """Whether there is anything to obey."""
        return bool(self._paces or self._crowded)

    # Who is to wait:

    def keep_back(self, run: ClaimedRun) -> SetAsideRun | None:
        """Return how a run that was claimed from the common queue waits in a lane; None where it may be sent.

        One that may be skipped, because an earlier one of its job is alive, waits only when that is decided.
        """
        if not self.is_any_restricted():
            return None
        name = target_of(run)
        key = (run.tenant_id, name)
        if key not in self._crowded and self.find(key) is None:
            return None
        return None if may_be_skipped(run) else set_aside(run, name)

    def stop_at(self, held: Held) -> SetAsideRun | None:
        """Return how a held run goes back to wait in its lane; None where it may be sent now."""
        if not self.is_any_restricted() and held.slot is None:
            return None
        key = (held.run.tenant_id, held.target)
        pace = self.find(key)
        if held.slot is not None and self._clock.monotonic() - held.slot > held.late_after_seconds:
            may_go = False
        elif pace is None:
            may_go = held.paced or key not in self._crowded
        elif pace.is_stopped(self.now()):
            may_go = held.probe and not pace.paused
        else:
            may_go = held.paced and (held.slot is not None or pace.rate_at(self.now()) is None)
        return None if may_go else set_aside(held.run, held.target)

    # What calls met:

    def observe(self, held: Held, result: AttemptResult) -> None:
        """Count the outcome of a call."""
        sign = sign_of(result)
        if sign is Sign.NOTHING:
            return
        tenant_id, second = held.run.tenant_id, int(self._clock.monotonic())
        window = self._windows.get((tenant_id.int, held.target))
        if window is None:
            window = self._windows[tenant_id.int, held.target] = Window()
        window.add(second, failed=sign is Sign.FAILED)
        if sign is Sign.WELL and not held.probe:
            return
        key = (tenant_id, held.target)
        if held.probe:
            self._find(Probed(key, sign is Sign.WELL, f"a probe failed: {describe(result)}"))
        elif sign is Sign.FAILED and (why := window.why_open(second)) is not None:
            window.clear()
            self._find(Opening(key, f"{why}; the latest: {describe(result)}"))
        if sign is Sign.TOO_MUCH:
            seen = window.rate_per_second(second, _LATELY_SECONDS)
            self._find(TooMuch(key, seen, retry_after(result, self.now())))

    def take_findings(self) -> list[Finding]:
        """Return what is to be told to everybody, and forget it."""
        found, self._found = list(self._found.values()), {}
        return found

    def give_back(self, findings: Iterable[Finding]) -> None:
        """Keep what could not be told yet."""
        for finding in findings:
            self._find(finding)

    def _find(self, finding: Finding) -> None:
        before = self._found.get((finding.key, type(finding)))
        if isinstance(finding, TooMuch) and isinstance(before, TooMuch):
            longest = max(filter(None, (finding.retry_after, before.retry_after)), default=None)
            finding = replace(finding, retry_after=longest)
        self._found[(finding.key, type(finding))] = finding


def busy_by_target(held: Iterable[Held]) -> Mapping[Key, int]:
    """Return how many of these held runs there are of each target."""
    counts: dict[Key, int] = {}
    for each in held:
        key = (each.run.tenant_id, each.target)
        counts[key] = counts.get(key, 0) + 1
    return counts


def may_be_skipped(run: ClaimedRun) -> bool:
    """Whether it is to be decided yet, when the run is due, what becomes of it beside the earlier ones of its job."""
    return run.overlapping and policy_of(run) is not Overlap.ALLOW
