"""Many runs are worked on a few at a time."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from countwheel.engine.pieces import pieces


@given(st.integers(0, 1_000))
async def test_pieces_are_all_rows_in_order(count: int) -> None:
    """None is left out, none comes twice."""
    assert [row async for piece in pieces(range(count)) for row in piece] == list(range(count))


async def test_others_have_their_turn_between_two_pieces() -> None:
    """What is ready to run does not wait for the end of 500 rows."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)  # noqa: TID251 (gives way; no time passes)

    task = asyncio.create_task(other())
    seen = [turns async for _ in pieces(range(500))]
    task.cancel()
    assert len(seen) > 4
    assert seen == sorted(set(seen))
