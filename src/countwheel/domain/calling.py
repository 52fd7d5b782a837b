"""What a job says about its calls beside their URL and body: how they are signed, repeated, paced and followed up.

It is kept as one text, as it was submitted and empty for most jobs, so that a claim carries no more than it needs. No
secret is in it: where one is wanted, the text names it (`PUT /v1/secrets/{name}`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from countwheel.domain.errors import Fault, escaped
from countwheel.domain.policy import Backoff, Delivery, Jitter, OnUnknown, RetryPolicy
from countwheel.domain.target import TargetRefusal, find_target_faults

CALLING_FIELDS = (
    "retry", "headers", "authorization", "signatures", "flow", "callback", "cancel_url", "cancel_method",
    "on_failure", "on_success",
)  # fmt: skip
"""The fields of a submission that are kept here."""

URL_FIELDS = ("cancel_url", "on_failure", "on_success")
"""Those that name a target of their own."""

RESERVED_HEADERS = frozenset(
    {
        *("authorization", "connection", "content-encoding", "content-length", "content-type", "cookie", "expect"),
        *("host", "http2-settings", "idempotency-key", "keep-alive", "proxy-authorization", "proxy-connection"),
        *("te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "user-agent", "via"),
    }
)
"""Headers that a job cannot set (criterion W4): they are ours, or the connection's."""

_SOUNDS_SECRET = re.compile(r"secret|token|passw|api-?key|credential")

RESERVED_PREFIXES = ("countwheel-", "webhook-")


def _in_any_case(text: str) -> str:
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in text)


HEADER_NAME_PATTERN = (
    f"^(?!(?:{'|'.join(map(_in_any_case, sorted(RESERVED_HEADERS)))})$)"
    f"(?!{'|'.join(map(_in_any_case, RESERVED_PREFIXES))})"
    r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"
)
"""What the contract says a header of a job's own is called."""


class Signature(StrEnum):
    """How a call is signed (Standard Webhooks 1.0): with the tenant's shared secret, or with its private key."""

    SHARED_SECRET = "v1"  # noqa: S105 (the scheme's name)
    PRIVATE_KEY = "v1a"


class AuthorizationType(StrEnum):
    """What stands in a call's `Authorization` header."""

    BEARER = "bearer"
    BASIC = "basic"
    OIDC = "oidc"
    """A token of ours, signed with our published key, for the audience that the job names."""


@dataclass(frozen=True, slots=True)
class SecretName:
    """Stands for the value of one of the tenant's secrets."""

    name: str


HeaderValue = str | SecretName


@dataclass(frozen=True, slots=True)
class Authorization:
    """How a call says to its target whose it is. `secret` names a secret; `audience` is the OIDC token's."""

    type: AuthorizationType
    secret: str | None = None
    username: str | None = None
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed call is tried again; None is what the job does not say."""

    backoff: Backoff | None = None
    first_delay_seconds: float | None = None
    max_delay_seconds: float | None = None
    max_age_seconds: float | None = None
    jitter: Jitter | None = None
    retry_statuses: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """The target may answer 202 and say later how it went: within a deadline, with a heartbeat if one is wanted."""

    deadline_seconds: float
    heartbeat_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Calling:
    """What is None, or empty, the job does not say."""

    retry: Retry = Retry()
    headers: tuple[tuple[str, HeaderValue], ...] = ()
    authorization: Authorization | None = None
    signatures: frozenset[Signature] = frozenset({Signature.SHARED_SECRET})
    flow: str | None = None
    """The name under which its calls are paced, together with those of other jobs; by default its target's host."""
    callback: Callback | None = None
    cancel_url: str | None = None
    """Who is told that a call which is under way, or was accepted, is cancelled."""
    cancel_method: str = "DELETE"
    on_failure: str | None = None
    on_success: str | None = None

    def secret_names(self) -> frozenset[str]:
        """Return the names of the secrets that the calls need."""
        named = {value.name for _, value in self.headers if isinstance(value, SecretName)}
        if self.authorization is not None and self.authorization.secret is not None:
            named.add(self.authorization.secret)
        return frozenset(named)


PLAIN = Calling()
"""What most jobs say: nothing."""


@lru_cache(maxsize=1024)
def retry_policy(max_attempts: int, delivery: str, on_unknown: str, retry: Retry) -> RetryPolicy:
    """Return when a job's failed attempts are tried again: what it says, and for the rest what is usual."""
    said = {field.name: getattr(retry, field.name) for field in fields(retry)}
    max_age = said.pop("max_age_seconds")
    if max_age is not None:
        said["max_age"] = timedelta(seconds=max_age)
    return RetryPolicy(
        max_attempts=max_attempts,
        delivery=Delivery(delivery),
        on_unknown=OnUnknown(on_unknown),
        **{name: value for name, value in said.items() if value is not None},
    )


def encode(body: Mapping[str, Any]) -> str | None:
    """Return what a submission says about its calls, as it is stored; None where it says nothing."""
    said = {name: body[name] for name in CALLING_FIELDS if body.get(name) is not None}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")) if said else None


def written(stored: str | None) -> dict[str, Any]:
    """Return the fields of a submission that says what is stored."""
    return {} if stored is None else dict(json.loads(stored))


@lru_cache(maxsize=4096)
def decode(stored: str | None) -> Calling:
    """Return what is stored, read. It fits the contract's schema: nothing else is ever stored."""
    if stored is None:
        return PLAIN
    said = json.loads(stored)
    retry, authorization, callback = said.get("retry", {}), said.get("authorization"), said.get("callback")
    return Calling(
        retry=Retry(
            backoff=Backoff(retry["backoff"]) if "backoff" in retry else None,
            first_delay_seconds=retry.get("first_delay_seconds"),
            max_delay_seconds=retry.get("max_delay_seconds"),
            max_age_seconds=retry.get("max_age_seconds"),
            jitter=Jitter(retry["jitter"]) if "jitter" in retry else None,
            retry_statuses=_statuses(retry["retry_statuses"]) if "retry_statuses" in retry else None,
        ),
        headers=tuple((name.lower(), _header_value(value)) for name, value in said.get("headers", {}).items()),
        authorization=None
        if authorization is None
        else Authorization(**authorization | {"type": AuthorizationType(authorization["type"])}),
        signatures=frozenset(map(Signature, said.get("signatures", PLAIN.signatures))),
        flow=said.get("flow"),
        callback=None if callback is None else Callback(**callback),
        cancel_url=said.get("cancel_url"),
        cancel_method=said.get("cancel_method", PLAIN.cancel_method),
        on_failure=said.get("on_failure"),
        on_success=said.get("on_success"),
    )


def secret_places(body: object) -> list[tuple[str, str]]:
    """Return where a body names which secret, whatever else is wrong with it: (pointer, name) pairs."""
    if not isinstance(body, Mapping):
        return []
    found: list[tuple[str, str]] = []
    headers, authorization = body.get("headers"), body.get("authorization")
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        if isinstance(value, Mapping) and isinstance(value.get("secret"), str):
            found.append((f"{_pointer('headers', name)}/secret", value["secret"]))
    if isinstance(authorization, Mapping) and isinstance(authorization.get("secret"), str):
        found.append(("#/authorization/secret", authorization["secret"]))
    return found


def find_calling_faults(body: Mapping[str, Any], target_refusal: TargetRefusal) -> Iterator[Fault]:
    """Yield what is wrong in a submission's calling that the schema cannot express, whatever shape the body has."""
    headers = body.get("headers")
    if isinstance(headers, Mapping):
        yield from _header_faults(headers)
    yield from find_target_faults(body, URL_FIELDS, target_refusal)
    callback = body.get("callback")
    if isinstance(callback, Mapping):
        deadline, heartbeat = callback.get("deadline_seconds"), callback.get("heartbeat_seconds")
        if isinstance(deadline, int | float) and isinstance(heartbeat, int | float) and heartbeat > deadline:
            yield Fault("#/callback/heartbeat_seconds", "must not be longer than deadline_seconds")
    retry = body.get("retry")
    if isinstance(retry, Mapping):
        first, longest = retry.get("first_delay_seconds"), retry.get("max_delay_seconds")
        if isinstance(first, int | float) and isinstance(longest, int | float) and longest < first:
            yield Fault("#/retry/max_delay_seconds", "must not be shorter than first_delay_seconds")


def doubts(calling: Calling) -> list[str]:
    """Return what is right in a job's calling and yet not wise."""
    return [
        f"header {name}: its value can be read in the job; keep it with PUT /v1/secrets/{{name}}, and name it"
        for name, value in calling.headers
        if isinstance(value, str) and _SOUNDS_SECRET.search(name)
    ]


def _header_faults(headers: Mapping[str, Any]) -> Iterator[Fault]:
    seen: set[str] = set()
    for name in headers:
        lower = name.lower()
        pointer = _pointer("headers", name)
        if lower in RESERVED_HEADERS or lower.startswith(RESERVED_PREFIXES):
            yield Fault(pointer, _why_reserved(lower))
        if lower in seen:
            yield Fault(pointer, "is given twice: upper and lower case are the same header")
        seen.add(lower)


def _pointer(field: str, name: str) -> str:
    return f"#/{field}/{escaped(name)}"


def _why_reserved(name: str) -> str:
    if name == "authorization":
        return "is reserved: give `authorization`, which keeps its secret out of the job"
    return "is reserved: it is set for each call, or belongs to the connection"


def _header_value(value: str | Mapping[str, str]) -> HeaderValue:
    return value if isinstance(value, str) else SecretName(value["secret"])


def _statuses(given: list[int | str]) -> frozenset[int]:
    found: set[int] = set()
    for status in given:
        if isinstance(status, str):  # a class, like 5xx
            first = int(status[0]) * 100
            found.update(range(first, first + 100))
        else:
            found.add(int(status))
    return frozenset(found)
