"""Sends what is due: a bounded number of calls at once, each judged and handed to the recorder.

One run reads as a pipeline: pace -> prepare (overlap, announce, credentials) -> lease -> sign -> send -> judge ->
record. Where nothing of that has to wait, a call leaves in the very step in which its turn comes, and its answer is
judged in the step that reads it: no task, no future. What has to wait (a connection, the database) has a task of its
own. Every error ends in a record: a run is never dropped because something here went wrong, only because the right to
it was lost.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from countwheel.auth.callbacks import CallbackTokens
from countwheel.delivery.request import Credentials, Delivery, build_call
from countwheel.delivery.sender import RightLostError, Sender
from countwheel.domain import calling
from countwheel.domain.attempt import AttemptResult, Call, Failure, FailureKind
from countwheel.domain.long_work import TOKEN_MARGIN
from countwheel.domain.run import RunStatus
from countwheel.engine.announcer import Announcer
from countwheel.engine.context import Context
from countwheel.engine.credentials import CredentialStore
from countwheel.engine.held import Held, Phase
from countwheel.engine.pauser import Pauser
from countwheel.engine.preparation import Preparation
from countwheel.engine.recorder import Recorder
from countwheel.engine.targets import Key, may_be_skipped
from countwheel.engine.turns import Turns
from countwheel.engine.verdict import Judge
from countwheel.store.runs import ClaimedRun

_log = structlog.get_logger(__name__)

CANCEL_REASON = "cancelled by request"

_STARTS_A_TURN = 32
"""Calls that leave in one turn of the event loop: after a millisecond or so it is another one's turn. Without that a
flood of 224 calls at once kept claims and records waiting for 20 ms at each of their steps."""
_TASK_WEIGHT = 8
"""For how many such calls one counts that must wait first, mostly for a connection to be made. A herd makes a few in a
turn, and by the next one the first are free again: 1,000 calls need 30 connections and not 224."""


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
        self._sender = ways.sender
        self._pauser = ways.pauser
        self._callbacks = ways.callbacks
        self._user_agent = user_agent
        self._judge = Judge(context.clock, context.chance, context.database_time)
        self._preparation = Preparation(context, self._judge, ways.recorder, ways.announcer, ways.credentials)
        self._turns = Turns(context.settings.concurrency)
        self._starts_left = _STARTS_A_TURN
        self._all_back = asyncio.Event()

    def submit(self, held: Held) -> None:
        """Take a run whose millisecond has come."""
        if not may_be_skipped(held.run) and self._preparation.goes_back(held):
            return
        held.phase = Phase.READY
        held.ready_since = self._context.clock.monotonic()
        self._turns.put(held)
        self._start_what_fits()

    def cancel(self, held: Held, reason: str) -> None:
        """Stop a held run: before its call it is never sent, during it the call is aborted."""
        if held.cancelled or held.phase is Phase.RECORDING:
            return
        held.cancel_reason = reason
        if not self._abort(held):
            self._recorder.put(held, self._judge.unsent(held, RunStatus.CANCELED, reason))

    def set_aside_unsent(self) -> None:
        """Let what is held and not under way go back into its lane, where its target's pace says so now."""
        for held in self._context.held.in_phase(Phase.WAITING, Phase.READY):
            if not may_be_skipped(held.run):
                self._preparation.goes_back(held)
        self._start_what_fits()

    def share_of(self, key: Key) -> int:
        """Return how many calls of a target may be under way here at once."""
        return self._turns.share_of(*key)

    def find_crowded(self, seconds: float) -> list[Key]:
        """Return the targets whose slow calls fill their share while more wait; asked last `seconds` ago."""
        return self._turns.find_crowded(self._context.clock.monotonic(), seconds)

    def drop_all(self) -> None:
        """Forget everything that is held: the lease is lost, and others have the right to it."""
        self._turns.clear()
        for held in self._context.held:
            self._context.held.drop(held)
            self._abort(held)

    async def wait_for_calls(self, seconds: float) -> None:
        """Wait until no call is under way, `seconds` at the most, then abort what is left; it will be tried again."""
        if self._turns.is_idle:
            return
        self._all_back.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._all_back.wait()
        except TimeoutError:
            for held in self._turns.under_way():
                self._abort(held)
            await self._all_back.wait()

    def take_unsent(self) -> list[Held]:
        """Return what is held and not under way, and forget it: it is to be released."""
        unsent = self._context.held.in_phase(Phase.WAITING, Phase.READY)
        for held in unsent:
            self._context.held.drop(held)
        self._turns.clear()
        return unsent

    # Out:

    def _start_what_fits(self) -> None:
        while self._starts_left > 0 and (held := self._turns.take()) is not None:
            if held.phase is not Phase.READY or held.cancelled:
                self._turns.done(held)
                continue
            if self._starts_left == _STARTS_A_TURN:
                asyncio.get_running_loop().call_soon(self._begin_turn)
            self._starts_left -= 1
            held.phase = Phase.SENDING
            if not self._leaves_at_once(held):
                self._starts_left -= _TASK_WEIGHT - 1
                held.task = asyncio.get_running_loop().create_task(self._dispatch(held))
                held.task.add_done_callback(partial(self._task_is_done, held))

    def _begin_turn(self) -> None:
        self._starts_left = _STARTS_A_TURN
        self._start_what_fits()

    def _leaves_at_once(self, held: Held) -> bool:
        """Send a run now, if there is nothing to wait for. False where nothing was done."""
        try:
            credentials = self._preparation.done(held.run)
            if credentials is None or not self._is_ours(held):
                return False
            started_at = self._begin(held)
            call = self._call(held, credentials, started_at)
            held.abort = self._sender.send_at_once(call, partial(self._came_back, held))
        except Exception:  # noqa: BLE001, S110 (nothing has left: the task meets it again, and records it)
            pass
        if held.abort is None:
            held.sending_since, held.started_at = 0.0, None
        return held.abort is not None

    async def _dispatch(self, held: Held) -> None:
        """Take one run from its turn to its record, waiting where need be."""
        try:
            credentials = await self._preparation.prepare(held)
            if credentials is None:
                return
            # From here to the first byte nothing waits. A cancellation is asked for, not only awaited: what awaited the
            # database above may have swallowed it (see service.py).
            if held.cancelled:
                self._record_aborted(held)
                return
            if not self._is_ours(held):
                raise RightLostError
            started_at = self._begin(held)
            self._take_result(held, await self._send(held, credentials, started_at))
        except RightLostError:
            self._context.held.drop(held)  # recovery frees the row, a peer takes it
        except asyncio.CancelledError:
            self._record_aborted(held)
        except Exception as error:  # noqa: BLE001 (said in the ledger and in the log)
            self._record_fault(held, error)

    async def _send(self, held: Held, credentials: Credentials, started_at: datetime) -> AttemptResult:
        try:
            call = self._call(held, credentials, started_at)
        except LookupError as error:
            return Failure(FailureKind.NOT_READY, str(error.args[0]), maybe_sent=False)
        # Asked again when the connection stands: making one may take long, and the node may have been frozen meanwhile.
        return await self._sender.send(call, lambda: self._is_ours(held))

    def _begin(self, held: Held) -> datetime:
        held.sending_since = self._context.clock.monotonic()
        # Two lower bounds of the database's time, taken at different moments: the truth is later than both.
        held.started_at = max(self._context.database_time.at(held.sending_since), held.run.due_at)
        return held.started_at

    def _call(self, held: Held, credentials: Credentials, started_at: datetime) -> Call:
        run = held.run
        said = calling.decode(run.calling)
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
            calling=said,
            callback_headers=() if said.callback is None else self._callback_headers(run, said.callback, started_at),
        )
        return build_call(delivery, credentials, now=started_at, user_agent=self._user_agent)

    def _callback_headers(
        self, run: ClaimedRun, callback: calling.Callback, started_at: datetime
    ) -> tuple[tuple[str, str], ...]:
        """Return where the target says how it went, as it may take longer than the call."""
        work = timedelta(seconds=run.timeout_seconds + callback.deadline_seconds)
        urls = self._callbacks.urls(run.tenant_id, run.job_id, run.run_id, run.fence, started_at + work + TOKEN_MARGIN)
        return (("countwheel-callback", urls.complete), ("countwheel-heartbeat", urls.heartbeat))

    def _is_ours(self, held: Held) -> bool:
        """Whether this node has the right to send a run, now, by its own monotonic clock.

        A claim that was answered after the node was declared lost, and came back as another, gives it no right.
        """
        node = self._context.node
        return held.is_held and held.claimed_by == node.node_id and node.has_lease()

    # Back:

    def _came_back(self, held: Held, result: AttemptResult) -> None:
        """Judge the answer to a call that left at once."""
        try:
            self._take_result(held, result)
        except Exception as error:  # noqa: BLE001 (said in the ledger and in the log)
            self._record_fault(held, error)
        self._is_back(held)

    def _task_is_done(self, held: Held, task: asyncio.Task[None]) -> None:
        if task.cancelled() and held.phase is Phase.SENDING:
            self._record_aborted(held)  # a cancel came before its first step: it never was in its own hands
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("dispatch failed beyond its own care", error=repr(error))
        self._is_back(held)

    def _is_back(self, held: Held) -> None:
        """Free the slot of a call that is not under way any more."""
        held.abort = None
        self._turns.done(held)
        self._start_what_fits()
        if self._turns.is_idle:
            self._all_back.set()

    def _abort(self, held: Held) -> bool:
        """Abort a call that is under way, or on its way there. False where it is neither."""
        if held.abort is not None:
            held.abort()
            self._record_aborted(held)
            self._is_back(held)
        elif held.task is not None:
            held.task.cancel()
        else:
            return False
        return True

    def _take_result(self, held: Held, result: AttemptResult) -> None:
        self._context.targets.observe(held, result)
        if held.started_at is None:
            raise AssertionError("a result of a call that never left")
        verdict = self._judge.judge(held, result, held.started_at)
        if verdict.gone is not None:
            self._pauser.put(held.run.tenant_id, held.run.job_id, verdict.gone)
        self._recorder.put(held, verdict.record)

    def _record_aborted(self, held: Held) -> None:
        if held.is_held:  # else dropped with the lease: not ours to record
            self._recorder.put(held, self._judge.aborted(held, held.started_at))

    def _record_fault(self, held: Held, error: Exception) -> None:
        _log.exception("dispatch failed", run_id=str(held.run.run_id), job_id=str(held.run.job_id))
        sent = held.started_at is not None
        failure = Failure(FailureKind.PROTOCOL, f"internal error: {error!r}", maybe_sent=sent)
        verdict = self._judge.judge(held, failure, held.started_at or self._judge.now())
        self._recorder.put(held, verdict.record)
