"""Requests signed with an access key: AWS Signature Version 4, verified over the bytes on the wire (criteria A1 to A5).

Two steps. `read_claim` judges what needs neither secret nor body, and says whose key it is; `check` computes the
signature anew. Between them the caller looks for the key and reads the body. What a request does not sign is not
protected: the required headers must be signed, any other may be, and clients leave `content-type` out.

Standard: AWS IAM User Guide, "AWS Signature Version 4 for API requests". The canonical form is in `canonical.py`.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from countwheel.auth.canonical import ambiguity, canonical_requests, is_printable

SERVICE = "countwheel"
ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW = timedelta(minutes=15)
"""So far may the caller's clock be from ours, to either side."""

REFUSED = (
    "the access key is not known, or the signature is not that of this request: "
    "check the key and its secret, and that the request is sent as it was signed"
)
"""What an unknown key and a wrong signature are told alike (criterion A5)."""

MAX_AUTHORIZATION_CHARACTERS = 8_192
MAX_SIGNED_HEADERS = 64
MAX_SIGNED_BYTES = 16_384
"""Of the values of the signed headers, together."""
MAX_TARGET_BYTES = 8_192
"""Of path and query, together."""
MAX_QUERY_PARAMETERS = 128

_TERMINATOR = "aws4_request"
_FORM = (
    f"the Authorization header must be: {ALGORITHM} Credential=KEY/YYYYMMDD/REGION/{SERVICE}/{_TERMINATOR}, "
    "SignedHeaders=host;x-amz-date, Signature=64 hex digits"
)
_CREDENTIAL = re.compile(
    r"([A-Za-z0-9._-]{1,128})/([0-9]{8})/([A-Za-z0-9_-]{1,64})/([A-Za-z0-9_-]{1,64})/([A-Za-z0-9_-]{1,64})"
)
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110 §5.6.2, in lower case
_BASIC_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_BODY_HASH = re.compile(rb"[0-9a-f]{64}")
_LINE_ENDS = re.compile(rb"[\x00\r\n]")
_MAX_DATE_CHARACTERS = 64

_CONTENT_HASH = b"x-amz-content-sha256"
_KEY_HEADERS = frozenset({b"idempotency-key"})


class SignatureError(Exception):
    """A signed request that is refused; the text may be shown to the caller."""


class AmbiguousPathError(SignatureError):
    """The path can be read in more than one way (criterion A2): a bad request, whoever signed it."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as it came: nothing decoded. Header names are in lower case, as ASGI has them, in order of arrival."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Who says that they signed, when and what: well-formed, and not verified yet."""

    access_key_id: str
    date: str
    region: str
    signed_at: datetime
    signed_headers: tuple[str, ...]
    signature: str


def is_signed(authorization: str) -> bool:
    """Whether an Authorization header is of this scheme.

    A signature in the query string (a "presigned URL", `X-Amz-Signature=`) is none: URLs end in logs. It is not looked
    for, so such a request has no credentials at all.
    """
    return authorization.partition(" ")[0].lower() == ALGORITHM.lower()


def read_claim(headers: Sequence[tuple[bytes, bytes]], now: datetime, *, region: str | None = None) -> Claim:
    """Return what a request claims. `region` is the one that signers must name; None lets any pass.

    Raises `SignatureError`, which says what is wrong with the form, the time or the choice of what was signed.
    """
    found = _by_name(headers)
    fields = _read_authorization(_text_of(found, b"authorization"))
    credential = _CREDENTIAL.fullmatch(fields["Credential"])
    if credential is None or _SIGNATURE.fullmatch(fields["Signature"]) is None:
        raise SignatureError(_FORM)
    access_key_id, date, named_region, service, terminator = credential.groups()
    _require(service == SERVICE, f"the credential must name the service {SERVICE}")
    _require(terminator == _TERMINATOR, f"the credential must end in {_TERMINATOR}")
    _require(region in {None, named_region}, f"the credential must name the region {region}")
    date_header = b"date" if b"date" in found and b"x-amz-date" not in found else b"x-amz-date"
    signed_at = _read_time(_text_of(found, date_header), is_http_date_allowed=date_header == b"date")
    _check_time(signed_at, date, now)
    signed_headers = tuple(fields["SignedHeaders"].split(";"))
    _check_signed_headers(signed_headers, found, date_header)
    _check_payload_is_signed(found)
    return Claim(access_key_id, date, named_region, signed_at, signed_headers, fields["Signature"])


def check(request: WireRequest, claim: Claim, secret: str | None) -> None:
    """Return if the key's secret made this signature for this request, else raise `SignatureError`.

    `secret` is None for a key that is not known (or not good any more): that takes the same work and ends in the same
    refusal. Raises `AmbiguousPathError` before anything that depends on the secret.
    """
    what = ambiguity(request.raw_path)
    if what is not None:
        raise AmbiguousPathError(f"the path of a signed request must not hold {what}: it can be read in two ways")
    _require(len(request.raw_path) + len(request.raw_query) <= MAX_TARGET_BYTES, "path and query are too long")
    _require(request.raw_query.count(b"&") < MAX_QUERY_PARAMETERS, "the query has too many parameters")
    _require(is_printable(request.raw_query), "the query holds a control character or a space")
    body_hash = _hash(request.body)
    forms = canonical_requests(
        request.method,
        request.raw_path,
        request.raw_query,
        _by_name(request.headers),
        signed_headers=claim.signed_headers,
        body_hash=body_hash,
    )
    # All are compared: what a refusal takes does not depend on the secret.
    matches = [hmac.compare_digest(claim.signature, one) for one in signatures(forms, claim, secret or "")]
    announced = [value.strip(b" \t") for name, value in request.headers if name == _CONTENT_HASH]
    if secret is None or not any(matches) or announced not in ([], [body_hash.encode()]):
        raise SignatureError(REFUSED)


def signatures(forms: Sequence[bytes], claim: Claim, secret: str, service: str = SERVICE) -> list[str]:
    """Return the signature in hex that `secret` makes, under the claim's scope, for each canonical form."""
    scope = (claim.date, claim.region, service, _TERMINATOR)
    key = b"AWS4" + secret.encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    head = f"{ALGORITHM}\n{claim.signed_at:%Y%m%dT%H%M%SZ}\n{'/'.join(scope)}\n"
    return [hmac.digest(key, (head + _hash(form)).encode(), hashlib.sha256).hex() for form in forms]


def _read_authorization(text: str) -> dict[str, str]:
    _require(len(text) <= MAX_AUTHORIZATION_CHARACTERS, "the Authorization header is too long")
    _require(is_signed(text), _FORM)
    parts = [part.strip(" \t").partition("=") for part in text.partition(" ")[2].split(",")]
    fields = {name: value for name, _, value in parts}
    _require(len(parts) == len(fields) and fields.keys() == {"Credential", "SignedHeaders", "Signature"}, _FORM)
    return fields


def _read_time(text: str, *, is_http_date_allowed: bool) -> datetime:
    try:
        if _BASIC_TIME.fullmatch(text) is not None:
            return datetime.fromisoformat(text)
        if is_http_date_allowed and len(text) <= _MAX_DATE_CHARACTERS:
            at = parsedate_to_datetime(text)
            # RFC 5322's `-0000`, which botocore writes, is UTC of an unknown place.
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise SignatureError("the request's time cannot be read: send X-Amz-Date: YYYYMMDDTHHMMSSZ, in UTC")


def _check_time(signed_at: datetime, date: str, now: datetime) -> None:
    _require(f"{signed_at:%Y%m%d}" == date, "the credential must name the day of the request's time, in UTC")
    minutes = int(MAX_SKEW.total_seconds() // 60)
    _require(
        abs(now - signed_at) <= MAX_SKEW,
        f"signed at {signed_at:%Y-%m-%dT%H:%M:%SZ}, and it is {now:%Y-%m-%dT%H:%M:%SZ} here: "
        f"sign again, with a clock that is right to {minutes} minutes",
    )


def _check_signed_headers(signed: tuple[str, ...], found: Mapping[bytes, list[bytes]], date_header: bytes) -> None:
    _require(len(signed) <= MAX_SIGNED_HEADERS, f"more than {MAX_SIGNED_HEADERS} headers are signed")
    _require(all(_HEADER_NAME.fullmatch(name) for name in signed), _FORM)
    _require(list(signed) == sorted(set(signed)), "SignedHeaders must be sorted, each name once")
    _text_of(found, b"host")
    names = {name.encode() for name in signed}
    optional = {name for name in found if name.startswith(b"x-amz-") or name in _KEY_HEADERS}
    unsigned = sorted(({b"host", date_header} | optional) - names)
    _require(not unsigned, f"these headers must be signed: {_listed(unsigned)}")
    absent = sorted(names - found.keys())
    _require(not absent, f"these headers are signed, and not there: {_listed(absent)}")
    values = [value for name in names for value in found[name]]
    _require(sum(map(len, values)) <= MAX_SIGNED_BYTES, f"the signed headers are over {MAX_SIGNED_BYTES} bytes")
    _require(not any(map(_LINE_ENDS.search, values)), "a signed header holds control characters")


def _check_payload_is_signed(found: Mapping[bytes, list[bytes]]) -> None:
    _require(b"x-amz-security-token" not in found, "session tokens are not supported: sign with an access key alone")
    if _CONTENT_HASH in found:
        is_hash = _BODY_HASH.fullmatch(_text_of(found, _CONTENT_HASH).encode()) is not None
        _require(is_hash, "X-Amz-Content-SHA256 must be the body's hash in hex: the body must be signed, as a whole")


def _by_name(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return found


def _text_of(found: Mapping[bytes, list[bytes]], name: bytes) -> str:
    """Return the value of a header that must be there, once."""
    values = found.get(name, [])
    _require(len(values) == 1, f"a signed request must have one header {name.decode()}; it has {len(values)}")
    _require(values[0].isascii(), f"the header {name.decode()} is not ASCII")
    return values[0].decode().strip(" \t")


def _listed(names: Sequence[bytes]) -> str:
    return ", ".join(name.decode("ascii", "backslashreplace")[:128] for name in names[:8])


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _require(condition: bool, text: str) -> None:  # noqa: FBT001 (reads as a sentence)
    if not condition:
        raise SignatureError(text)
