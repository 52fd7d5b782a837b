"""Looks up names: once for all who ask at the same time, remembered for seconds, and never in the way of other names.

`getaddrinfo` cannot be stopped: a name whose servers are silent holds a thread for as long as the system's resolver
likes. So look-ups have threads of their own, daemons that a stop of the node does not wait for; a name has one at the
most, names of one site a few, and all together a bounded number.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from threading import Thread
from weakref import WeakValueDictionary

from countwheel.delivery.address import Address, literal_address

Addresses = tuple[Address, ...]

LOOKUP_SECONDS = 5.0
"""How long a call waits for the addresses of a name."""
LIFE_SECONDS = 5.0
"""How long an answer is remembered. A name moves on as fast as that; the guard judges at every attempt all the same."""
FAILURE_LIFE_SECONDS = 1.0
MAX_NAMES = 1_000
"""How many are remembered."""
MAX_LOOKUPS = 64
MAX_LOOKUPS_PER_SITE = 8
"""Threads at once, over all names and for names with the same last two labels."""


class NameNotFoundError(OSError):
    """A name has no address, or none could be found out in time."""


Answer = Addresses | NameNotFoundError


class _Lookup:
    """One look-up, and how many wait for it. Nobody waits any more: it is not begun."""

    __slots__ = ("has_begun", "task", "waiting")

    def __init__(self, task: asyncio.Task[Answer]) -> None:
        self.task = task
        self.waiting = 0
        self.has_begun = False


class Resolver:
    """Knows the addresses of names."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Answer]] = OrderedDict()
        self._lookups: dict[str, _Lookup] = {}
        self._slots = asyncio.Semaphore(MAX_LOOKUPS)
        self._sites: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def known(self, host: str) -> Addresses | None:
        """Return the addresses of a host without waiting, or None. Raises `NameNotFoundError`."""
        entry = self._known.get(host)
        if entry is not None and self._clock() < entry[0]:
            return _addresses_of(entry[1])
        address = literal_address(host)
        return (address,) if address is not None else None

    async def resolve(self, host: str) -> Addresses:
        """Return the addresses of a host, in the order in which they are to be tried. Raises `NameNotFoundError`."""
        if (known := self.known(host)) is not None:
            return known
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = _Lookup(asyncio.get_running_loop().create_task(self._look_up(host)))
        lookup.waiting += 1
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                answer = await asyncio.shield(lookup.task)
        except asyncio.CancelledError as error:
            if lookup.task.cancelled() and not _is_being_cancelled():
                raise NameNotFoundError(f"the look-up of {host} was given up") from error
            raise
        except TimeoutError as error:
            raise NameNotFoundError(f"no answer about {host} within {LOOKUP_SECONDS:g} s") from error
        finally:
            lookup.waiting -= 1
            if lookup.waiting == 0 and not lookup.has_begun:
                self._forget(host, lookup)
        return _addresses_of(answer)

    def close(self) -> None:
        """Wait for no look-up any more."""
        for host, lookup in list(self._lookups.items()):
            self._forget(host, lookup)

    async def _look_up(self, host: str) -> Answer:
        lookup = self._lookups[host]
        site = ".".join(host.rsplit(".", 2)[-2:])
        site_slots = self._sites.get(site)
        if site_slots is None:
            site_slots = self._sites[site] = asyncio.Semaphore(MAX_LOOKUPS_PER_SITE)
        try:
            async with site_slots, self._slots:
                lookup.has_begun = True
                answer = await _in_thread(host)
        finally:
            # A look-up that stayed here would be everybody's answer about this name for good.
            if self._lookups.get(host) is lookup:
                del self._lookups[host]
        life = FAILURE_LIFE_SECONDS if isinstance(answer, NameNotFoundError) else LIFE_SECONDS
        self._known[host] = (self._clock() + life, answer)
        self._known.move_to_end(host)
        if len(self._known) > MAX_NAMES:
            self._known.popitem(last=False)
        return answer

    def _forget(self, host: str, lookup: _Lookup) -> None:
        if self._lookups.get(host) is lookup:
            del self._lookups[host]
        lookup.task.cancel()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _addresses_of(answer: Answer) -> Addresses:
    if isinstance(answer, NameNotFoundError):
        raise NameNotFoundError(*answer.args)
    return answer


async def _in_thread(host: str) -> Answer:
    """Ask the system's resolver, in a thread that nobody waits for."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Answer] = loop.create_future()

    def tell(answer: Answer) -> None:
        if not answered.done():
            answered.set_result(answer)

    def ask() -> None:
        answer = _ask(host)
        try:
            loop.call_soon_threadsafe(tell, answer)
        except RuntimeError:
            return  # the loop is closed: the node has stopped meanwhile

    try:
        Thread(target=ask, name=f"lookup {host}", daemon=True).start()
    except RuntimeError as error:  # the machine has no thread to spare
        return NameNotFoundError(f"{host} cannot be looked up: {error}")
    return await answered


def _ask(host: str) -> Answer:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        addresses = tuple(dict.fromkeys(ip_address(address[0]) for *_, address in found))
    except Exception as error:  # noqa: BLE001 (a thread that ends without an answer would hold its place for good)
        return NameNotFoundError(f"{host}: {getattr(error, 'strerror', None) or error}")
    return addresses or NameNotFoundError(f"{host} has no address")
