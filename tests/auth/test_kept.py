"""What is looked up is kept for some seconds, and asked for once however many want it."""

import asyncio
from datetime import UTC, datetime

import pytest

from countwheel.auth.kept import Kept
from countwheel.testing.clock import FakeClock


class Source:
    """What is looked up: what it says, and how often it was asked."""

    def __init__(self) -> None:
        self.says: str | Exception = "first"
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def look_up(self, key: str) -> str:
        self.asked.append(key)
        await self.gate.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return f"{key}: {self.says}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2026, 11, 25, tzinfo=UTC))


def kept(source: Source, clock: FakeClock, most: int = 10) -> Kept[str, str]:
    return Kept(source.look_up, clock, seconds=3.0, most=most)


async def test_it_is_asked_again_after_its_time(clock: FakeClock) -> None:
    """Within three seconds as it was, after them as it is."""
    source = Source()
    values = kept(source, clock)
    assert await values.get("a") == "a: first"
    source.says = "second"
    clock.advance(2.9)
    assert await values.get("a") == "a: first"
    clock.advance(0.1)
    assert await values.get("a") == "a: second"
    assert source.asked == ["a", "a"]


async def test_its_time_begins_before_it_is_asked(clock: FakeClock) -> None:
    """An answer that was long on its way is not fresh when it comes."""
    source = Source()
    values = kept(source, clock)
    source.gate.clear()
    asking = asyncio.create_task(values.get("a"))
    await asyncio.sleep(0)  # noqa: TID251 (gives way to the look-up)
    await asyncio.sleep(0)  # noqa: TID251
    clock.advance(3.0)
    source.gate.set()
    assert await asking == "a: first"
    source.says = "second"
    assert await values.get("a") == "a: second"


async def test_many_ask_once(clock: FakeClock) -> None:
    """A hundred who want one value make one look-up, even where the first of them goes away."""
    source = Source()
    values = kept(source, clock)
    source.gate.clear()
    asking = [asyncio.create_task(values.get("a")) for _ in range(100)]
    await asyncio.sleep(0)  # noqa: TID251 (gives way to those who ask)
    asking[0].cancel()
    await asyncio.sleep(0)  # noqa: TID251
    source.gate.set()
    assert set(await asyncio.gather(*asking[1:])) == {"a: first"}
    assert source.asked == ["a"]


async def test_what_went_wrong_is_not_kept(clock: FakeClock) -> None:
    """Who asks gets the error, and the next one asks anew."""
    source = Source()
    values = kept(source, clock)
    source.says = ConnectionError("away")
    with pytest.raises(ConnectionError):
        await values.get("a")
    source.says = "back"
    assert await values.get("a") == "a: back"


async def test_only_so_many_are_kept(clock: FakeClock) -> None:
    """The one that was asked for longest ago goes first."""
    source = Source()
    values = kept(source, clock, most=2)
    for key in ("a", "b", "a", "c", "a", "b"):
        await values.get(key)
    assert source.asked == ["a", "b", "c", "b"]


async def test_what_is_not_there_pushes_nothing_out(clock: FakeClock) -> None:
    """Without `keeps_none` a flood of made-up keys leaves those that are there where they are."""
    asked: list[str] = []

    async def look_up(key: str) -> str | None:
        asked.append(key)
        return "there" if key == "real" else None

    values = Kept(look_up, clock, seconds=3.0, most=2, keeps_none=False)
    for key in ("real", "a", "b", "c", "a", "real"):
        await values.get(key)
    assert asked == ["real", "a", "b", "c", "a"]
