"""Batches as PostgreSQL takes them fastest: one array a column, unnested there."""

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

NO_COLUMN = {"column": False}
"""The metadata of a field that no column of the statement is for."""


def columns_of(batch: Sequence[Any], *names: str) -> dict[str, list[Any]]:
    """Turn dataclass rows into one list a column, called `names` in the order of the fields that are columns."""
    if not batch:
        return {name: [] for name in names}
    row = attrgetter(*(field.name for field in fields(batch[0]) if field.metadata != NO_COLUMN))
    return dict(zip(names, map(list, zip(*map(row, batch), strict=True)), strict=True))
