"""What is called: answers, refuses, drops, hangs, each by chance, and notes what arrived.

Where a call brings a callback it may take the run over (202) and say later how it went, over a network that loses
things.
"""

import asyncio
import json
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit
from uuid import UUID

from checker.history import Completion, Receipt
from countwheel.auth.callbacks import KEY_PURPOSE, CallbackTokens
from countwheel.clock import SystemChance
from countwheel.delivery.sender import Abort, MayLeave, RightLostError, Told
from countwheel.domain import long_work as domain
from countwheel.domain.attempt import AttemptResult, Call, Failure, FailureKind, Response
from countwheel.domain.timestamp import parse_oneoff
from countwheel.store import long_work
from countwheel.store.database import DatabaseUnavailableError
from countwheel.store.long_work import Completed
from countwheel.store.sealing import Sealer
from simulator.database import Server, SimDatabase
from simulator.loop import Actor, as_actor

SECRET_KEY = bytes(range(32))
_TRIES = 40


@cache
def tokens() -> CallbackTokens:
    """Return what every node signs its callbacks with."""
    return CallbackTokens(Sealer(SECRET_KEY, SystemChance()).derive_keys(KEY_PURPOSE), "http://simulated.test")


@dataclass(slots=True)
class Target:
    """One receiver for all nodes."""

    server: Server
    receipts: list[Receipt] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)
    _working: set["asyncio.Task[None]"] = field(default_factory=set)

    def receive(self, call: Call) -> Receipt:
        """Note a call that has arrived."""
        headers = dict(call.all_headers())
        scheduled_for = parse_oneoff(headers["countwheel-scheduled-for"], None)
        receipt = Receipt(
            label=json.loads(call.body)["label"],
            run_id=headers["webhook-id"],
            fence=int(headers["countwheel-fence"]),
            attempt=int(headers["countwheel-attempt"]),
            scheduled_ms=round(scheduled_for.timestamp() * 1000),
            received_at=self.server.now.timestamp(),
            trigger=headers["countwheel-trigger"],
        )
        self.receipts.append(receipt)
        return receipt

    def take_over(self, call: Call, receipt: Receipt) -> None:
        """Work on a run, and say later how it went; now and then nothing."""
        work = asyncio.get_running_loop().create_task(self._work(call, receipt), context=as_actor(Actor("target")))
        self._working.add(work)
        work.add_done_callback(self._working.discard)

    async def _work(self, call: Call, receipt: Receipt) -> None:
        random = self.server.random
        await asyncio.sleep(random.choice((0.0, random.uniform(0.0, 2.5))))
        said = random.choices(("SUCCEEDED", "FAILED", "RETRY", ""), (7, 1, 1, 1))[0]
        if not said:
            return
        completion = domain.Completion(said == "SUCCEEDED", retry=said == "RETRY")
        noted = Completion(receipt.label, receipt.run_id, receipt.fence, said, self.server.now.timestamp())
        self.completions.append(noted)
        url = urlsplit(dict(call.headers)["countwheel-callback"])
        job_id, run_id = UUID(url.path.split("/")[3]), UUID(url.path.split("/")[5])
        token = tokens().open(url.query.removeprefix("token="), job_id, run_id, self.server.now)
        for _ in range(_TRIES):
            try:
                async with SimDatabase(self.server).transaction() as connection:
                    at = (token.tenant_id, job_id, run_id)
                    answer = await long_work.complete(connection, at, completion, token.fence, jitter=random.random())
            except DatabaseUnavailableError:
                await asyncio.sleep(random.uniform(0.05, 0.5))
                continue
            noted.answered_at = self.server.now.timestamp()
            noted.answer = "ok" if isinstance(answer, Completed) else "refused"
            return


def told_later(result: asyncio.Task[AttemptResult], told: Told) -> Abort:
    """Tell what comes of a call when it is there. Returns what aborts the call: then nobody is told."""

    def tell(task: asyncio.Task[AttemptResult]) -> None:
        if not task.cancelled():
            told(task.result())

    def abort() -> None:
        result.remove_done_callback(tell)
        result.cancel()

    result.add_done_callback(tell)
    return abort


class SimSender:
    """The `Sender` of one node."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def send(self, call: Call, may_leave: MayLeave = lambda: True) -> AttemptResult:
        """Make a call: connect, ask once more, send, wait for what comes back."""
        random = self._target.server.random
        await asyncio.sleep(random.uniform(0.0001, 0.002))
        # Not on the last attempt: three in a row, once in 40,000 runs, are an end without a call, which the checker
        # takes for a loss.
        if random.random() < 0.03 and dict(call.all_headers()).get("countwheel-attempt") != "3":
            return Failure(FailureKind.CONNECT, "simulated: refused", maybe_sent=False)
        if not may_leave():
            raise RightLostError
        return await self._in_time(call, self._target.receive(call))

    async def _in_time(self, call: Call, receipt: Receipt) -> AttemptResult:
        random = self._target.server.random
        try:
            async with asyncio.timeout(call.timeout_seconds):
                return await self._answered(call, receipt, random.random())
        except TimeoutError:
            return Failure(FailureKind.TIMEOUT, "simulated: hung", maybe_sent=True)

    def send_at_once(self, call: Call, told: Told) -> Abort | None:
        """Make a call on a connection that stands, where there is one: half of the time."""
        if self._target.server.random.random() < 0.5:
            return None
        receipt = self._target.receive(call)
        return told_later(asyncio.create_task(self._in_time(call, receipt)), told)

    async def close(self) -> None:
        """There is nothing to close."""

    async def _answered(self, call: Call, receipt: Receipt, chance: float) -> AttemptResult:
        server = self._target.server
        if chance < 0.02:
            await asyncio.Event().wait()  # for ever
        long = chance > 0.85
        await asyncio.sleep(server.random.uniform(1.0, 4.0) if long else server.random.uniform(0.001, 0.05))
        if chance < 0.06:
            return Failure(FailureKind.DISCONNECTED, "simulated: dropped", maybe_sent=True)
        status = 500 if chance < 0.15 else 200
        if status == 200 and "countwheel-callback" in dict(call.headers) and server.random.random() < 0.8:
            status = 202
            self._target.take_over(call, receipt)
        receipt.answered_at, receipt.answer = server.now.timestamp(), str(status)
        await asyncio.sleep(server.random.uniform(0.0001, 0.002))
        return Response(status, b"")
