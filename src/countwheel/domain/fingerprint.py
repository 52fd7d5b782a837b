"""Failures that look alike have the same fingerprint: what is different in each of them is left out of it."""

import hashlib
import re

from countwheel.domain.attempt import SUCCESSES, AttemptResult, Failure, Response
from countwheel.domain.run import RunStatus

DEAD_LETTERS = frozenset({RunStatus.FAILED, RunStatus.UNKNOWN})
"""The ends that have a fingerprint, and that a person may take back."""

FINGERPRINT_CHARACTERS = 16

_READ_CHARACTERS = 1_000
_KEPT_CHARACTERS = 300
_CLASS_CHARACTERS = 64

_WORD = re.compile(r"[\w.:+%-]+")
_VARIES = re.compile(r"\d|::")
_HASH = re.compile(r"[A-Fa-f-]{8,}")
"""A UUID or a hash that happens to have no digit."""
_SEVERAL = re.compile(r"#(?:[\s,;/#-]*#)+")
_BLANKS = re.compile(r"\s+")
_CLASS = re.compile(r"[a-z][a-z_]{0,30}(?=:)")


def fingerprint(target: str, error_class: str, error: str) -> str:
    """Return 16 hexadecimal characters that name a failure's kind: where, what class, and what was said of it.

    Never raises, whatever the texts hold.
    """
    parts = "\x00".join((target, error_class, normalised(error)))
    return hashlib.sha256(parts.encode("utf-8", "replace")).hexdigest()[:FINGERPRINT_CHARACTERS]


def normalised(error: str) -> str:
    """Return an error without what changes from one to the next: numbers, ids, addresses, times, and asides.

    What stands in parentheses is an aside: which attempt it was, why it was the last. Twice is the same as once.
    """
    text = _WORD.sub(_blurred, _without_asides(error[:_READ_CHARACTERS]))
    text = _BLANKS.sub(" ", _SEVERAL.sub("#", text)).strip()
    return text[:_KEPT_CHARACTERS].rstrip()


def class_of(result: AttemptResult | None) -> str | None:
    """Return the class of error of an attempt: why there was no status, or the status; None where it was a 2xx."""
    match result:
        case Failure(kind):
            return str(kind)
        case Response(status) if status not in SUCCESSES:
            return f"http_{status}"
        case _:
            return None


def class_of_text(error: str) -> str:
    """Return the class that an error's text begins with ("lost: …", "parked: …"), or "other"."""
    found = _CLASS.match(error)
    return found[0][:_CLASS_CHARACTERS] if found else "other"


def _blurred(word: re.Match[str]) -> str:
    """Return "#" for a word that is a number, a time, an address or an id: one with a digit in it, as a rule."""
    return "#" if _VARIES.search(word[0]) or _HASH.fullmatch(word[0]) else word[0]


def _without_asides(text: str) -> str:
    """Leave out what stands in parentheses. One that is never closed hides the rest."""
    kept: list[str] = []
    depth = 0
    for character in text:
        if character == "(":
            depth += 1
        elif character == ")":
            depth = max(0, depth - 1)
        elif depth == 0:
            kept.append(character)
    return "".join(kept)
