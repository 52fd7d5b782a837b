"""Criterion A7: what is not understood is refused when it is written, with every fault at its place."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from policy_model import ACTIONS, DOCUMENTS, document, statement

from countwheel.auth.policy_document import MAX_ACTIONS, MAX_DOCUMENT_BYTES, MAX_RESOURCES, MAX_STATEMENTS, read_policy
from countwheel.domain.errors import InvalidError


def faults_of(whole: Any) -> dict[str, str]:
    try:
        read_policy("p", whole, ACTIONS)
    except InvalidError as error:
        assert len({fault.pointer for fault in error.faults}) == len(error.faults)
        return {fault.pointer: fault.detail for fault in error.faults}
    return {}


@pytest.mark.parametrize(
    ("whole", "pointer", "detail"),
    [
        ([], "#", "must be a JSON object"),
        (None, "#", "must be a JSON object"),
        ("{}", "#", "must be a JSON object"),
        ({1, 2}, "#", "must be a JSON object"),
        ({"Statement": statement()}, "#/Version", "is required"),
        ({"Version": "2012-10-17"}, "#/Statement", "is required"),
        ({"Version": "2008-10-17", "Statement": statement()}, "#/Version", 'must be "2012-10-17"'),
        ({"Version": 20121017, "Statement": statement()}, "#/Version", 'must be "2012-10-17"'),
        ({"Version": None, "Statement": statement()}, "#/Version", 'must be "2012-10-17"'),
        (document() | {"Statement": "x"}, "#/Statement", "must be an object or a list of them"),
        (document(), "#/Statement", "must hold from 1 to 100, and holds 0"),
        (document("x"), "#/Statement/0", "must be a JSON object"),
        (document(statement(), [statement()]), "#/Statement/1", "must be a JSON object"),
        (document(statement()) | {"Id": "x"}, "#/Id", "is not supported: a policy is called by its name"),
        (document(statement()) | {"statement": []}, "#/statement", "is not supported: give Version or Statement"),
        (document(statement()) | {"a/b~c": 1}, "#/a~1b~0c", "is not supported"),
        (document(statement()) | {"x" * 100: 1}, "#/" + "x" * 64, "is not supported"),
    ],
)
def test_a7_a_document_has_its_shape(whole: Any, pointer: str, detail: str) -> None:
    """A7: its two elements, and no others."""
    faults = faults_of(whole)
    assert list(faults) == [pointer]
    assert detail in faults[pointer]


@pytest.mark.parametrize(
    ("changes", "place", "detail"),
    [
        ({"Effect": ...}, "Effect", "is required"),
        ({"Action": ...}, "Action", "is required"),
        ({"Resource": ...}, "Resource", "is required"),
        ({"Effect": "allow"}, "Effect", "must be Allow or Deny"),
        ({"Effect": ["Allow"]}, "Effect", "must be Allow or Deny"),
        ({"Effect": None}, "Effect", "must be Allow or Deny"),
        ({"NotAction": "jobs:Read"}, "NotAction", "is not supported: name the actions in Action"),
        ({"NotResource": "jobs/1"}, "NotResource", "is not supported: name the resources in Resource"),
        ({"Principal": "*"}, "Principal", "is not supported: a policy is attached to its principals"),
        ({"NotPrincipal": "*"}, "NotPrincipal", "is not supported: a policy is attached"),
        ({"condition": {}}, "condition", "is not supported: give Sid, Effect, Action, Resource or Condition, spelt so"),
        ({"Sid": ""}, "Sid", "must be a string of 1 to 64"),
        ({"Sid": "a b"}, "Sid", "must be a string of 1 to 64"),
        ({"Sid": "a\n"}, "Sid", "must be a string of 1 to 64"),
        ({"Sid": "x" * 65}, "Sid", "must be a string of 1 to 64"),
        ({"Sid": None}, "Sid", "must be a string of 1 to 64"),
        ({"Action": 1}, "Action", "must be a string or a list of them"),
        ({"Action": []}, "Action", "must hold from 1 to 100, and holds 0"),
        ({"Action": ["*", None]}, "Action/1", "must be a string"),
        ({"Action": ""}, "Action", "is no action: give * or"),
        ({"Action": "jobs*"}, "Action", "is no action"),
        ({"Action": "jobs:Read\n"}, "Action", "is no action"),
        ({"Action": "jobs:Fly"}, "Action", "matches no action"),
        ({"Action": ["jobs:*", "job:*"]}, "Action/1", "matches no action"),
        ({"Action": "jobs:create"}, "Action", "matches no action: case counts, as in jobs:Create"),
        ({"Action": "JOBS:*"}, "Action", "case counts, as in jobs:List"),
        ({"Action": "jobs:" + "?" * 600}, "Action", "is longer than 512 characters"),
        ({"Action": "jobs:" + "*" * 9}, "Action", "has more than 8 *"),
        ({"Resource": {}}, "Resource", "must be a string or a list of them"),
        ({"Resource": []}, "Resource", "must hold from 1 to 100, and holds 0"),
        ({"Resource": ["*", 7]}, "Resource/1", "must be a string"),
        ({"Resource": ""}, "Resource", "is no resource"),
        ({"Resource": "jobs/{id}"}, "Resource", "is no resource: give * or a path"),
        ({"Resource": "jobs/${aws:username}"}, "Resource", "is no resource"),
        ({"Resource": "jobs/1 "}, "Resource", "is no resource"),
        ({"Resource": "jobs/1\n"}, "Resource", "is no resource"),
        ({"Resource": "jobs/é"}, "Resource", "is no resource"),
        ({"Resource": "job/*"}, "Resource", "matches no resource: it must begin with jobs, runs, signing-secrets or t"),
        ({"Resource": "jobs"}, "Resource", "matches no resource"),
        ({"Resource": "/v1/jobs/*"}, "Resource", "matches no resource"),
        ({"Resource": "Jobs/*"}, "Resource", "matches no resource"),
        ({"Resource": "arn:aws:s3:::bucket/*"}, "Resource", "matches no resource"),
        ({"Resource": "jobs/" + "x" * 600}, "Resource", "is longer than 512 characters"),
        ({"Resource": "jobs/" + "*" * 9}, "Resource", "has more than 8 *"),
        ({"Condition": {}}, "Condition", "names no operator"),
        ({"Condition": {"Null": {}}}, "Condition/Null", "is no operator"),
    ],
)
def test_a7_a_statement_says_what_is_understood(changes: Any, place: str, detail: str) -> None:
    """A7: anything else is refused, at its place, in a list of statements and for one alone."""
    for whole, start in (
        (document(statement(), statement(**changes)), "#/Statement/1"),
        ({"Version": "2012-10-17", "Statement": statement(**changes)}, "#/Statement"),
    ):
        faults = faults_of(whole)
        assert list(faults) == [f"{start}/{place}"]
        assert detail in faults[f"{start}/{place}"]


@pytest.mark.parametrize(
    "changes",
    [
        {"Action": ["*", "*:*", "jobs:*", "jobs:Re?d", "*:Delete", "signing-secrets:Rotate"]},
        {"Resource": ["*", "jobs/*", "jobs/1/run/*", "j*", "?obs/1", "*/run/*", "targets/[2001:db8::1]:8080"]},
        {"Sid": "Some.thing_9-x"},
    ],
)
def test_a7_what_is_understood_is_accepted(changes: Any) -> None:
    """A7: with every spelling of it."""
    assert faults_of(document(statement(**changes))) == {}


def test_a7_a_sid_is_of_one_statement() -> None:
    """A7: the second of the same name is the fault."""
    whole = document(statement(Sid="a"), statement(Sid="b"), statement(Sid="a"))
    assert faults_of(whole) == {"#/Statement/2/Sid": "is given twice: a Sid is of one statement"}


def test_a7_all_faults_are_told_at_once() -> None:
    """A7, E2: whatever is wrong beside them."""
    whole = {
        "Version": "1",
        "Other": 1,
        "Statement": [
            {"Effect": "Maybe", "Action": ["jobs:Fly", "jobs:Read", 5], "Principal": "*"},
            7,
            statement(Condition={"IpAddress": {"countwheel:SourceIp": ["x", "10.0.0.0/8", "y"]}}, Sid=" "),
        ],
    }
    assert set(faults_of(whole)) == {
        "#/Version",
        "#/Other",
        "#/Statement/0/Effect",
        "#/Statement/0/Action/0",
        "#/Statement/0/Action/2",
        "#/Statement/0/Resource",
        "#/Statement/0/Principal",
        "#/Statement/1",
        "#/Statement/2/Sid",
        "#/Statement/2/Condition/IpAddress/countwheel:SourceIp/0",
        "#/Statement/2/Condition/IpAddress/countwheel:SourceIp/2",
    }


def _objects(value: Any, pointer: str = "#") -> list[tuple[str, dict[str, Any]]]:
    found = [(pointer, value)] if isinstance(value, dict) else []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [one for name, member in members for one in _objects(member, f"{pointer}/{name}")]


@given(DOCUMENTS, st.text(st.characters(codec="utf-8", exclude_characters="/~"), max_size=60), st.data())
def test_a7_an_unknown_element_is_refused_at_any_place(whole: dict[str, Any], name: str, data: Any) -> None:
    """A7: in the document, in a statement, among operators and among keys, and whatever its name and value are."""
    whole = json.loads(json.dumps(whole))
    pointer, place = data.draw(st.sampled_from(_objects(whole)))
    known = "Version Statement Sid Effect Action Resource Condition"
    assume(name not in known.split() and name not in place)
    place[name] = data.draw(st.none() | st.just({}) | st.just("*") | st.just(["*"]))
    assert list(faults_of(whole)) == [f"{pointer}/{name}"]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: (
    st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["Version", "Statement", "Effect", "Action", "Condition", "StringLike"]), inner)
)))  # fmt: skip
def test_a7_whatever_is_read_is_refused_by_its_faults(whole: Any) -> None:
    """A7: no JSON raises anything but the error that says what is wrong."""
    assert faults_of(whole)


def test_a7_a_document_has_limits() -> None:
    """A7: as much as they allow is taken, and one more is refused."""
    some = statement(Action="jobs:Read", Resource="jobs/1")
    assert not faults_of(document(*[some] * MAX_STATEMENTS))
    assert list(faults_of(document(*[some] * (MAX_STATEMENTS + 1)))) == ["#/Statement"]
    for name, most in (("Action", MAX_ACTIONS), ("Resource", MAX_RESOURCES)):
        assert not faults_of(document(statement(**{name: ["*"] * most})))
        assert list(faults_of(document(statement(**{name: ["*"] * (most + 1)})))) == [f"#/Statement/0/{name}"]


def test_a7_a_document_is_no_larger_than_16_kib() -> None:
    """A7: as JSON without spaces, in bytes of UTF-8."""

    def with_text(text: str) -> dict[str, Any]:
        values = ["x" * 500] * 32 + [text]
        return document(statement(Condition={"StringEquals": {"countwheel:PrincipalId": values}}))

    room = MAX_DOCUMENT_BYTES - len(json.dumps(with_text(""), separators=(",", ":")))
    for text in ("x" * room, "x" * (room - 2) + "é"):
        assert not faults_of(with_text(text))
        assert list(faults_of(with_text(text + "x"))) == ["#"]
