"""The order in which lanes are served."""

from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from countwheel.engine.lanes import LaneTurns
from countwheel.store.targets import Lane

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def lane(tenant: int, name: str) -> Lane:
    """A lane in which something is due."""
    return Lane(UUID(int=tenant), name, NOON)


def served(turns: LaneTurns, lanes: list[Lane], count: int) -> list[tuple[int, str]]:
    """The first so many of a round."""
    return [(each.tenant_id.int, each.name) for each in islice(turns.order(lanes), count)]


def test_a_tenant_with_one_lane_waits_for_one_of_each_others() -> None:
    """However many lanes the others have."""
    lanes = [lane(1, name) for name in "abcd"] + [lane(2, "x"), lane(3, "y"), lane(3, "z")]
    assert served(LaneTurns(), lanes, 4) == [(1, "a"), (2, "x"), (3, "y"), (1, "b")]


def test_a_round_goes_on_where_the_last_one_ended() -> None:
    """With the next tenant, and of each tenant with its next lane."""
    turns = LaneTurns()
    lanes = [lane(1, "a"), lane(1, "b"), lane(1, "c"), lane(2, "x")]
    assert served(turns, lanes, 1) == [(1, "a")]
    assert served(turns, lanes, 2) == [(2, "x"), (1, "b")]
    assert served(turns, lanes, 3) == [(2, "x"), (1, "c"), (1, "a")]


@given(st.sets(st.tuples(st.integers(1, 4), st.sampled_from("abcde"))), st.data())
def test_each_lane_is_served_once_a_round_and_none_is_forgotten(
    places: set[tuple[int, str]], data: st.DataObject
) -> None:
    """The law: whole rounds serve each lane once; of rounds that end early as many as there are lanes serve each."""
    lanes = [lane(tenant, name) for tenant, name in places]
    assert Counter(served(LaneTurns(), lanes, len(lanes) + 1)) == Counter(places)
    turns, seen = LaneTurns(), set()
    for _ in range(max(1, len(lanes)) * 5):
        seen.update(served(turns, lanes, data.draw(st.integers(1, 3))))
    assert seen == places
