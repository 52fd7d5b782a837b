"""The record of who did what: written down before the answer is given.

Every change is on record, and everything that was refused for want of a right. What an answer says has happened is in
the audit log by then, durably. Creates have their entries written in their own transaction; after a crash between
another change and its answer the change may stand alone, as its client was told nothing either.
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from countwheel.api.notes import note, noted
from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.api.redaction import redacted
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.store.audit_log import Entry

MOST_CHARACTERS = 16_384
"""Of what a resource was, and of what it became: more is left out, and said to be."""

_READING = frozenset({"List", "Read", "ListVersions", "Audit", "Preview", "Simulate", "Heartbeat"})
"""Verbs of actions that change nothing, or nothing but how long a run may be silent."""
_FORBIDDEN = 403
_ENTROPY_BYTES = 10


class Doing(msgspec.Struct, frozen=True):
    """Who does what to which resource."""

    principal: Principal
    action: str
    resource: str

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.action.partition(":")[2] not in _READING


async def recorded(
    api: ApiParts, request: Request, doing: Doing, answer: Callable[[], Awaitable[Response]]
) -> Response:
    """Return the answer when what it says is on record. Raises what `answer` raises."""
    note(request, "doing", doing)
    try:
        response = await answer()
    except Problem as problem:
        if problem.status == _FORBIDDEN:
            await _record(api, request, doing, problem.status, None)
        raise
    if doing.changes and not noted(request, "is_recorded"):
        await _record(api, request, doing, response.status_code, bytes(response.body))
    return response


def note_asked(request: Request, body: object) -> None:
    """Keep what was asked for, where the answer does not tell: a filter, of what was done to many."""
    note(request, "asked", body)


async def note_before(
    api: ApiParts,
    request: Request,
    principal: Principal,
    show: Callable[[ApiParts, Request, Principal], Awaitable[Response]],
) -> None:
    """Keep how a resource stands before it is changed; nothing where there is none yet."""
    try:
        shown = await show(api, request, principal)
    except Problem:
        return
    note(request, "before", bytes(shown.body))


def entry_of_change(request: Request, entry_id: UUID, status: int, view: object) -> Entry:
    """Return the entry of what a request does, for a handler that writes it in the transaction of the change itself.

    `view` is what is answered. Of a change that took place `note_recorded` is to be told.
    """
    return _entry(request, noted(request, "doing"), entry_id, status, before=None, after=_text(view))


def note_recorded(request: Request) -> None:
    """Take note that what a request has changed is on record."""
    note(request, "is_recorded", value=True)


async def _record(api: ApiParts, request: Request, doing: Doing, status: int, after: bytes | None) -> None:
    entry_id = ids.job_id(api.clock.now(), api.chance.token_bytes(_ENTROPY_BYTES))
    before = _kept(noted(request, "before"))
    after_it = _kept(after, noted(request, "asked"))
    await api.audit_trail.write(_entry(request, doing, entry_id, status, before=before, after=after_it))


def _entry(
    request: Request, doing: Doing, entry_id: UUID, status: int, *, before: str | None, after: str | None
) -> Entry:
    principal = doing.principal
    address = principal.context.source_ip
    return Entry(
        entry_id=entry_id,
        tenant_id=principal.tenant_id,
        principal=principal.name,
        key_id=principal.key_id,
        source_ip=None if address is None else str(address),
        action=doing.action,
        resource=doing.resource,
        status=status,
        request_id=UUID(noted(request, "request_id")),
        before=before,
        after=after,
    )


def _kept(document: bytes | None, asked: object = None) -> str | None:
    if not document:
        return None
    content = msgspec.json.decode(document)
    return _text(content if asked is None else {"asked": asked, "answered": content})


def _text(content: object) -> str:
    text = msgspec.json.encode(redacted(content)).decode()
    return text if len(text) <= MOST_CHARACTERS else f'{{"left_out":"{len(text)} characters are more than are kept"}}'
