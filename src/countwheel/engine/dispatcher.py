"""Sends what is due: a bounded number of calls at once, each judged and handed to the recorder.

One run reads as a pipeline: overlap -> pace -> announce -> lease -> sign -> send -> decide -> record. Every error ends
in a record: a run is never dropped because something here went wrong, only because the right to it was lost.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from countwheel.auth.callbacks import CallbackTokens
from countwheel.delivery.request import Credentials, Delivery, build_call
from countwheel.delivery.sender import RightLostError, Sender
from countwheel.domain import calling, outcome, overlap
from countwheel.domain.attempt import AttemptResult, Failure, FailureKind, Response
from countwheel.domain.fingerprint import class_of, class_of_text
from countwheel.domain.long_work import TOKEN_MARGIN
from countwheel.domain.outcome import AttemptsSoFar, Failed, Outcome, RetryAt, Succeeded, Unknown
from countwheel.domain.planning import ends_its_schedule
from countwheel.domain.policy import OnUnknown, RetryPolicy
from countwheel.domain.run import RunStatus
from countwheel.engine.announcer import Announcer
from countwheel.engine.context import Context
from countwheel.engine.credentials import CredentialStore
from countwheel.engine.held import Held, Phase
from countwheel.engine.pauser import Pauser
from countwheel.engine.recorder import Recorder
from countwheel.engine.targets import Key, may_be_skipped
from countwheel.engine.turns import Turns
from countwheel.store import cancellation, runs
from countwheel.store.database import DatabaseUnavailableError
from countwheel.store.long_work import AcceptedRun
from countwheel.store.runs import ClaimedRun, FinishedRun, HeldRun, RetriedRun

_log = structlog.get_logger(__name__)

CANCEL_REASON = "cancelled by request"
_ABORTED = "while its call was under way: the target may have received it"

_ERROR_CHARACTERS = 1_000
_HEADERS_CHARACTERS = 4_096
_DATABASE_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Ways:
    """Where a dispatcher hands on what it does not do itself."""

    recorder: Recorder
    announcer: Announcer
    credentials: CredentialStore
    sender: Sender
    pauser: Pauser
    callbacks: CallbackTokens


class Dispatcher:
    """Starts calls when they are due and there is a free slot."""

    def __init__(self, context: Context, ways: Ways, *, user_agent: str) -> None:
        self._context = context
        self._recorder = ways.recorder
        self._announcer = ways.announcer
        self._credentials = ways.credentials
        self._sender = ways.sender
        self._pauser = ways.pauser
        self._callbacks = ways.callbacks
        self._user_agent = user_agent
        self._ready = Turns(context.settings.concurrency)
        self._under_way: set[asyncio.Task[None]] = set()

    def submit(self, held: Held) -> None:
        """Take a run whose millisecond has come."""
        if not may_be_skipped(held.run) and self._goes_back(held):
            return
        held.phase = Phase.READY
        held.ready_since = self._context.clock.monotonic()
        self._ready.put(held)
        self._start_what_fits()

    def cancel(self, held: Held, reason: str) -> None:
        """Stop a held run: before its call it is never sent, during it the call is aborted."""
        if held.cancelled or held.phase is Phase.RECORDING:
            return
        held.cancel_reason = reason
        if held.task is not None:
            held.task.cancel()
        else:
            self._recorder.put(held, self._ended(held, RunStatus.CANCELED, reason, sent=False))

    def set_aside_unsent(self) -> None:
        """Let what is held and not under way go back into its lane, where its target's pace says so now."""
        for held in self._context.held.in_phase(Phase.WAITING, Phase.READY):
            if not may_be_skipped(held.run):
                self._goes_back(held)
        self._start_what_fits()

    def share_of(self, key: Key) -> int:
        """Return how many calls of a target may be under way here at once."""
        return self._ready.share_of(*key)

    def find_crowded(self, seconds: float) -> list[Key]:
        """Return the targets whose slow calls fill their share while more wait; asked last `seconds` ago."""
        return self._ready.find_crowded(self._context.clock.monotonic(), seconds)

    def drop_all(self) -> None:
        """Forget everything that is held: the lease is lost, and others have the right to it."""
        for held in self._context.held:
            if held.task is not None:
                held.task.cancel()
            self._context.held.drop(held)
        self._ready.clear()

    async def wait_for_calls(self, seconds: float) -> None:
        """Wait until no call is under way, `seconds` at the most, then abort what is left; it will be tried again."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def take_unsent(self) -> list[Held]:
        """Return what is held and not under way, and forget it: it is to be released."""
        unsent = self._context.held.in_phase(Phase.WAITING, Phase.READY)
        for held in unsent:
            self._context.held.drop(held)
        self._ready.clear()
        return unsent

    def _start_what_fits(self) -> None:
        while (held := self._ready.take()) is not None:
            if held.phase is not Phase.READY or held.cancelled:
                self._ready.done(held)
                continue
            held.phase = Phase.SENDING
            held.task = asyncio.get_running_loop().create_task(self._dispatch(held))
            self._under_way.add(held.task)
            held.task.add_done_callback(partial(self._slot_is_free, held))

    def _slot_is_free(self, held: Held, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._ready.done(held)
        if task.cancelled() and held.phase is Phase.SENDING:
            self._aborted(held, None)  # a cancel came before its first step: it never was in its own hands
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("dispatch failed beyond its own care", error=repr(error))
        self._start_what_fits()

    async def _dispatch(self, held: Held) -> None:
        """Take one run from its due moment to its record."""
        started_at: datetime | None = None
        try:
            credentials = await self._prepare(held)
            if credentials is None:
                return
            # From here to the first byte nothing waits. A cancellation is asked for, not only awaited: what awaited the
            # database above may have swallowed it (see service.py).
            if held.cancelled:
                self._aborted(held, None)
                return
            if not self._is_ours(held):
                raise RightLostError
            held.sending_since = self._context.clock.monotonic()
            # Two lower bounds of the database's time, taken at different moments: the truth is later than both.
            started_at = max(self._context.database_time.at(held.sending_since), held.run.due_at)
            result = await self._send(held, credentials, started_at)
            self._context.targets.observe(held, result)
            self._judge(held, result, started_at)
        except RightLostError:
            self._context.held.drop(held)  # recovery frees the row, a peer takes it
        except asyncio.CancelledError:
            self._aborted(held, started_at)
        except Exception as error:  # noqa: BLE001 (said in the ledger and in the log)
            _log.exception("dispatch failed", run_id=str(held.run.run_id), job_id=str(held.run.job_id))
            sent = started_at is not None
            failure = Failure(FailureKind.PROTOCOL, f"internal error: {error!r}", maybe_sent=sent)
            self._judge(held, failure, started_at or self._now())

    def _is_ours(self, held: Held) -> bool:
        """Whether this node has the right to send a run, now, by its own monotonic clock.

        A claim that was answered after the node was declared lost, and came back as another, gives it no right.
        """
        node = self._context.node
        is_same = held.claimed_by == node.node_id
        return is_same and node.has_lease() and self._context.held.find(held.run.run_id) is held

    async def _prepare(self, held: Held) -> Credentials | None:
        """Do what needs the database before a call, and return what signs it; None where it is not to leave.

        While the database is away the run waits, as long as the lease lasts: that is no failed attempt.
        """
        while self._context.node.has_lease():
            try:
                if held.run.overlapping and not await self._may_run_beside(held):
                    return None
                credentials = await self._credentials.of(held.run, calling.decode(held.run.calling), self._now())
                if self._goes_back(held):
                    return None
                if not _is_announced(held.run) or await self._announcer.announce(held):
                    return credentials
                break  # it has been taken over, and whoever did that decides
            except DatabaseUnavailableError:
                await self._context.clock.sleep(_DATABASE_PAUSE_SECONDS)
        self._context.held.drop(held)
        return None

    def _goes_back(self, held: Held) -> bool:
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
                self._recorder.put(held, self._ended(held, RunStatus.SKIPPED, reason, sent=False))
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

    async def _send(self, held: Held, credentials: Credentials, started_at: datetime) -> AttemptResult:
        run = held.run
        delivery = Delivery(
            run_id=run.run_id,
            job_id=run.job_id,
            attempt=run.attempt,
            fence=run.fence,
            scheduled_for=run.scheduled_for,
            trigger=run.trigger,
            url=run.job_url,
            body=run.job_payload.encode(),
            timeout_seconds=run.timeout_seconds,
            method=run.call_method or "POST",
            calling=calling.decode(run.calling),
            callback_headers=self._callback_headers(run, started_at),
        )
        try:
            call = build_call(delivery, credentials, now=started_at, user_agent=self._user_agent)
        except LookupError as error:
            return Failure(FailureKind.NOT_READY, str(error.args[0]), maybe_sent=False)
        # Asked again when the connection stands: making one may take long, and the node may have been frozen meanwhile.
        return await self._sender.send(call, lambda: self._is_ours(held))

    def _callback_headers(self, run: ClaimedRun, started_at: datetime) -> tuple[tuple[str, str], ...]:
        """Return where the target says how it went, if it may take longer than the call."""
        callback = calling.decode(run.calling).callback
        if callback is None:
            return ()
        work = timedelta(seconds=run.timeout_seconds + callback.deadline_seconds)
        urls = self._callbacks.urls(run.tenant_id, run.job_id, run.run_id, run.fence, started_at + work + TOKEN_MARGIN)
        return (("countwheel-callback", urls.complete), ("countwheel-heartbeat", urls.heartbeat))

    def _judge(self, held: Held, result: AttemptResult, started_at: datetime) -> None:
        run = held.run
        callback = calling.decode(run.calling).callback
        if callback is not None and outcome.is_accepted(result):
            deadline, heartbeat = callback.deadline_seconds, callback.heartbeat_seconds
            accepted = AcceptedRun(run.job_id, run.run_id, run.fence, started_at, deadline, heartbeat)
            self._recorder.put(held, accepted)
            return
        attempts = AttemptsSoFar(
            made=run.attempt - (run.attempts_before or 0) - run.lost_attempts,
            first_started_at=run.started_at or started_at,
        )
        decided: Outcome = outcome.decide(
            result,
            _policy(run),
            attempts,
            now=self._now(),
            jitter=self._context.chance.uniform(0.0, 1.0),
        )
        match decided:
            case Succeeded():
                record: FinishedRun | RetriedRun = self._ended(
                    held, RunStatus.SUCCEEDED, None, sent=True, result=result, started_at=started_at
                )
            case Failed(error, gone):
                if gone and run.schedule_recurring is not None and run.call_method is None:
                    self._pauser.put(run.tenant_id, run.job_id, f"its target is gone: {error}")
                record = self._ended(held, RunStatus.FAILED, error, sent=True, result=result, started_at=started_at)
            case Unknown(error):
                record = self._ended(held, RunStatus.UNKNOWN, error, sent=True, result=result, started_at=started_at)
            case RetryAt(due_at, error):
                record = self._again(held, due_at, error, result=result, started_at=started_at)
        self._recorder.put(held, record)

    def _aborted(self, held: Held, started_at: datetime | None) -> None:
        if held.run.run_id not in self._context.held:
            return  # dropped with the lease: not ours to record
        if held.cancelled:
            sent = started_at is not None
            reason = f"{held.cancel_reason} {_ABORTED}" if sent else held.cancel_reason
            self._recorder.put(held, self._ended(held, RunStatus.CANCELED, reason, sent=sent, started_at=started_at))
            return
        error = "lost: the node stopped before the answer came"
        if started_at is not None and held.run.on_unknown == OnUnknown.HOLD:
            error = f"{error} ({outcome.HELD})"
            self._recorder.put(held, self._ended(held, RunStatus.UNKNOWN, error, sent=True, started_at=started_at))
            return
        self._recorder.put(
            held, self._again(held, self._now(), error, result=None, started_at=started_at or self._now())
        )

    def _ended(
        self,
        held: Held,
        status: RunStatus,
        error: str | None,
        *,
        sent: bool,
        result: AttemptResult | None = None,
        started_at: datetime | None = None,
    ) -> FinishedRun:
        response = result if isinstance(result, Response) else None
        return FinishedRun(
            job_id=held.run.job_id,
            run_id=held.run.run_id,
            fence=held.run.fence,
            status=status,
            started_at=started_at,
            finished_at=self._now(),
            http_status=response.status if response else None,
            error=_storable(error) if error is not None else None,
            response_head=response.head if response else None,
            occurrences=1,
            superseded_by=None,
            last=ends_its_schedule(held.run),
            sent=sent,
            trace=_trace(result),
            error_class=class_of(result),
            response_headers=_headers(response),
        )

    def _again(
        self, held: Held, due_at: datetime, error: str, *, result: AttemptResult | None, started_at: datetime
    ) -> RetriedRun:
        response = result if isinstance(result, Response) else None
        return RetriedRun(
            job_id=held.run.job_id,
            run_id=held.run.run_id,
            fence=held.run.fence,
            due_at=due_at,
            started_at=started_at,
            finished_at=self._now(),
            http_status=response.status if response else None,
            error=_storable(error),
            response_head=response.head if response else None,
            trace=_trace(result),
            error_class=class_of(result) or class_of_text(error),
            response_headers=_headers(response),
        )

    def _now(self) -> datetime:
        return self._context.database_time.at(self._context.clock.monotonic())


def _is_announced(run: ClaimedRun) -> bool:
    """Whether a call is written down before its first byte leaves: where others must know if it may have arrived."""
    said = calling.decode(run.calling)
    return run.on_unknown != OnUnknown.RETRY or said.callback is not None or said.cancel_url is not None


def _policy(run: ClaimedRun) -> RetryPolicy:
    return calling.retry_policy(run.max_attempts, run.delivery, run.on_unknown, calling.decode(run.calling).retry)


def _trace(result: AttemptResult | None) -> str | None:
    return None if result is None or result.trace is None else result.trace.encode()


def _headers(response: Response | None) -> str | None:
    """Return the answer's headers as they are stored, a line each; what does not fit is left out."""
    if response is None:
        return None
    return _storable("\n".join(f"{name}: {value}" for name, value in response.headers), _HEADERS_CHARACTERS)


def _storable(text: str, characters: int = _ERROR_CHARACTERS) -> str:
    """Make a text that PostgreSQL takes: no NUL, valid UTF-8, bounded."""
    text = text[:characters].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text.encode("utf-8", "replace").decode("utf-8")
