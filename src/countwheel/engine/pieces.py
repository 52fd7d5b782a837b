"""Many runs, a few at a time: between two pieces the event loop does what else is due.

To plan a claim of 500 runs and take them in would keep a call whose moment has come waiting for ten milliseconds.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

_Row = TypeVar("_Row")

_PIECE = 120
"""A millisecond's work at the most, where each is planned. With 64, claims of a crowd came too late: in a sixth of the
time nothing was left to send. A drain of 100,000 made 20,400 runs/s with 64, 21,700 with 128, 21,600 with 256 (medians
of five in turn); with less than 125, others have their turn more than four times in a claim."""


async def pieces(rows: Sequence[_Row]) -> AsyncIterator[Sequence[_Row]]:
    """Yield rows in order, a piece at a time, and give way to others between two of them."""
    for begin in range(0, len(rows), _PIECE):
        if begin:
            await asyncio.sleep(0)  # noqa: TID251 (gives way; no time passes)
        yield rows[begin : begin + _PIECE]
