"""Opaque tokens: their issuer is asked about each (RFC 7662; criterion O7). Off unless it is configured."""

import asyncio
import base64
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import quote_plus

import structlog

from countwheel.auth.compact import MAX_TOKEN_CHARACTERS
from countwheel.auth.federation import ExternalIdentity, check_kind, identity_of
from countwheel.auth.fetching import FETCH_SECONDS, FetchError, Headers, IssuerUnavailableError, JsonFetcher
from countwheel.auth.oauth import InvalidTokenError, check_begun, number, require
from countwheel.auth.trust import Introspection, TrustedIssuer
from countwheel.clock import Clock

REMEMBERED_SECONDS = 30.0
"""How long an answer is believed, a refusal as well: a revoked token opens nothing after this."""
MAX_QUESTIONS = 16
"""How many tokens are asked about at once: more wait for their turn."""

_log = structlog.get_logger(__name__)

_REMEMBERED = 10_000
_BEARER_TYPES = frozenset({"bearer", "access_token"})


@dataclass(frozen=True, slots=True)
class _Remembered:
    outcome: ExternalIdentity | str
    """Who it is, or why it is nobody."""
    until: float


class Introspector:
    """Asks one issuer about tokens that only it can read."""

    def __init__(self, issuer: TrustedIssuer, introspection: Introspection, fetcher: JsonFetcher, clock: Clock) -> None:
        self._issuer = issuer
        self._url = introspection.url
        self._headers = _authorization(introspection)
        self._fetcher = fetcher
        self._clock = clock
        self._turn = asyncio.Semaphore(MAX_QUESTIONS)
        self._is_failing = False
        self._answers: OrderedDict[bytes, _Remembered] = OrderedDict()

    async def verify(self, token: str) -> ExternalIdentity:
        """Return for whom the token stands.

        Raises `InvalidTokenError` for one that is not active or not for us, and `IssuerUnavailableError`.
        """
        require(len(token) <= MAX_TOKEN_CHARACTERS, "the token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._answers.get(digest)
        if known is None or self._clock.now().timestamp() >= known.until:
            known = await self._ask(token)
            self._answers[digest] = known
            self._answers.move_to_end(digest)
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        if isinstance(known.outcome, str):
            raise InvalidTokenError(known.outcome)
        return known.outcome

    async def _ask(self, token: str) -> _Remembered:
        answer = await self._answer({"token": token, "token_type_hint": "access_token"})
        now = self._clock.now().timestamp()
        try:
            identity = _judge(self._issuer, answer, now)
        except InvalidTokenError as error:
            return _Remembered(str(error), now + REMEMBERED_SECONDS)
        return _Remembered(identity, min(now + REMEMBERED_SECONDS, identity.expires_at))

    async def _answer(self, form: dict[str, str]) -> object:
        try:
            # Waiting for one's turn is in it: a flood ends in refusals, not in a queue.
            async with asyncio.timeout(FETCH_SECONDS), self._turn:
                answer = await self._fetcher.post_form(self._url, form, self._headers)
        except (FetchError, TimeoutError) as error:
            if not self._is_failing:  # told once, not for every token
                _log.warning("an issuer cannot be asked about tokens", issuer=self._issuer.issuer, error=str(error))
            self._is_failing = True
            raise IssuerUnavailableError("the token's issuer cannot be asked now: send the request again") from error
        self._is_failing = False
        return answer


def _judge(issuer: TrustedIssuer, answer: object, now: float) -> ExternalIdentity:
    """Return whom an answer speaks of (RFC 7662 §2.2). Raises `InvalidTokenError`."""
    if not isinstance(answer, dict) or answer.get("active") is not True:
        raise InvalidTokenError("the token is not active")
    require(answer.get("iss", issuer.issuer) == issuer.issuer, "the token is from another issuer")
    how = answer.get("token_type", "bearer")
    require(isinstance(how, str) and how.lower() in _BEARER_TYPES, "not a bearer token")
    check_kind(answer.get("typ"))
    expires_at = number(answer, "exp") if "exp" in answer else now + REMEMBERED_SECONDS
    require(now < expires_at, "the token has expired")
    check_begun(answer, now + issuer.leeway_seconds)
    # A client that speaks for itself may have no `sub`.
    return identity_of(issuer, answer, answer.get("sub", answer.get("client_id")), expires_at)


def _authorization(introspection: Introspection) -> Headers:
    """Return the client's HTTP Basic credentials, form-encoded first as RFC 6749 §2.3.1 has it."""
    pair = f"{quote_plus(introspection.client_id)}:{quote_plus(introspection.client_secret)}"
    return (("authorization", "Basic " + base64.b64encode(pair.encode()).decode()),)
