"""Cross-origin requests of browsers (Fetch, section 3.2): refused, but from origins that are configured.

Nothing here rests on cookies, so credentials are never asked for: a page that may call us brings its own token.
"""

from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from countwheel.api.headers import complete
from countwheel.api.problems import Problem

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SENT = (
    "Authorization",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Amz-Content-Sha256",
    "X-Amz-Date",
    "X-Amz-Security-Token",
)
_READ = (
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
)


class Cors(CORSMiddleware):
    """Lets the pages of some origins call the API; its own refusals are problem documents too (criterion E1)."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str], new_id: Callable[[], str]) -> None:
        super().__init__(
            app, allow_origins=origins, allow_methods=_METHODS, allow_headers=_SENT, expose_headers=_READ, max_age=600
        )
        self._new_id = new_id

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer the question whether a request may be sent: 204, or the 400 problem that says what is not allowed."""
        judged = super().preflight_response(request_headers)
        request_id = self._new_id()
        if judged.status_code >= 400:  # noqa: PLR2004 (HTTP's own limit)
            answer = Problem(400, "invalid-request", detail=bytes(judged.body).decode()).answer(request_id)
            answer.headers["Vary"] = judged.headers["Vary"]
        else:
            named = ("vary", "access-control-")
            kept = {name: value for name, value in judged.headers.items() if name.startswith(named)}
            answer = Response(status_code=204, headers=kept)
        complete(answer.headers, request_id, secure=False)
        return answer
