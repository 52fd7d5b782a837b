"""Bearer tokens of every issuer that is trusted here: our own, and the configured ones."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from countwheel.auth.compact import unverified_issuer
from countwheel.auth.discovery import key_source
from countwheel.auth.federation import ExternalIdentity, ExternalVerifier
from countwheel.auth.fetching import JsonFetcher
from countwheel.auth.introspection import Introspector
from countwheel.auth.jwks import KeyCache
from countwheel.auth.oauth import TokenSubject, TokenVerifier
from countwheel.auth.trust import TrustedIssuer
from countwheel.clock import Clock
from countwheel.delivery.connector import default_tls

Verified = TokenSubject | ExternalIdentity
"""Whom a token stands for: a client of ours, or somebody for whom an external issuer has vouched."""

_DOTS_OF_A_SIGNED_TOKEN = 2


class Federation:
    """The configured issuers at work: their keys are kept fresh from `__aenter__` to `__aexit__`."""

    def __init__(self, issuers: Sequence[TrustedIssuer], clock: Clock) -> None:
        """At most one issuer may have introspection: no token is shown to an issuer that is not its own."""
        self._caches: list[KeyCache] = []
        self._verifiers: dict[str, ExternalVerifier] = {}
        self._introspector: Introspector | None = None
        self._keeping: list[asyncio.Task[None]] = []
        authorities: dict[Path | None, ssl.SSLContext] = {}
        for issuer in issuers:
            if issuer.ca_file not in authorities:  # reading the system's takes its time
                authorities[issuer.ca_file] = _tls(issuer.ca_file)
            fetcher = JsonFetcher(authorities[issuer.ca_file], allow_http=issuer.allow_http)
            cache = KeyCache(issuer.issuer, key_source(issuer, fetcher), issuer.algorithms, clock)
            self._caches.append(cache)
            self._verifiers[issuer.issuer] = ExternalVerifier(issuer, cache, clock)
            if issuer.introspection is not None:
                self._introspector = Introspector(issuer, issuer.introspection, fetcher, clock)

    async def __aenter__(self) -> Self:
        """Begin to fetch keys. Nobody waits for them here: an issuer that is away must not keep us from starting."""
        self._keeping = [asyncio.create_task(cache.keep_fresh()) for cache in self._caches]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop fetching."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, *(cache.close() for cache in self._caches), return_exceptions=True)

    def verifier_of(self, token: str) -> ExternalVerifier | Introspector | None:
        """Return who judges a token, by what it claims; None where it is not of a configured issuer."""
        if not self._verifiers:
            return None
        if token.count(".") != _DOTS_OF_A_SIGNED_TOKEN:
            return self._introspector
        issuer = unverified_issuer(token)
        return self._verifiers.get(issuer) if issuer is not None else None


class BearerTokens:
    """Verifies a token by the issuer that it claims to be from. The claim chooses who judges, and nothing else."""

    def __init__(self, own: TokenVerifier, federation: Federation) -> None:
        self._own = own
        self._federation = federation

    async def verify(self, token: str) -> Verified:
        """Return for whom a token stands. For our own tokens nothing is awaited.

        Raises `InvalidTokenError`, whatever is wrong with it, and `IssuerUnavailableError` where an external issuer
        would have to be asked and cannot be.
        """
        verifier = self._federation.verifier_of(token)
        return self._own.verify(token) if verifier is None else await verifier.verify(token)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    return default_tls() if ca_file is None else ssl.create_default_context(cafile=ca_file)
