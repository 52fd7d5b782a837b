"""Policy documents, read: what is not understood to the last element is refused when it is written (criterion A7).

The shape is that of AWS's IAM policies, as far as it goes here. `docs/policies.md` is its description.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping

from countwheel.auth.conditions import Condition, read_conditions
from countwheel.auth.elements import Reading, one_of, within
from countwheel.auth.globs import can_begin_with, check_glob, compile_glob
from countwheel.auth.policy import Effect, Policy, Statement
from countwheel.domain.errors import Fault, InvalidError

VERSION = "2012-10-17"
MAX_DOCUMENT_BYTES = 16 * 1024
MAX_STATEMENTS = 100
MAX_ACTIONS = 100
MAX_RESOURCES = 100

DOCUMENT_ELEMENTS = ("Version", "Statement")
STATEMENT_ELEMENTS = ("Sid", "Effect", "Action", "Resource", "Condition")

_REQUIRED = ("Effect", "Action", "Resource")
_EFFECTS = tuple(effect.value for effect in Effect)
_SID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_ACTION = re.compile(r"\*|[A-Za-z*?-]+:[A-Za-z*?]+", re.ASCII)
# What a path of ours may hold. No `$` and no braces: a variable, or a placeholder of the docs, would match nothing.
_RESOURCE = re.compile(r"[A-Za-z0-9._~!&'()+,;=:@%/\[\]*?-]+", re.ASCII)


def read_policy(name: str, document: object, known_actions: Collection[str]) -> Policy:
    """Return what a document (parsed JSON) says. Raises `InvalidError` with all that is wrong with it.

    The case of letters counts, in actions too (AWS takes any there). A pattern that matches none of `known_actions` is
    refused, so that a slip is told when it is written. For the same reason the first part of a resource must be what
    some action is of: `jobs/...` where there is an action `jobs:...`.
    """
    if _is_too_large(document):
        raise InvalidError([Fault("#", f"has more than {MAX_DOCUMENT_BYTES} bytes as JSON: make it several policies")])
    reading = Reading()
    elements = reading.element(document, "#", DOCUMENT_ELEMENTS, DOCUMENT_ELEMENTS)
    if elements.get("Version", VERSION) != VERSION:
        reading.fault("#/Version", f'must be "{VERSION}", the one version of the language that is understood')
    statements: list[Statement] = []
    if "Statement" in elements:
        reader = _StatementReader(reading, known_actions)
        for pointer, value in reading.items(elements["Statement"], "#/Statement", MAX_STATEMENTS, dict, "an object"):
            statements += reader.read(value, pointer)
    if reading.faults:
        raise InvalidError(reading.faults)
    return Policy(name, tuple(statements))


class _StatementReader:
    def __init__(self, reading: Reading, actions: Collection[str]) -> None:
        self.reading = reading
        self.actions = actions
        self.kinds = sorted({action.partition(":")[0] for action in actions})
        self.sids: set[str] = set()

    def read(self, value: object, pointer: str) -> list[Statement]:
        """Return the statement; none where something is wrong with it."""
        reading, seen = self.reading, len(self.reading.faults)
        elements = reading.element(value, pointer, STATEMENT_ELEMENTS, _REQUIRED)
        self._check_sid(elements, within(pointer, "Sid"))
        if elements.get("Effect", Effect.DENY) not in _EFFECTS:
            reading.fault(within(pointer, "Effect"), f"must be {one_of(_EFFECTS)}")
        actions = self._texts(elements, pointer, "Action", MAX_ACTIONS, self._check_action)
        resources = self._texts(elements, pointer, "Resource", MAX_RESOURCES, self._check_resource)
        conditions: tuple[Condition, ...] = ()
        if "Condition" in elements:
            conditions = read_conditions(reading, elements["Condition"], within(pointer, "Condition"))
        if len(reading.faults) > seen:
            return []
        return [Statement(Effect(elements["Effect"]), actions, resources, conditions, elements.get("Sid"))]

    def _texts(
        self, elements: Mapping[str, object], pointer: str, name: str, most: int, check: Callable[[str], None]
    ) -> tuple[str, ...]:
        return self.reading.texts(elements[name], within(pointer, name), most, check) if name in elements else ()

    def _check_sid(self, elements: Mapping[str, object], pointer: str) -> None:
        if "Sid" not in elements:
            return
        sid = elements["Sid"]
        if not isinstance(sid, str) or _SID.fullmatch(sid) is None:
            self.reading.fault(pointer, "must be a string of 1 to 64 letters, digits, dots, hyphens and underscores")
        elif sid in self.sids:
            self.reading.fault(pointer, "is given twice: a Sid is of one statement")
        else:
            self.sids.add(sid)

    def _check_action(self, pattern: str) -> None:
        check_glob(pattern)
        if _ACTION.fullmatch(pattern) is None:
            raise ValueError("is no action: give * or a service and a name, like jobs:Create or jobs:*")
        matches = compile_glob(pattern)
        if not any(map(matches, self.actions)):
            matches = compile_glob(pattern.lower())
            meant = next((action for action in self.actions if matches(action.lower())), None)
            raise ValueError("matches no action" + (f": case counts, as in {meant}" if meant else ""))

    def _check_resource(self, pattern: str) -> None:
        check_glob(pattern)
        if _RESOURCE.fullmatch(pattern) is None:
            raise ValueError("is no resource: give * or a path, like jobs/* or jobs/{id} with the id for {id}")
        if not any(can_begin_with(pattern, f"{kind}/") for kind in self.kinds):
            raise ValueError(f"matches no resource: it must begin with {one_of(self.kinds)} and a slash")


def _is_too_large(document: object) -> bool:
    try:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidError([Fault("#", "must be a JSON object")]) from error
    return len(text.encode("utf-8", "surrogatepass")) > MAX_DOCUMENT_BYTES
