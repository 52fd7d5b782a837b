"""The keys of an issuer: chosen from what it publishes (RFC 7517), kept, and fetched anew at a bounded rate."""

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from countwheel.auth.fetching import FETCH_SECONDS, FetchError, IssuerUnavailableError
from countwheel.clock import Clock

COOLDOWN_SECONDS = 30.0
"""A key that is not known is asked for at most once in this time, whatever is sent to us (criterion O3)."""
REFRESH_SECONDS = 600.0
"""How often keys are fetched without being asked for: a key that was withdrawn opens nothing after this."""
MAX_AGE_SECONDS = 86_400.0
"""How long the last good keys serve while the issuer cannot be reached (criterion O4)."""

MIN_RSA_BITS = 2_048
MAX_RSA_BITS = 8_192
"""A larger one costs too much to verify with."""
MAX_KEYS = 200
MAX_KEYS_OF_ONE_ID = 4
"""Each of them is tried for a token."""
_MAX_RSA_EXPONENT = 2**32

_KINDS: Mapping[str, tuple[str, str | None]] = {
    **{f"{kind}{bits}": ("RSA", None) for kind in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""What a key for an algorithm must be: `kty` and `crv`."""

_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")

ASYMMETRIC_ALGORITHMS = frozenset(_KINDS)
"""What a token may be signed with. No `none`, and nothing whose key is a secret that both sides would know."""

_log = structlog.get_logger(__name__)

FetchKeys = Callable[[], Awaitable[object]]
"""Brings the JWK set as the issuer publishes it. Raises `FetchError`."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key for one algorithm. Two are equal if they are the same key under the same id."""

    kid: str
    algorithm: str
    thumbprint: str
    key: Key = field(compare=False, repr=False)


KeyTable = Mapping[tuple[str, str], tuple[VerifyingKey, ...]]
"""Keys by id and algorithm; several where the issuer gave two keys one id."""


def usable_keys(document: object, algorithms: frozenset[str]) -> KeyTable:
    """Return the keys of a JWK set that may verify signatures. What is weak, secret or for something else is left out.

    Raises `FetchError` where the document is no JWK set.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise FetchError("not a JWK set: it must be an object with a list `keys`")
    table: dict[tuple[str, str], tuple[VerifyingKey, ...]] = {}
    for entry in entries[:MAX_KEYS]:
        for found in _keys_of(entry, algorithms):
            place = found.kid, found.algorithm
            known = table.get(place, ())
            if found not in known and len(known) < MAX_KEYS_OF_ONE_ID:
                table[place] = (*known, found)
    return table


class KeyCache:
    """The keys of one issuer, as they were published last."""

    def __init__(self, name: str, fetch: FetchKeys, algorithms: frozenset[str], clock: Clock) -> None:
        """`name` is the issuer's, for the log."""
        self._name = name
        self._fetch = fetch
        self._algorithms = algorithms
        self._clock = clock
        self._keys: KeyTable = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[bool] | None = None
        self._is_failing = False

    async def find(self, kid: str, algorithm: str) -> tuple[VerifyingKey, ...]:
        """Return the keys of an id for an algorithm, asking the issuer where none is known (at most once a cooldown).

        Raises `IssuerUnavailableError` where no keys are there that are young enough.
        """
        found = self._known(kid, algorithm)
        if not found:
            await self._fetch_unless_cooling()
            found = self._known(kid, algorithm)
        if not found and not self._is_fresh():
            raise IssuerUnavailableError(f"the keys of {self._name} cannot be fetched just now: send the request again")
        return found

    def holds(self, key: VerifyingKey) -> bool:
        """Whether a key is still among the issuer's."""
        return key in self._known(key.kid, key.algorithm)

    async def refresh(self) -> bool:
        """Fetch the keys now, together with whoever is at it already. Returns whether they came."""
        if self._fetching is None:
            self._tried_at = self._clock.monotonic()
            self._fetching = asyncio.create_task(self._take_in())
        # Whoever asked may go away: the others wait for the same answer.
        return await asyncio.shield(self._fetching)

    async def keep_fresh(self) -> None:
        """Fetch the keys now and every `REFRESH_SECONDS`, sooner after a failure; never returns."""
        while True:
            has_come = await self.refresh()
            await self._clock.sleep(REFRESH_SECONDS if has_come else COOLDOWN_SECONDS)

    async def close(self) -> None:
        """Stop fetching."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _fetch_unless_cooling(self) -> None:
        cooled = self._tried_at is None or self._clock.monotonic() - self._tried_at >= COOLDOWN_SECONDS
        if cooled or self._fetching is not None:
            # A fetch may read three documents one after another: a request waits for one's time.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FETCH_SECONDS):
                    await self.refresh()

    async def _take_in(self) -> bool:
        try:
            self._keys = usable_keys(await self._fetch(), self._algorithms)
            self._fetched_at = self._clock.monotonic()
        except FetchError as error:
            if not self._is_failing:  # told once, not every half a minute
                _log.warning("an issuer's keys cannot be fetched", issuer=self._name, error=str(error))
            self._is_failing = True
            return False
        finally:
            self._fetching = None
        if self._is_failing:
            _log.info("an issuer's keys can be fetched again", issuer=self._name)
        self._is_failing = False
        if not self._keys:
            _log.warning("an issuer publishes no key that may be used", issuer=self._name)
        return True

    def _known(self, kid: str, algorithm: str) -> tuple[VerifyingKey, ...]:
        return self._keys.get((kid, algorithm), ()) if self._is_fresh() else ()

    def _is_fresh(self) -> bool:
        return self._fetched_at is not None and self._clock.monotonic() - self._fetched_at < MAX_AGE_SECONDS


def _keys_of(entry: object, algorithms: frozenset[str]) -> list[VerifyingKey]:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or not _is_for_signatures(entry):
        return []
    wanted = [name for name in sorted(algorithms) if _fits(entry, name)]
    key = _public_key(entry) if wanted else None
    if key is None:
        return []
    return [VerifyingKey(entry["kid"], name, key.thumbprint(), key) for name in wanted]


def _is_for_signatures(entry: dict[str, Any]) -> bool:
    if entry.get("use", "sig") != "sig" or "d" in entry:  # with its private part published anybody can sign
        return False
    operations = entry.get("key_ops", ["verify"])
    return isinstance(operations, list) and "verify" in operations


def _fits(entry: dict[str, Any], algorithm: str) -> bool:
    kty, crv = _KINDS[algorithm]
    return entry.get("kty") == kty and entry.get("alg", algorithm) == algorithm and entry.get("crv") == crv


def _public_key(entry: dict[str, Any]) -> Key | None:
    """Return the key, or None where it is malformed or not of a size to be trusted."""
    numbers: dict[str, Any] = {name: entry[name] for name in _PUBLIC_MEMBERS if name in entry}
    try:
        match entry["kty"]:
            case "EC":
                return ECKey.import_key(numbers)
            case "OKP":
                return OKPKey.import_key(numbers)
            case _:
                return RSAKey.import_key(numbers) if _is_sound(numbers) else None
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _is_sound(numbers: dict[str, Any]) -> bool:
    """Whether an RSA key is strong enough, and no trap that takes seconds to verify with."""
    modulus, exponent = _integer(numbers["n"]), _integer(numbers["e"])
    return MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS and 1 < exponent < _MAX_RSA_EXPONENT


def _integer(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
