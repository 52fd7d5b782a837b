"""What one part of the API notes of a request for another, in the `state` of its scope.

Not by `request.state`: to read there what may be missing raises within, and catches it (2 us, three times a create),
and to write takes three calls.
"""

from typing import Any

from starlette.requests import Request


def note(request: Request, name: str, value: object) -> None:
    """Note something of a request under a name."""
    request.scope.setdefault("state", {})[name] = value


def noted(request: Request, name: str) -> Any:  # noqa: ANN401 (whatever was noted)
    """Return what was noted under a name, or None."""
    return request.scope.get("state", {}).get(name)
