"""Versions of a job as strong entity tags, and `If-Match` (RFC 9110 §13.1.1; criterion E7)."""

import re
from collections.abc import Sequence

from countwheel.api.problems import Problem, invalid_parameter

_NAME = "If-Match"
_TAGS = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"(?:[ \t]*,[ \t]*(?:W/)?"[\x21\x23-\x7e]*")*', re.ASCII)
_TAG = re.compile(r'(?:W/)?"[^"]*"')


def etag(version: int) -> str:
    """Return the entity tag of a job's version."""
    return f'"{version}"'


def read_if_match(values: Sequence[str]) -> frozenset[str] | None:
    """Return the tags of which one must match, or None where any version will do (no header, or `*`).

    Raises the 400 problem for a malformed header.
    """
    text = ", ".join(values).strip(" \t")
    if not values or text == "*":
        return None
    if not _TAGS.fullmatch(text):
        raise invalid_parameter(_NAME, 'give the ETag of the version that you have read, like "3", or *')
    # A weak tag never matches: the comparison is the strong one.
    return frozenset(tag for tag in _TAG.findall(text) if not tag.startswith("W/"))


def check_match(version: int, wanted: frozenset[str] | None) -> None:
    """Raise the 412 problem where none of the wanted tags is the version's."""
    if wanted is not None and etag(version) not in wanted:
        raise Problem(
            412,
            "precondition-failed",
            detail=f"the job is at version {etag(version)} now: read it again, and decide again",
            headers={"ETag": etag(version)},
        )
