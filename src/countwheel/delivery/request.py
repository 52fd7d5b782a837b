"""What a call says: the body as it was submitted, signed, with the headers that let a receiver recognise a repeat."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from countwheel.delivery.signing import sign, sign_by_key
from countwheel.domain.attempt import Call
from countwheel.domain.calling import PLAIN, AuthorizationType, Calling, SecretName, Signature
from countwheel.domain.timestamp import format_instant


@dataclass(frozen=True, slots=True)
class Delivery:
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
    span = hashlib.sha256(b"%b%d" % (delivery.run_id.bytes, delivery.fence)).hexdigest()[:16]
    headers: tuple[tuple[str, str], ...] = (
        ("content-type", "application/json"),
        ("user-agent", user_agent),
        ("webhook-id", run_id),
        ("webhook-timestamp", str(unix_seconds)),
        ("webhook-signature", _signature(delivery, credentials, unix_seconds)),
        ("idempotency-key", f'"{run_id}"'),
        ("traceparent", f"00-{delivery.run_id.hex}-{span}-01"),
        ("countwheel-job-id", str(delivery.job_id)),
        ("countwheel-run-id", run_id),
        ("countwheel-attempt", str(delivery.attempt)),
        ("countwheel-fence", str(delivery.fence)),
        ("countwheel-scheduled-for", format_instant(delivery.scheduled_for)),
        ("countwheel-trigger", delivery.trigger),
        *delivery.callback_headers,
    )
    if delivery.calling is not PLAIN:
        headers += tuple(_own_headers(delivery.calling, credentials))
    return Call(delivery.url, headers, delivery.body, delivery.timeout_seconds, delivery.method)


def _signature(delivery: Delivery, credentials: Credentials, unix_seconds: int) -> str:
    message = str(delivery.run_id), unix_seconds, delivery.body
    wanted = delivery.calling.signatures
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
