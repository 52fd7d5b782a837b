"""One round: act under faults, heal, wait, read, judge."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import time

from chaos.clients import Clients, Plan
from chaos.faults import Faults, watching_for_stalls
from chaos.ledger import complete
from chaos.stage import LEASE_SECONDS, stage
from checker.history import History, Limits
from checker.report import Verdict, judge

_CALM_SECONDS = 5.0
"""After the last fault the clients go on for so long: the system must work again, not only stand."""


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What a round is made of.

    The same seed gives the same behaviour of clients, faults and sink, as far as the timing of real processes allows.
    """

    seed: int
    seconds: float
    nodes: int = 3
    fault_every_seconds: float = 2.5
    frozen: bool = False
    mutation: str = ""
    load: float = 1.0
    punctual_seconds: float = 0.05
    """How late a run may be where no fault is near."""
    keep: Path | None = None
    """Where to keep the history, for `python -m checker`."""
    say: Callable[[str], None] = field(default=lambda _: None)


async def play(plan: RoundPlan) -> Verdict:
    """Play a round and return the verdict."""
    async with stage(seed=plan.seed, nodes=plan.nodes, mutation=plan.mutation) as on:
        clients = on.clients(Random(plan.seed))
        faults = Faults(on, Random(plan.seed + 1))
        limits = Limits(lease=LEASE_SECONDS, punctual=plan.punctual_seconds)
        history = History(began=time(), healed_at=0.0, checked_at=0.0, limits=limits)
        async with watching_for_stalls(faults.noted):
            working = asyncio.create_task(clients.run(Plan().scaled(plan.load)))
            if plan.fault_every_seconds:
                hurting = asyncio.create_task(faults.run(every_seconds=plan.fault_every_seconds, frozen=plan.frozen))
                await _progress(plan, clients, faults)
                history.healed_at = await faults.heal()
                await hurting
            else:
                await _progress(plan, clients, faults)
                history.healed_at = time()
            plan.say("healed; the clients go on for a while")
            await asyncio.sleep(_CALM_SECONDS)
            clients.stop()
            await working
            plan.say("settling")
            await asyncio.sleep(limits.recovery + 1)
        history.operations, history.faults = clients.operations, faults.noted
        history.completions = clients.completions
        await complete(history, on.postgres.dsn, on.receipts_file)
    if plan.keep is not None:
        history.save(plan.keep)
    return judge(history)


async def _progress(plan: RoundPlan, clients: Clients, faults: Faults) -> None:
    """Let the round's time pass."""
    ends_at = time() + plan.seconds
    while (left := ends_at - time()) > 0:
        plan.say(f"{left:4.0f} s left, {len(clients.operations)} operations, {len(faults.noted)} faults")
        await asyncio.sleep(min(left, 10))
