"""What must be known, or written down, before a call leaves. Nothing of it, for nearly every run.

An overlapping run obeys its policy; a run whose job holds the unknown is announced; what signs the call is looked up.
"""

from countwheel.delivery.request import Credentials
from countwheel.domain import calling, overlap
from countwheel.domain.policy import OnUnknown
from countwheel.domain.run import RunStatus
from countwheel.engine.announcer import Announcer
from countwheel.engine.context import Context
from countwheel.engine.credentials import CredentialStore
from countwheel.engine.held import Held, Phase
from countwheel.engine.recorder import Recorder
from countwheel.engine.verdict import Judge
from countwheel.store import cancellation, runs
from countwheel.store.database import DatabaseUnavailableError
from countwheel.store.runs import ClaimedRun, HeldRun

_DATABASE_PAUSE_SECONDS = 0.05


class Preparation:
    """Gets a run whose turn it is ready to be sent."""

    def __init__(
        self, context: Context, judge: Judge, recorder: Recorder, announcer: Announcer, credentials: CredentialStore
    ) -> None:
        self._context = context
        self._judge = judge
        self._recorder = recorder
        self._announcer = announcer
        self._credentials = credentials

    def done(self, run: ClaimedRun) -> Credentials | None:
        """Return what signs a call that needs no more than is known already; None where `prepare` must be awaited."""
        if run.overlapping or _is_announced(run):
            return None
        return self._credentials.known(run, calling.decode(run.calling))

    async def prepare(self, held: Held) -> Credentials | None:
        """Do what needs the database before a call, and return what signs it; None where it is not to leave.

        While the database is away the run waits, as long as the lease lasts: that is no failed attempt.
        """
        while self._context.node.has_lease():
            try:
                if held.run.overlapping and not await self._may_run_beside(held):
                    return None
                credentials = await self._credentials.of(held.run, calling.decode(held.run.calling), self._judge.now())
                if self.goes_back(held):
                    return None
                if not _is_announced(held.run) or await self._announcer.announce(held):
                    return credentials
                break  # it has been taken over, and whoever did that decides
            except DatabaseUnavailableError:
                await self._context.clock.sleep(_DATABASE_PAUSE_SECONDS)
        self._context.held.drop(held)
        return None

    def goes_back(self, held: Held) -> bool:
        """Whether a run is not to be sent now, by its target's pace: it goes back into its lane then."""
        if held.phase is Phase.RECORDING or held.cancelled or (aside := self._context.targets.stop_at(held)) is None:
            return False
        self._recorder.put(held, aside)
        return True

    async def _may_run_beside(self, held: Held) -> bool:
        """Obey the overlap policy: True if the run is to be sent now, beside what else of its job may be alive."""
        run = held.run
        earlier = await self._count_earlier(held)
        match overlap.decide(overlap.policy_of(run), earlier, is_redriven=run.attempts_before is not None):
            case overlap.Skip(reason):
                self._recorder.put(held, self._judge.unsent(held, RunStatus.SKIPPED, reason))
            case overlap.Wait(seconds, cancel_earlier):
                if cancel_earlier:
                    await cancellation.cancel_earlier(
                        self._context.database, run.tenant_id, run.job_id, run.run_id, overlap.REPLACED
                    )
                async with self._context.database.connection() as connection:
                    await runs.let_wait(connection, HeldRun(run.job_id, run.run_id, run.fence), seconds)
                self._context.held.drop(held)
            case overlap.Run():
                return True
        return False

    async def _count_earlier(self, held: Held) -> int:
        """Return how many earlier runs of the job are alive; one that has ended and waits for its record is not."""
        while True:
            async with self._context.database.connection() as connection:
                earlier = await runs.count_earlier(connection, held.run)
            recording = self._context.held.in_phase(Phase.RECORDING)
            same_job = any(other.run.job_id == held.run.job_id and other is not held for other in recording)
            if earlier == 0 or not same_job:
                return earlier
            await self._recorder.wait_until_idle()


def _is_announced(run: ClaimedRun) -> bool:
    """Whether a call is written down before its first byte leaves: where others must know if it may have arrived."""
    said = calling.decode(run.calling)
    return run.on_unknown != OnUnknown.RETRY or said.callback is not None or said.cancel_url is not None
