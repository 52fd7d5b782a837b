"""`/dev/echo`: the receiver that `countwheel dev` brings along, so that the first call has somewhere to go."""

from collections import deque
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.answers import json_answer
from countwheel.api.body import read_bytes
from countwheel.api.parts import ApiParts
from countwheel.api.views import timestamp

_KEPT = 100
_SHOWN_HEADERS = ("webhook-", "countwheel-", "idempotency-key", "traceparent", "content-type", "user-agent")


class Echo:
    """Remembers the last calls."""

    def __init__(self) -> None:
        self._calls: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    async def receive(self, api: ApiParts, request: Request) -> Response:
        """`POST /dev/echo`: take a call and answer what was taken."""
        received_at = timestamp(api.clock.now())
        body = await read_bytes(request, api.settings.max_body_bytes)
        headers = {name: value for name, value in request.headers.items() if name.startswith(_SHOWN_HEADERS)}
        call = {"received_at": received_at, "headers": headers, "body": body.decode("utf-8", "replace")}
        self._calls.appendleft(call)
        return json_answer(call, 200)

    async def show(self, _api: ApiParts, _request: Request) -> Response:
        """`GET /dev/echo`: the last calls, latest first."""
        return json_answer({"items": list(self._calls), "next_page_token": ""}, 200)
