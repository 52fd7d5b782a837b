"""Every 4xx and 5xx, as a problem document (RFC 9457; criterion E1)."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from countwheel.domain.errors import Fault

MEDIA_TYPE = "application/problem+json"
_DOCS = "/docs/problems/"

TITLES: Mapping[str, str] = {
    "invalid-request": "The request is not valid",
    "invalid-body": "The body is not valid",
    "idempotency-key-missing": "An Idempotency-Key is required",
    "idempotency-key-in-use": "The Idempotency-Key is in use",
    "idempotency-key-reused": "The Idempotency-Key was used for another request",
    "unauthorized": "Who are you?",
    "forbidden": "Not allowed",
    "tenant-suspended": "This tenant is suspended",
    "quota-exceeded": "More than the tenant's quota",
    "not-found": "Not found",
    "conflict": "It does not go together with how things stand",
    "precondition-failed": "It has changed since",
    "method-not-allowed": "Method not allowed",
    "not-acceptable": "No such representation",
    "request-timeout": "The request took too long to come",
    "target-too-long": "The path is too long",
    "headers-too-large": "The headers are too large",
    "too-many-requests": "Too many requests",
    "body-too-large": "The body is too large",
    "unsupported-media-type": "Not a media type that is read here",
    "invalid-token-request": "The token request is not valid",
    "not-settled-yet": "Not settled yet",
    "unavailable": "The database is away",
    "too-many-connections": "Too many connections",
    "issuer-unavailable": "The token's issuer cannot be asked",
    "internal-error": "Something is wrong on our side",
}
"""Every kind of problem, by the last part of its `type`."""

EXPLANATIONS: Mapping[str, str] = {
    "invalid-request": "A header, a path or a query parameter cannot be understood. `detail` names it.",
    "invalid-body": "`errors` lists every fault of the body at once, each with a JSON pointer to where it is.",
    "idempotency-key-missing": "This server is set to require an Idempotency-Key header on every create. Choose a "
    "key for each new job, for example a UUID, and repeat it when you repeat the request.",
    "idempotency-key-in-use": "Another request with the same key is under way. Send yours again after Retry-After.",
    "idempotency-key-reused": "The key was used before, with a body of another meaning. Nothing was created. Use a new "
    "key for a new job; to find the first one, send its own body again.",
    "unauthorized": "The request has no bearer token and no signature, or one that opens nothing. /oauth/token gives "
    "tokens; a request can be signed with an access key (AWS Signature Version 4) instead.",
    "forbidden": "It is known who you are, and you may not do this: it takes a scope or a policy that allows it, and "
    "none that denies it. `detail` names the action, the resource and the scope.",
    "tenant-suspended": "Whoever operates this server has suspended the tenant: nobody of it is let in, and nothing of "
    "it is called, until it is resumed. Targets may still say how the runs went that they had accepted.",
    "quota-exceeded": "The tenant has used up what it may use. `detail` names the quota; nothing was created. Send it "
    "again after Retry-After, with the same Idempotency-Key.",
    "not-found": "There is nothing of this id, or it belongs to somebody else: the two look alike on purpose.",
    "conflict": "The request is well-formed, and what it asks for cannot be done to this job or run as it stands now. "
    "`detail` says why.",
    "precondition-failed": "The job is at another version than If-Match names: somebody has changed it. Read it again.",
    "method-not-allowed": "The path has other methods; the Allow header lists them.",
    "not-acceptable": "Answers are JSON: send Accept: application/json, or none.",
    "request-timeout": "The head of a request must come within COUNTWHEEL_HEAD_SECONDS, its body within "
    "COUNTWHEEL_BODY_SECONDS. Send it again, with the same Idempotency-Key.",
    "target-too-long": "The path with its query is over what is read here. `detail` says how much that is.",
    "headers-too-large": "There are more headers, or longer ones, than are read here. `detail` says how many may be.",
    "too-many-requests": "Whoever asks too much, or fails too often to prove who he is, has to wait: Retry-After says "
    "how long, `detail` says why.",
    "body-too-large": "The body is over the limit of this server (COUNTWHEEL_MAX_BODY_BYTES).",
    "unsupported-media-type": "Send Content-Type: application/json, in UTF-8.",
    "invalid-token-request": "RFC 6749, section 5.2: `error` has its code.",
    "not-settled-yet": "The node that holds the run did not answer in time. The cancel is noted: ask again.",
    "unavailable": "PostgreSQL cannot be reached just now. Send the request again after Retry-After, with the same "
    "Idempotency-Key: that makes it safe.",
    "too-many-connections": "The node holds as many connections as it may (COUNTWHEEL_MAX_CONNECTIONS). Send the "
    "request again after Retry-After; keep connections and use them again.",
    "issuer-unavailable": "Whether the token is good cannot be known just now: its issuer cannot be reached. Nothing "
    "was done. Send the request again after Retry-After.",
    "internal-error": "The fault is ours, and it is in the server's log under the request id.",
}


_KINDS: Mapping[int, str] = {
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "request-timeout",
    413: "body-too-large",
    414: "target-too-long",
    429: "too-many-requests",
    431: "headers-too-large",
}


class Problem(Exception):  # noqa: N818 (RFC 9457's own word)
    """A refusal, as the client will read it."""

    def __init__(
        self,
        status: int,
        kind: str,
        *,
        detail: str,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """`kind` is one of `TITLES`; `members` are added to the document."""
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    def document(self, request_id: str) -> dict[str, Any]:
        """Return the problem document."""
        document: dict[str, Any] = {
            "type": _DOCS + self.kind,
            "title": TITLES[self.kind],
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:uuid:{request_id}",
        }
        if self.errors:
            document["errors"] = [{"detail": fault.detail, "pointer": fault.pointer} for fault in self.errors]
        return document | self.members

    def answer(self, request_id: str) -> Response:
        """Return the response."""
        body = json.dumps(self.document(request_id), ensure_ascii=False).encode("utf-8", "backslashreplace")
        return Response(body, self.status, self.headers, MEDIA_TYPE)


def invalid_body(errors: Sequence[Fault]) -> Problem:
    """Return the 400 that lists every fault of a body."""
    count = len(errors)
    return Problem(400, "invalid-body", detail=f"{count} fault{'s' if count > 1 else ''}; see errors", errors=errors)


def invalid_parameter(name: str, detail: str) -> Problem:
    """Return the 400 for a header, a query parameter or a part of the path."""
    return Problem(400, "invalid-request", detail=f"{name}: {detail}")


def of_status(status: int, detail: str | None = None) -> Problem:
    """Return a problem for a status that the framework chose."""
    kind = _KINDS.get(status, "invalid-request" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal-error")
    return Problem(status, kind, detail=detail or HTTPStatus(status).phrase)


def used_up(kind: str, detail: str, *, limit: str, policy: str, seconds: int) -> Problem:
    """Return the 429 of a limit that is used up, and that is worth asking for again in `seconds` (criterion E5).

    `limit` and `policy` (its parameters) are told in the fields of the IETF draft ratelimit-headers.
    """
    headers = {
        "Retry-After": str(seconds),
        "RateLimit-Policy": f'"{limit}";{policy}',
        "RateLimit": f'"{limit}";r=0;t={seconds}',
    }
    return Problem(429, kind, detail=detail, headers=headers)
