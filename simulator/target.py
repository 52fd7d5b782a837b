"""What is called: answers, refuses, drops, hangs, each by chance, and notes what arrived."""

import asyncio
import json
from dataclasses import dataclass, field

from checker.history import Receipt
from countwheel.delivery.sender import MayLeave, RightLostError
from countwheel.domain.attempt import AttemptResult, Call, Failure, FailureKind, Response
from countwheel.domain.timestamp import parse_oneoff
from simulator.database import Server


@dataclass(slots=True)
class Target:
    """One receiver for all nodes."""

    server: Server
    receipts: list[Receipt] = field(default_factory=list)

    def receive(self, call: Call) -> Receipt:
        """Note a call that has arrived."""
        headers = dict(call.headers)
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


class SimSender:
    """The `Sender` of one node."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def send(self, call: Call, may_leave: MayLeave = lambda: True) -> AttemptResult:
        """Make a call: connect, ask once more, send, wait for what comes back."""
        random = self._target.server.random
        await asyncio.sleep(random.uniform(0.0001, 0.002))
        if random.random() < 0.03:
            return Failure(FailureKind.CONNECT, "simulated: refused", maybe_sent=False)
        if not may_leave():
            raise RightLostError
        receipt = self._target.receive(call)
        try:
            async with asyncio.timeout(call.timeout_seconds):
                return await self._answered(receipt, random.random())
        except TimeoutError:
            return Failure(FailureKind.TIMEOUT, "simulated: hung", maybe_sent=True)

    async def close(self) -> None:
        """There is nothing to close."""

    async def _answered(self, receipt: Receipt, chance: float) -> AttemptResult:
        server = self._target.server
        if chance < 0.02:
            await asyncio.Event().wait()  # for ever
        long = chance > 0.85
        await asyncio.sleep(server.random.uniform(1.0, 4.0) if long else server.random.uniform(0.001, 0.05))
        if chance < 0.06:
            return Failure(FailureKind.DISCONNECTED, "simulated: dropped", maybe_sent=True)
        status = 500 if chance < 0.15 else 200
        receipt.answered_at, receipt.answer = server.now.timestamp(), str(status)
        await asyncio.sleep(server.random.uniform(0.0001, 0.002))
        return Response(status, b"")
