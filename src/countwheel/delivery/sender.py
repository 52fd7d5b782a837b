"""Makes one HTTP call, once. Never resends, never follows, never waits longer or reads more than it was told.

A call reads as a pipeline: judge the URL -> addresses -> judge them -> connection -> may it leave? -> write -> answer.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

from countwheel.clock import Clock, SystemClock
from countwheel.delivery.connector import Connector, default_tls
from countwheel.delivery.guard import Guard
from countwheel.delivery.http1 import Broken, Connection, Place
from countwheel.delivery.pool import Pool
from countwheel.delivery.resolver import Addresses, NameNotFoundError, Resolver
from countwheel.delivery.way import UnsentError, Way, milliseconds
from countwheel.delivery.wire import Destination, MalformedCallError, destination, encode_head
from countwheel.domain.attempt import SUCCESSES, AttemptResult, Call, Failure, FailureKind, Response

MAX_ADDRESSES = 8
"""How many of a name's addresses are tried where connecting fails. All that the name has are judged."""

_JUDGED_SECONDS = 0.1
"""How long a judgement of a URL holds for the calls after it; its addresses are remembered for fifty times that."""
_MOST_JUDGED = 4096

MayLeave = Callable[[], bool]
"""Asked when the next thing is to write the first byte: may the call leave still?"""


def _always() -> bool:
    return True


Told = Callable[[AttemptResult], None]
"""Is called once with what came of a call."""

Abort = Callable[[], None]


class RightLostError(Exception):
    """The call was not to leave any more when its first byte was to be written. Nothing was sent."""


class Sender(Protocol):
    """How calls leave."""

    async def send(self, call: Call, may_leave: MayLeave = ...) -> AttemptResult:
        """Make the call once and return what came of it. What is unforeseen is raised; cancelling aborts the call.

        `may_leave` is asked last of all, right before the first byte. Raises `RightLostError` if it says no.
        """
        ...

    def send_at_once(self, call: Call, told: Told) -> Abort | None:
        """Make the call in this very step, if a connection stands that it can leave on, and say what came of it later.

        Returns what aborts the call: then `told` is never called. Returns None where nothing was done: where a
        connection must be made first, or the call is not to leave at all; `send` does the one and says the other.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


@dataclass(frozen=True, slots=True)
class _Parts:
    """What belongs to one event loop."""

    pool: Pool
    resolver: Resolver
    connector: Connector


@dataclass(frozen=True, slots=True)
class _Judged:
    """Where a URL leads, and until when that need not be judged again."""

    places: Sequence[Place]
    until: float


class HttpSender:
    """Calls over kept-alive HTTP/1.1 connections."""

    def __init__(
        self, guard: Guard, *, connections: int, tls: ssl.SSLContext | None = None, clock: Clock | None = None
    ) -> None:
        """`connections` is how many may be open at once, over all targets; `tls` says whom to trust, by default
        whom the system trusts.
        """
        self._guard = guard
        self._tls = tls or default_tls()
        self._clock = (clock or SystemClock()).monotonic
        self._connections = connections
        self._opened: _Parts | None = None
        self._judged_lately: dict[str, _Judged] = {}

    async def send(self, call: Call, may_leave: MayLeave = _always) -> AttemptResult:
        """Make the call once and return what came of it. Raises `RightLostError` if `may_leave` says no."""
        way = Way(self._clock())
        try:
            to, head = destination(call.url), encode_head(call)
            places = self._known_places(call.url, way.began)
            connection = self._parts().pool.take(places) or await self._connection(to, call, way)
        except UnsentError as error:
            return self._unsent(error.kind, str(error), way)
        except NameNotFoundError as error:
            return self._unsent(FailureKind.DNS, str(error), way)
        except MalformedCallError as error:
            return self._unsent(FailureKind.PROTOCOL, str(error), way)
        # From here to the first byte nothing waits.
        way.address, way.port, way.reused = connection.place.address, to.port, connection.used
        if self._clock() >= way.began + call.timeout_seconds:
            self._parts().pool.give_back(connection)
            return self._unsent(FailureKind.CONNECT, _no_connection_in_time(call), way)
        if not self._may_leave(connection, may_leave):
            return self._unsent(FailureKind.DISCONNECTED, "the connection did not last until the request", way)
        return await self._exchange(connection, head, call, way)

    def send_at_once(self, call: Call, told: Told) -> Abort | None:
        """Make the call in this very step, if a connection stands that it can leave on. Returns what aborts it."""
        way = Way(self._clock())
        try:
            places, head = self._known_places(call.url, way.began), encode_head(call)
        except (UnsentError, MalformedCallError, NameNotFoundError):
            return None  # `send` says why
        connection = self._parts().pool.take(places)
        if connection is None:
            return None
        place = connection.place
        way.address, way.port, way.reused = place.address, place.port, True
        deadline = way.began + call.timeout_seconds
        connection.exchange(head, call.body, deadline, partial(self._tell, connection, call, way, told))
        return partial(self._abort, connection)

    async def close(self) -> None:
        """Close every connection."""
        if self._opened is not None:
            parts, self._opened = self._opened, None
            parts.resolver.close()
            await parts.pool.close()

    def _parts(self) -> _Parts:
        if self._opened is None:
            loop = asyncio.get_running_loop()
            pool = Pool(loop, self._clock, limit=self._connections)
            self._opened = _Parts(pool, Resolver(self._clock), Connector(loop, pool, self._tls, self._clock))
        return self._opened

    def _known_places(self, url: str, now: float) -> Sequence[Place]:
        """Return where a URL leads, as it was judged a moment ago or is judged now; nothing where that is not known."""
        judged = self._judged_lately.get(url)
        if judged is not None and now < judged.until:
            return judged.places
        to = destination(url)
        if (refusal := self._guard.url_refusal(url)) is not None:
            raise UnsentError(FailureKind.BLOCKED, refusal)
        addresses = self._parts().resolver.known(to.host)
        if addresses is None:
            return ()
        places = self._judged(to, addresses)
        if len(self._judged_lately) >= _MOST_JUDGED:
            self._judged_lately.clear()
        self._judged_lately[url] = _Judged(places, now + _JUDGED_SECONDS)
        return places

    async def _connection(self, to: Destination, call: Call, way: Way) -> Connection:
        """Return a connection, made if need be. A time-out here is one with nothing sent."""
        parts = self._parts()
        until = way.began + call.timeout_seconds
        try:
            async with asyncio.timeout(until - self._clock()):
                began = self._clock()
                addresses = await parts.resolver.resolve(to.host)
                way.dns_ms = milliseconds(began, self._clock())
                places = self._judged(to, addresses)
                if (taken := await parts.pool.take_or_room(places)) is not None:
                    return taken
                return await parts.connector.connect(places, until - self._clock(), way)
        except TimeoutError as error:
            raise UnsentError(FailureKind.CONNECT, _no_connection_in_time(call)) from error

    def _judged(self, to: Destination, addresses: Addresses) -> Sequence[Place]:
        """Return where to connect. One address that is refused blocks the call, whatever the others are."""
        for address in addresses:
            if (refusal := self._guard.refusal(address, to.port)) is not None:
                raise UnsentError(FailureKind.BLOCKED, refusal)
        return _places(to.is_tls, to.host, to.port, addresses[:MAX_ADDRESSES])

    def _may_leave(self, connection: Connection, may_leave: MayLeave) -> bool:
        """Whether a connection stands still. Raises `RightLostError` where the call may not leave any more."""
        if not connection.is_fit():
            self._parts().pool.drop(connection)
            return False
        leaves = False
        try:
            leaves = may_leave()
        finally:
            if not leaves:
                self._parts().pool.give_back(connection)
        if not leaves:
            raise RightLostError
        return True

    async def _exchange(self, connection: Connection, head: bytes, call: Call, way: Way) -> AttemptResult:
        """Write the request and wait for its answer. Whatever becomes of the connection, it is written once."""
        result: asyncio.Future[AttemptResult] = asyncio.get_running_loop().create_future()
        has_ended = False

        def end(outcome: AttemptResult) -> None:
            nonlocal has_ended
            has_ended = True
            if not result.done():  # whoever waits may have been cancelled a step ago
                result.set_result(outcome)

        deadline = way.began + call.timeout_seconds
        connection.exchange(head, call.body, deadline, partial(self._tell, connection, call, way, end))
        try:
            return await result
        except BaseException:
            if not has_ended:  # else the connection serves another call by now
                self._abort(connection)
            raise

    def _abort(self, connection: Connection) -> None:
        connection.forget()
        self._parts().pool.drop(connection)

    def _tell(self, connection: Connection, call: Call, way: Way, told: Told, broken: Broken | None) -> None:
        """Say what came of an exchange that has ended, when its connection is free for the next one."""
        if connection.answered_at is not None:
            way.first_byte_ms = milliseconds(connection.written_at, connection.answered_at)
        trace = way.trace(self._clock())
        if broken is not None:
            kind, detail = broken
            if kind is FailureKind.TIMEOUT:
                detail = f"no whole answer within {call.timeout_seconds:g} s"
            told(Failure(kind, detail, maybe_sent=True, trace=trace))
            return
        answer = connection.reader
        if answer.status in SUCCESSES:  # no header of theirs is ever asked for
            result = Response(answer.status, answer.head, trace=trace)
        else:
            headers = answer.headers()
            result = Response(answer.status, answer.head, _first(headers, "retry-after"), headers, trace)
        self._parts().pool.give_back(connection)
        told(result)

    def _unsent(self, kind: FailureKind, detail: str, way: Way) -> Failure:
        return Failure(kind, detail, maybe_sent=False, trace=way.trace(self._clock()))


@lru_cache(maxsize=4096)
def _places(is_tls: bool, host: str, port: int, addresses: Addresses) -> tuple[Place, ...]:  # noqa: FBT001 (part of a key)
    return tuple(Place(is_tls, host, port, str(address)) for address in addresses)


def _no_connection_in_time(call: Call) -> str:
    return f"no connection within {call.timeout_seconds:g} s"


def _first(headers: Sequence[tuple[str, str]], name: str) -> str | None:
    return next((value for found, value in headers if found == name), None)
