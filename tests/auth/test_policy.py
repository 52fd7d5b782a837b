"""Criterion A7: what a policy decides, and that nothing but a Deny and an Allow have a say in it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_model import ACTIONS, DOCUMENTS, QUESTIONS, STATEMENTS, allows, as_list, document, question, statement

from countwheel.auth.conditions import Condition
from countwheel.auth.policy import Decision, Effect, Matched, Policy, Question, Statement, decide
from countwheel.auth.policy_document import read_policy
from countwheel.auth.scopes import policy_of_scope

SEVERAL = st.lists(DOCUMENTS, max_size=3)
DENY = statement(Effect="Deny", Sid="No")


def read(*documents: dict[str, Any]) -> list[Policy]:
    return [read_policy(f"p{number}", whole, ACTIONS) for number, whole in enumerate(documents)]


@given(SEVERAL, QUESTIONS)
@settings(max_examples=1_000)
def test_a7_a_decision_is_what_the_documents_say(documents: list[dict[str, Any]], asked: Question) -> None:
    """A7: the engine agrees with a plain reading of the documents, for every one and every question."""
    assert decide(read(*documents), asked).allowed == allows(documents, asked)


@given(SEVERAL, QUESTIONS, st.randoms(use_true_random=False))
def test_a7_order_tells_nothing(documents: list[dict[str, Any]], asked: Question, chance: Any) -> None:
    """A7: policies in another order make the same decision by the same statement; statements too, in another order,
    make the same decision.
    """
    policies = read(*documents)
    decision = decide(policies, asked)
    chance.shuffle(policies)
    assert decide(policies, asked) == decision
    mixed = [replace(one, statements=tuple(chance.sample(one.statements, len(one.statements)))) for one in policies]
    assert decide(mixed, asked).allowed == decision.allowed


@given(SEVERAL, QUESTIONS, st.data())
def test_a7_a_deny_wins_wherever_it_stands(documents: list[dict[str, Any]], asked: Question, data: Any) -> None:
    """A7: of everything, put anywhere among any statements."""
    documents = [*documents, document(statement())]
    said = [as_list(whole["Statement"]) for whole in documents]
    chosen = data.draw(st.integers(0, len(said) - 1))
    said[chosen].insert(data.draw(st.integers(0, len(said[chosen]))), DENY)
    decision = decide(read(*(document(*statements) for statements in said)), asked)
    assert not decision.allowed
    assert decision.by is not None
    assert decision.by.effect is Effect.DENY


@given(SEVERAL, QUESTIONS, STATEMENTS)
def test_a7_a_deny_takes_and_an_allow_gives(documents: list[dict[str, Any]], asked: Question, more: Any) -> None:
    """A7: one more Deny never allows what was denied, one more Allow never denies what was allowed."""
    before = decide(read(*documents), asked).allowed
    assert decide(read(*documents, document(more | {"Effect": "Deny"})), asked).allowed <= before
    assert decide(read(*documents, document(more | {"Effect": "Allow"})), asked).allowed >= before


@given(SEVERAL, st.text(), st.text())
def test_a7_whatever_is_asked_has_an_answer(documents: list[dict[str, Any]], action: str, resource: str) -> None:
    """A7: texts that no policy has heard of are no error, and an Allow names its statement."""
    decision = decide(read(*documents), Question(action, resource, question().context))
    assert decision.allowed == (decision.by is not None and decision.by.effect is Effect.ALLOW)
    assert decision.reason


@pytest.mark.parametrize("policies", [[], [Policy("empty", ())], [policy_of_scope("nobody-knows", ())]])
def test_a7_nothing_is_allowed_by_default(policies: list[Policy]) -> None:
    """A7: where nothing is said, nothing is allowed."""
    assert decide(policies, question()) == Decision(allowed=False, by=None)


@pytest.mark.parametrize(
    ("statements", "source", "reason"),
    [
        ([statement(Action="jobs:List")], "203.0.113.7", "no statement allows it"),
        ([statement(Resource="jobs/2")], "203.0.113.7", "no statement allows it"),
        ([statement()], "203.0.113.7", "allowed by policy p0, statement 1"),
        ([statement(Action="runs:*"), statement(Sid="Yes")], "203.0.113.7", "allowed by policy p0, statement 2 (Yes)"),
        ([statement(), DENY, DENY | {"Sid": "Late"}], "203.0.113.7", "denied by policy p0, statement 2 (No)"),
        ([DENY], "203.0.113.7", "denied by policy p0, statement 1 (No)"),
        (
            [statement(), DENY | {"Condition": {"IpAddress": {"countwheel:SourceIp": "10.0.0.0/8"}}}],
            None,
            "denied by policy p0, statement 2 (No): what its condition asks for is not known",
        ),
        (
            [statement(Condition={"NotIpAddress": {"countwheel:SourceIp": "10.0.0.0/8"}})],
            None,
            "no statement allows it",
        ),
    ],
)
def test_a7_a_decision_says_which_statement_made_it(statements: list[Any], source: str | None, reason: str) -> None:
    """A7: in one sentence, for `policies:simulate`."""
    assert decide(read(document(*statements)), question(source=source)).reason == reason


def test_a7_the_statement_named_is_the_first_by_name_of_policy() -> None:
    """A7: the first Deny, or else the first Allow, in whatever order the policies come."""
    allow, deny = read(document(statement(Sid="A"), statement(Sid="B")))[0], read(document(statement(), DENY))[0]
    by = decide([replace(allow, name="b"), replace(allow, name="a")], question()).by
    assert by == Matched("a", 0, "A", Effect.ALLOW)
    by = decide([replace(deny, name="d"), replace(allow, name="a"), replace(deny, name="c")], question()).by
    assert by == Matched("c", 1, "No", Effect.DENY)


@pytest.mark.parametrize(
    ("others", "allow", "deny"),
    [({}, False, True), ({"StringEquals": {"countwheel:PrincipalId": "another"}}, False, False)],
)
def test_a7_what_is_undecided_is_decided_for_safety(others: Any, allow: bool, deny: bool) -> None:
    """A7: no Allow applies by a value that is not known, and no Deny fails by it; where another condition does not
    hold, neither applies.
    """
    condition = {"NotIpAddress": {"countwheel:SourceIp": "10.0.0.0/8"}} | others
    asked = question(source=None)
    assert decide(read(document(statement(Condition=condition))), asked).allowed == allow
    denied = read(document(statement(), statement(Effect="Deny", Condition=condition)))
    assert decide(denied, asked).allowed == (not deny)


def test_a7_a_scope_is_a_policy() -> None:
    """A7: it allows its actions on every resource, and a Deny wins over it."""
    scope = policy_of_scope("jobs:read", {"jobs:Read", "jobs:List"})
    assert scope == Policy("scope jobs:read", (Statement(Effect.ALLOW, ("jobs:List", "jobs:Read"), ("*",)),))
    allowed = [action for action in ACTIONS if decide([scope], question(action, "targets/x")).allowed]
    assert allowed == ["jobs:List", "jobs:Read"]
    assert decide([scope], question()).reason == "allowed by policy scope jobs:read, statement 1"
    assert not decide([scope, *read(document(DENY))], question()).allowed


@given(DOCUMENTS)
def test_a7_what_is_accepted_is_kept_as_it_was_said(whole: dict[str, Any]) -> None:
    """A7: a document can be told again from its policy; nothing in it is lost."""
    (policy,) = read(whole)
    said = [
        {
            "Effect": as_list(one["Effect"]),
            "Action": as_list(one["Action"]),
            "Resource": as_list(one["Resource"]),
            "Condition": {
                (operator, key): as_list(values)
                for operator, keys in one.get("Condition", {}).items()
                for key, values in keys.items()
            },
        }
        for one in as_list(whole["Statement"])
    ]
    told = [
        {
            "Effect": [one.effect],
            "Action": list(one.actions),
            "Resource": list(one.resources),
            "Condition": {(had.operator, had.key): list(had.values) for had in one.conditions},
        }
        for one in policy.statements
    ]
    assert told == said
    again = document(
        *(
            {"Effect": one.effect, "Action": list(one.actions), "Resource": list(one.resources)}
            | ({"Condition": _written(one.conditions)} if one.conditions else {})
            for one in policy.statements
        )
    )
    assert read(again) == [policy]


def _written(conditions: tuple[Condition, ...]) -> dict[str, dict[str, list[str]]]:
    return {condition.operator: {condition.key: list(condition.values)} for condition in conditions}
