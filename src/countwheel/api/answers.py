"""Successful answers."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.paging import Page

_Row = TypeVar("_Row")

_encode = msgspec.json.encode


def json_answer(content: object, status: int, headers: dict[str, str] | None = None) -> Response:
    """Return JSON; a `str` is JSON text already (a stored answer is sent as it was)."""
    body = content.encode() if isinstance(content, str) else _encode(content)
    return Response(body, status, headers, "application/json")


def page_answer(
    request: Request,
    page: Page,
    rows: Sequence[_Row],
    view: Callable[[_Row], dict[str, Any]],
    key: Callable[[_Row], UUID | str],
    *,
    stopped_at: UUID | str | None = None,
) -> Response:
    """Return one page. `rows` holds one row more than the page where there is a next one.

    `stopped_at` is where a listing that ran out of time is to go on.
    """
    shown = rows[: page.size]
    goes_on = key(shown[-1]) if len(rows) > page.size else stopped_at
    token = "" if goes_on is None else page.token_after(str(goes_on))
    content = {"items": [view(row) for row in shown], "next_page_token": token}
    return json_answer(content, 200, next_link(request, token))


def next_link(request: Request, token: str) -> dict[str, str]:
    """Return the header that leads to the next page (RFC 8288): none where the token is empty."""
    if not token:
        return {}
    others = [(name, value) for name, value in request.query_params.multi_items() if name != "page_token"]
    return {"Link": f'<{request.url.path}?{urlencode([*others, ("page_token", token)])}>; rel="next"'}
