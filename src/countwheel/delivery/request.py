"""What a call says: the body as it was submitted, signed, with the headers that let a receiver recognise a repeat."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from countwheel.delivery.signing import sign, sign_by_key
from countwheel.domain.attempt import Call
from countwheel.domain.calling import PLAIN, AuthorizationType, Calling, SecretName, Signature
from countwheel.domain.timestamp import format_instant

_SPREAD = 0x9E3779B97F4A7C15
_SPAN_BITS = (1 << 64) - 1


class Delivery(Struct, frozen=True):
    """One attempt of a run, before it is signed."""

    run_id: UUID
    job_id: UUID
    attempt: int
    fence: int
    scheduled_for: datetime
    trigger: str
    url: str
    body: bytes
    timeout_seconds: float
    method: str = "POST"
    calling: Calling = PLAIN
    callback_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves whose a call is. Never shown, never logged.

    `secrets` and `private_keys` sign, newest first; `values` are the tenant's secrets that the job names; `token` is
    ours for the audience that it names.
    """

    secrets: Sequence[bytes] = field(default=(), repr=False)
    private_keys: Sequence[bytes] = field(default=(), repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)


def build_call(delivery: Delivery, credentials: Credentials, *, now: datetime, user_agent: str) -> Call:
    """Return the call, signed at `now` (Standard Webhooks 1.0, W3C Trace Context; criteria W1 to W4).

    `webhook-id` and `Idempotency-Key` are the run's id on every attempt; the fence only rises. Raises `LookupError`
    for a secret that the job names and `credentials` lack.
    """
    run_id = str(delivery.run_id)
    unix_seconds = int(now.timestamp())
    # The hash in the run's id, spread by the fence (Fibonacci hashing): each attempt has a span of its own.
    span = f"{(delivery.run_id.int ^ delivery.fence * _SPREAD) & _SPAN_BITS or 1:016x}"
    # Written in one go: nothing in these can break a line, and a call has thirteen of them.
    written = (
        f"content-type: application/json\r\nuser-agent: {user_agent}\r\n"
        f"webhook-id: {run_id}\r\nwebhook-timestamp: {unix_seconds}\r\n"
        f"webhook-signature: {_signature(delivery, credentials, run_id, unix_seconds)}\r\n"
        f'idempotency-key: "{run_id}"\r\ntraceparent: 00-{run_id.replace("-", "")}-{span}-01\r\n'
        f"countwheel-job-id: {delivery.job_id}\r\ncountwheel-run-id: {run_id}\r\n"
        f"countwheel-attempt: {delivery.attempt}\r\ncountwheel-fence: {delivery.fence}\r\n"
        f"countwheel-scheduled-for: {format_instant(delivery.scheduled_for)}\r\n"
        f"countwheel-trigger: {delivery.trigger}\r\n"
    )
    headers = delivery.callback_headers
    if delivery.calling is not PLAIN:
        headers += tuple(_own_headers(delivery.calling, credentials))
    return Call(delivery.url, headers, delivery.body, delivery.timeout_seconds, delivery.method, written)


def _signature(delivery: Delivery, credentials: Credentials, run_id: str, unix_seconds: int) -> str:
    message = run_id, unix_seconds, delivery.body
    wanted = delivery.calling.signatures
    if wanted is PLAIN.signatures:
        return sign(credentials.secrets, *message)  # nearly every call
    signatures = [sign(credentials.secrets, *message)] if Signature.SHARED_SECRET in wanted else []
    if Signature.PRIVATE_KEY in wanted:
        signatures.append(sign_by_key(credentials.private_keys, *message))
    return " ".join(signatures)


def _own_headers(calling: Calling, credentials: Credentials) -> Iterator[tuple[str, str]]:
    for name, value in calling.headers:
        yield name, _value(credentials, value.name) if isinstance(value, SecretName) else value
    authorization = calling.authorization
    if authorization is None:
        return
    match authorization.type:
        case AuthorizationType.BEARER:
            yield "authorization", f"Bearer {_value(credentials, authorization.secret)}"
        case AuthorizationType.BASIC:
            pair = f"{authorization.username}:{_value(credentials, authorization.secret)}"
            yield "authorization", "Basic " + base64.b64encode(pair.encode()).decode()
        case AuthorizationType.OIDC:
            yield "authorization", f"Bearer {credentials.token}"


def _value(credentials: Credentials, name: str | None) -> str:
    value = credentials.values.get(name or "")
    if value is None:
        raise LookupError(f"there is no secret {name!r}: PUT /v1/secrets/{name} makes it")
    return value
