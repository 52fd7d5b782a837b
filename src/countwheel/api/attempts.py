"""A try to prove a name: refused with 429 while whoever failed before has to wait (criterion E5)."""

import math
from dataclasses import dataclass

from starlette.requests import Request

from countwheel.api.parts import ApiParts
from countwheel.api.problems import used_up
from countwheel.api.source import source_ip
from countwheel.auth.slowdown import FORGOTTEN_AFTER_SECONDS, FREE_FAILURES, Address

_POLICY = f"q={FREE_FAILURES};w={FORGOTTEN_AFTER_SECONDS:.0f}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What comes of it is to be told: `failed` for a wrong secret or an unknown name, else `succeeded`."""

    api: ApiParts
    name: str
    address: Address | None

    def failed(self) -> None:
        """Count a failure."""
        self.api.slow_down.failed(self.name, self.address, self.api.clock.monotonic())

    def succeeded(self) -> None:
        """Forget the failures of this name from this address."""
        self.api.slow_down.succeeded(self.name, self.address)


def begin_attempt(api: ApiParts, request: Request, name: str) -> Attempt:
    """Return a try to prove a name, that is to be made before any secret is looked at.

    Raises the 429 problem while there is to be waited, with Retry-After (whole seconds) and the fields of the IETF
    draft ratelimit-headers.
    """
    address = source_ip(request.scope, api.settings.trusted_proxies)
    wait = math.ceil(api.slow_down.wait_seconds(name, address, api.clock.monotonic()))
    if wait > 0:
        detail = f"too many wrong secrets: try again in {wait} s"
        raise used_up("too-many-requests", detail, limit="failures", policy=_POLICY, seconds=wait)
    return Attempt(api, name, address)
