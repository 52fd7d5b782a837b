"""Look-ups: what is remembered and for how long, and that no look-up that goes wrong holds its name or its place."""

import asyncio
import socket
import threading
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from hostile import give_way

from countwheel.delivery import resolver
from countwheel.delivery.resolver import FAILURE_LIFE_SECONDS, LIFE_SECONDS, NameNotFoundError, Resolver
from countwheel.testing.clock import FakeClock

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("192.0.2.7", 0))]
ADDRESSES = (ip_address("192.0.2.7"),)


class Names:
    """What the system's resolver says of every name: addresses, or an error to raise; and what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.says: list | Exception = FOUND
        self.asked: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: str, *_args: object, **_named: object) -> list:
        self.asked.append(host)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2026, 1, 1, tzinfo=UTC))


async def test_an_answer_is_remembered_for_its_life(names: Names, clock: FakeClock) -> None:
    """Within it nobody is asked, after it the name is asked for anew."""
    known = Resolver(clock.monotonic)
    for passed, asked in ((0.0, 1), (LIFE_SECONDS - 0.1, 1), (0.2, 2)):
        clock.advance(passed)
        assert await known.resolve("a.test") == ADDRESSES
        assert len(names.asked) == asked


async def test_a_failure_is_remembered_for_its_own_life(names: Names, clock: FakeClock) -> None:
    """A name that is put right is found a second later."""
    known = Resolver(clock.monotonic)
    names.says = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    for _ in range(2):
        with pytest.raises(NameNotFoundError, match="Name or service not known"):
            await known.resolve("a.test")
    assert len(names.asked) == 1
    names.says = FOUND
    clock.advance(FAILURE_LIFE_SECONDS)
    assert await known.resolve("a.test") == ADDRESSES


async def test_so_many_names_are_remembered_and_no_more(
    names: Names, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was found longest ago goes first."""
    monkeypatch.setattr(resolver, "MAX_NAMES", 3)
    known = Resolver(clock.monotonic)
    for host in "abcd":
        await known.resolve(f"{host}.test")
    assert [known.known(f"{host}.test") for host in "abcd"] == [None, ADDRESSES, ADDRESSES, ADDRESSES]
    assert len(names.asked) == 4


@pytest.mark.parametrize("answer", [RuntimeError("out of order"), [(socket.AF_INET, 1, 6, "", ("no address", 0))]])
async def test_a_look_up_that_goes_wrong_is_a_name_that_is_not_found(
    names: Names, clock: FakeClock, answer: list | Exception
) -> None:
    """Whatever the system's resolver does: the name is asked for again, and its place is free."""
    known = Resolver(clock.monotonic)
    names.says = answer
    async with asyncio.timeout(2):
        with pytest.raises(NameNotFoundError):
            await known.resolve("a.test")
    names.says = FOUND
    clock.advance(FAILURE_LIFE_SECONDS)
    assert await known.resolve("a.test") == ADDRESSES


async def test_a_machine_without_a_thread_to_spare_finds_no_name_for_a_while(
    names: Names, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And finds it when there are threads again."""

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    known = Resolver(clock.monotonic)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(NameNotFoundError, match="new thread"):
            await known.resolve("a.test")
    clock.advance(FAILURE_LIFE_SECONDS)
    assert await known.resolve("a.test") == ADDRESSES
    assert names.asked == ["a.test"]


async def test_who_waits_for_a_name_at_the_close_is_told_so(
    names: Names, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a name without an answer, not as if somebody had cancelled the call."""
    release = threading.Event()

    def hang(*_args: object, **_named: object) -> list:
        release.wait()
        return FOUND

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    known = Resolver(clock.monotonic)
    waiting = asyncio.create_task(known.resolve("a.test"))
    await give_way()
    known.close()
    try:
        with pytest.raises(NameNotFoundError):
            await waiting
    finally:
        release.set()
    assert names.asked == []


async def test_who_is_cancelled_takes_nothing_from_the_others(names: Names, clock: FakeClock) -> None:
    """One of two who wait for a name goes: the other gets its answer, from one look-up."""
    known = Resolver(clock.monotonic)
    one, other = (asyncio.create_task(known.resolve("a.test")) for _ in range(2))
    await give_way(1)
    one.cancel()
    assert await other == ADDRESSES
    assert (one.cancelled(), names.asked) == (True, ["a.test"])
