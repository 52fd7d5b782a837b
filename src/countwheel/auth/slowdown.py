"""Who guesses has to wait: failures counted, and a wait that doubles, decided without I/O on times that are given.

The wait is by name *and* address, where a name is what somebody claims to be (a client id, an access key's id). Were it
by name alone, anybody who knows a name could keep its owner out from anywhere, by failing in it. By address alone, with
a higher threshold, whoever tries many names is stopped too; it is higher since many clients may share an address (NAT).
Nobody counts by name over all addresses: secrets are 256 random bits, which no number of machines guesses.

A node counts for itself. N nodes give an attacker N times as many tries, which changes nothing about 2^256.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
Address = IPv4Address | IPv6Address

FREE_FAILURES = 5
"""Failures of a name from an address before it has to wait."""
FREE_FAILURES_OF_ADDRESS = 50
"""Failures of an address, whatever the names."""
FORGOTTEN_AFTER_SECONDS = 300.0
"""A count is forgotten so long after its last failure."""
MAX_WAIT_SECONDS = 60.0
CAPACITY = 10_000
"""Counts that are kept, of each of the two kinds; the one that is touched longest ago goes first."""

_IPV6_SITE_BITS = 64
"""One customer has at least so large a network to himself: its addresses are one."""


@dataclass(slots=True)
class _Count:
    failures: int
    last_at: float
    until: float


class _Ledger(Generic[_Key]):
    """Counts by one kind of key."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._counts: OrderedDict[_Key, _Count] = OrderedDict()

    def wait_seconds(self, key: _Key, now: float) -> float:
        count = self._counts.get(key)
        return max(0.0, count.until - now) if count is not None else 0.0

    def add(self, key: _Key, now: float) -> None:
        count = self._counts.pop(key, None)
        if count is None or now - count.last_at > FORGOTTEN_AFTER_SECONDS:
            count = _Count(0, now, now)
        count.failures += 1
        count.last_at = now
        over = count.failures - self._free
        if over >= 0:
            count.until = now + min(2.0 ** min(over, 30), MAX_WAIT_SECONDS)
        self._counts[key] = count
        if len(self._counts) > CAPACITY:
            self._counts.popitem(last=False)

    def forget(self, key: _Key) -> None:
        self._counts.pop(key, None)

    def __len__(self) -> int:
        return len(self._counts)


class SlowDown:
    """Counts the failures to prove a name. `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._names = _Ledger[tuple[bytes, str]](FREE_FAILURES)
        self._addresses = _Ledger[str](FREE_FAILURES_OF_ADDRESS)

    def wait_seconds(self, name: str, address: Address | None, now: float) -> float:
        """Return how long this name may not be tried from this address; 0 where it may."""
        site = _site(address)
        return max(self._names.wait_seconds((_digest(name), site), now), self._addresses.wait_seconds(site, now))

    def failed(self, name: str, address: Address | None, now: float) -> None:
        """Take note of a wrong secret, or of a name that there is not."""
        site = _site(address)
        self._names.add((_digest(name), site), now)
        self._addresses.add(site, now)

    def succeeded(self, name: str, address: Address | None) -> None:
        """Forget the failures of a name from an address. Those of the address stay: it may know one good name."""
        self._names.forget((_digest(name), _site(address)))

    def __len__(self) -> int:
        """How many counts are kept."""
        return len(self._names) + len(self._addresses)


def _digest(name: str) -> bytes:
    """Return a name at a fixed length: whoever attacks chooses it."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()


def _site(address: Address | None) -> str:
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_SITE_BITS), strict=False))
    return str(address)
