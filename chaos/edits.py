"""Thousands of jobs, changed around their due instants by 8 clients on two nodes: what claims and changes make of it.

No fault comes from outside; the clients themselves are what the claims race with. Each job is one client's own, fires
once in a while (a minute, by default), and is changed within half a second of its time, before or after.
"""

import asyncio
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from time import time

from chaos.clients import Clients, Made
from chaos.faults import watching_for_stalls
from chaos.ledger import complete
from chaos.stage import LEASE_SECONDS, stage
from checker.history import History, Limits, Schedule
from checker.report import Verdict, judge

_CLIENTS = 8
_AROUND_SECONDS = 0.5
_BEFORE_SECONDS = 1.2
"""A little longer than before a claim: half of the changes come before it, half after it."""


@dataclass(frozen=True, slots=True)
class Edits:
    """What it came to."""

    verdict: Verdict
    history: History

    def text(self) -> str:
        """Return what was done, and what was broken."""
        kinds = [operation.kind for operation in self.history.operations]
        done = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in sorted(set(kinds)))
        return f"{done}\n{self.verdict.text()}"


async def play_edits(
    jobs: int = 10_000, *, every_seconds: int = 60, seed: int = 1, punctual_seconds: float = 1.0
) -> Edits:
    """Create the jobs, change each of them around its time, and judge what came of it."""
    limits = Limits(lease=LEASE_SECONDS, punctual=punctual_seconds)
    history = History(began=time(), healed_at=0.0, checked_at=0.0, limits=limits)
    async with stage(seed=seed, nodes=2) as on:
        clients = on.clients(Random(seed))
        made = await clients.create_all([Schedule(cron=_every(every_seconds, number)) for number in range(jobs)], "/ok")
        Random(seed).shuffle(made)  # each client has jobs of every second
        async with watching_for_stalls(history.faults), clients.at_work():
            await asyncio.gather(
                *(
                    _Client(clients, made[n::_CLIENTS], every_seconds, Random(seed * _CLIENTS + n)).work()
                    for n in range(_CLIENTS)
                )
            )
        history.healed_at = time()
        await asyncio.sleep(limits.recovery + 1)
        history.operations = clients.operations
        await complete(history, on.postgres.dsn, on.receipts_file)
    return Edits(judge(history), history)


def _every(seconds: int, number: int) -> str:
    return f"{number % seconds}-59/{seconds} * * * * *"


class _Client:
    """Changes one of its jobs after another, whichever is due next, and resumes later what it has paused."""

    def __init__(self, clients: Clients, jobs: Sequence[Made], every_seconds: int, random: Random) -> None:
        self._clients = clients
        self._every_seconds = every_seconds
        self._random = random
        self._paused: list[tuple[float, str, str]] = []
        self._by_second: dict[int, list[Made]] = {}
        for job in jobs:
            self._by_second.setdefault(_second_of(job), []).append(job)

    async def work(self) -> None:
        """Go on until each job was changed and each pause is over."""
        while any(self._by_second.values()) or self._paused:
            now = time()
            if self._paused and (self._paused[0][0] <= now or not any(self._by_second.values())):
                due, label, job_id = heapq.heappop(self._paused)
                await asyncio.sleep(max(0.0, due - now))
                await self._clients.move("resume", label, job_id)
                continue
            second, job = self._next(int(now + _AROUND_SECONDS))
            due = now + (second - now + _AROUND_SECONDS) % self._every_seconds - _AROUND_SECONDS
            await asyncio.sleep(max(0.0, due + self._random.uniform(-_BEFORE_SECONDS, _AROUND_SECONDS) - now))
            await self._change(job, second)

    def _next(self, earliest: int) -> tuple[int, Made]:
        """Return the job whose time is next, from a second on."""
        for ahead in range(self._every_seconds):
            second = (earliest + ahead) % self._every_seconds
            if self._by_second.get(second):
                return second, self._by_second[second].pop()
        raise LookupError("no job is left")

    async def _change(self, job: Made, second: int) -> None:
        label, job_id = job.label, job.job_id
        kinds = ("amend", "pause", "cancel", "delete", "run")
        match self._random.choices(kinds, (4, 3, 1, 1, 1))[0]:
            case "amend":
                moved = second + self._random.randrange(-1, 4)
                await self._clients.reschedule(label, job_id, _every(self._every_seconds, moved))
            case "pause":
                await self._clients.move("pause", label, job_id)
                heapq.heappush(self._paused, (time() + self._random.uniform(0, 3), label, job_id))
            case "cancel":
                await self._clients.cancel_next(label, job_id)
            case "delete":
                await self._clients.delete(label, job_id)
            case _:
                await self._clients.run_now(label, job_id)


def _second_of(job: Made) -> int:
    return int((job.schedule.cron or "0-").split("-")[0])
