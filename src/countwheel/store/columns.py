"""Batches as PostgreSQL takes them fastest: one array a column, unnested there."""

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any


def columns_of(batch: Sequence[Any], *names: str) -> dict[str, list[Any]]:
    """Turn dataclass rows into one list a column, called `names` in the order of the fields."""
    if not batch:
        return {name: [] for name in names}
    row = attrgetter(*(field.name for field in fields(batch[0])))
    return dict(zip(names, map(list, zip(*map(row, batch), strict=True)), strict=True))
