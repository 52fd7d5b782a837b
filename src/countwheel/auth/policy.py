"""Policies: documents that say who may do what (criterion A7), and the decision that they lead to. Pure.

Nothing is allowed but by an Allow, and any Deny wins, wherever it stands. What cannot be decided is decided for safety:
a condition whose key has no value makes an Allow not apply, and a Deny apply.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter

from msgspec import Struct

from countwheel.auth.conditions import Condition, Context
from countwheel.auth.globs import Matcher, compile_globs


class Effect(StrEnum):
    """What a statement does where it applies."""

    ALLOW = "Allow"
    DENY = "Deny"


class Question(Struct, frozen=True):
    """May this be done: an action (`runs:Cancel`) on a resource (`jobs/{id}/run/{id}`; `jobs/*` of a collection)?"""

    action: str
    resource: str
    context: Context


@dataclass(frozen=True, slots=True)
class Statement:
    """What is allowed or denied: any of the actions, on any of the resources, while all of the conditions hold."""

    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    sid: str | None = None
    _is_of_action: Matcher = field(init=False, repr=False, compare=False)
    _is_of_resource: Matcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_is_of_action", compile_globs(self.actions))
        object.__setattr__(self, "_is_of_resource", compile_globs(self.resources))

    def is_about(self, question: Question) -> bool:
        """Whether action and resource are among its own."""
        return self._is_of_action(question.action) and self._is_of_resource(question.resource)

    def holds(self, context: Context) -> bool | None:
        """Whether all conditions hold; None where that depends on a key without a value."""
        answer: bool | None = True
        for condition in self.conditions:
            one = condition.holds(context)
            if one is False:
                return False
            answer = one and answer
        return answer


@dataclass(frozen=True, slots=True)
class Policy:
    """Statements under a name."""

    name: str
    statements: tuple[Statement, ...]


class Matched(Struct, frozen=True):
    """The statement that decided: `index` counts from 0, like a pointer into the document."""

    policy: str
    index: int
    sid: str | None
    effect: Effect
    is_undecided: bool = False
    """A Deny that applies because a value that its condition asks for is not known."""

    def __str__(self) -> str:
        """Return it as a person says it: statements count from 1."""
        return f"policy {self.policy}, statement {self.index + 1}" + (f" ({self.sid})" if self.sid else "")


class Decision(Struct, frozen=True):
    """Whether something may be done, and by which statement; by none where nothing allows it."""

    allowed: bool
    by: Matched | None

    @property
    def reason(self) -> str:
        """One sentence for people. It is made when it is asked for: most decisions need none."""
        if self.by is None:
            return "no statement allows it"
        if self.allowed:
            return f"allowed by {self.by}"
        return f"denied by {self.by}" + (": what its condition asks for is not known" if self.by.is_undecided else "")


def decide(policies: Iterable[Policy], question: Question) -> Decision:
    """Return whether the policies allow it. Never raises.

    `by` is the first Deny that applies, else the first Allow, policies taken by name: the order of `policies` tells
    nothing.
    """
    allowing: Matched | None = None
    for policy in sorted(policies, key=_name):
        for index, statement in enumerate(policy.statements):
            denies = statement.effect is Effect.DENY
            if (allowing is not None and not denies) or not statement.is_about(question):
                continue
            holds = statement.holds(question.context)
            if denies and holds is not False:
                by = Matched(policy.name, index, statement.sid, Effect.DENY, is_undecided=holds is None)
                return Decision(allowed=False, by=by)
            if holds and not denies:
                allowing = Matched(policy.name, index, statement.sid, Effect.ALLOW)
    return Decision(allowing is not None, allowing)


_name = attrgetter("name")
