"""Batches as PostgreSQL takes them fastest: one array a column, unnested there."""

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Protocol, TypeVar
from uuid import UUID

NO_COLUMN = {"column": False}
"""The metadata of a field that no column of the statement is for."""


class _RunRow(Protocol):
    @property
    def job_id(self) -> UUID: ...
    @property
    def run_id(self) -> UUID: ...


_Row = TypeVar("_Row", bound=_RunRow)


def in_lock_order(batch: Sequence[_Row]) -> list[_Row]:
    """Return rows about runs in the order in which everybody locks runs: or two who want the same two wait in a circle.

    A statement that joins `runs` to what it is given takes them in the order given.
    """
    return sorted(batch, key=attrgetter("job_id", "run_id"))


def columns_of(batch: Sequence[Any], *names: str) -> dict[str, list[Any]]:
    """Turn dataclass rows into one list a column, called `names` in the order of the fields that are columns."""
    if not batch:
        return {name: [] for name in names}
    row = attrgetter(*(field.name for field in fields(batch[0]) if field.metadata != NO_COLUMN))
    return dict(zip(names, map(list, zip(*map(row, batch), strict=True)), strict=True))
