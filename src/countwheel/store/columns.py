"""Batches as PostgreSQL takes them fastest: one array a column, unnested there."""

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

from countwheel.store.arrays import ARRAYS, BinaryArray

NO_COLUMN = "no column"
"""What the type of a field is annotated with that no column of the statement is for."""


class _RunRow(Protocol):
    @property
    def job_id(self) -> UUID: ...
    @property
    def run_id(self) -> UUID: ...


_Row = TypeVar("_Row", bound=_RunRow)


class _Column(NamedTuple):
    field: str
    array: type[BinaryArray]


def in_lock_order(batch: Sequence[_Row]) -> list[_Row]:
    """Return rows about runs in the order in which everybody locks runs: or two who want the same two wait in a circle.

    A statement that joins `runs` to what it is given takes them in the order given.
    """
    return sorted(batch, key=_lock_order)


def _lock_order(row: _RunRow) -> tuple[int, int]:
    return row.job_id.int, row.run_id.int  # as UUIDs compare, in PostgreSQL too, without a call for each comparison


def columns_of(batch: Sequence[Any], *names: str) -> dict[str, BinaryArray]:
    """Turn rows (all of one class) into one array a column, called `names` in the order of the fields that are columns.

    What a field holds is said by its annotation: one of the types of `countwheel.store.arrays`, or None beside it.
    """
    if not batch:
        return {name: ARRAYS[str](()) for name in names}
    columns = _columns(batch[0].__class__)
    values = zip(*map(attrgetter(*(column.field for column in columns)), batch), strict=True)
    return {name: column.array(found) for name, found, column in zip(names, values, columns, strict=True)}


@cache
def _columns(row: type) -> list[_Column]:
    hints = get_type_hints(row, include_extras=True)
    return [_Column(name, ARRAYS[_held(hint)]) for name, hint in hints.items() if not _is_no_column(hint)]


def _is_no_column(hint: object) -> bool:
    return get_origin(hint) is Annotated and NO_COLUMN in get_args(hint)[1:]


def _held(hint: object) -> type:
    """Return the type of a field's values, without None."""
    if isinstance(hint, UnionType):
        (held,) = (part for part in get_args(hint) if part is not NoneType)
        return _held(held)
    return next(known for known in ARRAYS if isinstance(hint, type) and issubclass(hint, known))
