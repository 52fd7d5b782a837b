"""Preventions taken out of the engine, one each. The checker must notice every one of them.

A mutation changes a node process (`apply`) and perhaps the schema (`SCHEMA`). "plan-twice" is the control of
"primary-key": a planner that plans every tick twice does no harm as long as the key is there.
"""

from collections.abc import Callable, Sequence
from typing import Any

from countwheel.engine.node import Node
from countwheel.engine.recovery import Recovery
from countwheel.store import queries, runs

_QUIET_SECONDS = 3600.0


def apply(name: str) -> None:
    """Take a prevention out of this process. Raises `KeyError` for an unknown name; "" changes nothing."""
    if name:
        MUTATIONS[name]()


def _rewrite(query: str, *pairs: tuple[str, str]) -> None:
    """Change the text of a named query."""
    blocks = queries._blocks()  # noqa: SLF001 (breaking it on purpose)
    for before, after in pairs:
        if before not in blocks[query]:
            raise AssertionError(f"{query} has no {before!r} any more: mend the mutation")
        blocks[query] = blocks[query].replace(before, after)


def _without_fence() -> None:
    """Whoever comes late records all the same."""
    _rewrite("finish", (" AND r.fence = e.fence", ""))
    _rewrite("retry", (" AND r.fence = a.fence AND coalesce(r.node_id, '') = %(node_id)s", ""))


def _without_compare_and_set() -> None:
    """A claim does not lock what it has seen: two nodes take the same run."""
    _rewrite("claim", ("FOR UPDATE SKIP LOCKED", ""))


def _without_recovery() -> None:
    """Nobody takes over from the dead."""

    async def run_once(_self: Recovery) -> float:
        return _QUIET_SECONDS

    Recovery.run_once = run_once  # type: ignore[assignment,method-assign]


def _without_lease_check() -> None:
    """A node that was frozen goes on where it was."""
    Node.has_lease = lambda _self: True  # type: ignore[assignment,method-assign]


def _plan_twice() -> None:
    """Every tick is planned twice, as by a stale leader."""
    insert = runs.insert_occurrences

    async def insert_twice(connection: Any, occurrences: Sequence[Any]) -> int:
        return await insert(connection, occurrences) + await insert(connection, occurrences)

    runs.insert_occurrences = insert_twice


def _without_idempotency() -> None:
    """Every submission is a new one."""
    _rewrite("create_jobs", ("WHERE key IS NULL OR job_id IN (SELECT job_id FROM fresh_keys)", ""))


MUTATIONS: dict[str, Callable[[], None]] = {
    "fence": _without_fence,
    "compare-and-set": _without_compare_and_set,
    "primary-key": _plan_twice,
    "plan-twice": _plan_twice,
    "recovery": _without_recovery,
    "lease-check": _without_lease_check,
    "idempotency": _without_idempotency,
}

HARMLESS = frozenset({"plan-twice"})
"""Mutations that a prevention makes harmless: the checker must find nothing."""

SCHEMA = {
    "primary-key": (
        "ALTER TABLE runs DROP CONSTRAINT runs_pkey",
        "CREATE INDEX runs_by_id ON runs (job_id, run_id)",
    ),
}
"""What is taken out of the schema."""
