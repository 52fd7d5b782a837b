"""What the tests of signed requests share: botocore as the signer, and our two steps in one."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from countwheel.auth.sigv4 import SERVICE, Claim, WireRequest, check, read_claim
from countwheel.clock import SystemClock

KEY_ID = "cwk_0123456789AB"
SECRET = "cws_registered/by+the=test"
REGION = "eu-1"
BASE = "http://countwheel.example"


def sign(
    method: str,
    url: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    params: Any = None,
    service: str = SERVICE,
    region: str = REGION,
) -> AWSRequest:
    """Return a request that botocore has signed, now."""
    request = AWSRequest(method=method, url=url, data=body, params=params)
    for name, value in headers:
        request.headers.add_header(name, value)
    SigV4Auth(Credentials(KEY_ID, SECRET), service, region).add_auth(request)
    return request


def signed(method: str = "GET", target: str = "/v1/jobs", *, body: bytes = b"", **options: Any) -> WireRequest:
    """Return the same as it would come over the wire, without one: what a client adds by itself is its host."""
    request = sign(method, BASE + target, body=body, **options)
    host = [] if "host" in request.headers else [("host", urlsplit(request.url).netloc)]
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in (*host, *request.headers.items())]
    path, _, query = target.partition("?")
    return WireRequest(method, path.encode(), query.encode(), headers, body)


def verify(
    request: WireRequest, *, secret: str | None = SECRET, now: datetime | None = None, region: str | None = REGION
) -> Claim:
    """Read the claim and check it, as the API does. Raises `SignatureError`."""
    claim = read_claim(request.headers, now or SystemClock().now(), region=region)
    check(request, claim, secret)
    return claim


def header(request: WireRequest, name: bytes) -> bytes:
    """Return the value of a header that is there once."""
    [value] = [value for found, value in request.headers if found == name]
    return value


def with_headers(request: WireRequest, **changes: bytes | None) -> WireRequest:
    """Return a request with other values, by name with `_` for `-`. None takes a header away; a new one comes last."""
    named = {name.replace("_", "-").encode(): value for name, value in changes.items()}
    headers = [(name, named.pop(name, value)) for name, value in request.headers]
    headers += named.items()
    return replace(request, headers=[(name, value) for name, value in headers if value is not None])
