"""Criterion A7: conditions, their operators and keys, and what is refused when it is written."""

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_model import NOON

from countwheel.auth.conditions import (
    KEYS,
    MAX_TEXT_CHARACTERS,
    MAX_VALUES,
    OPERATORS,
    Condition,
    Context,
    read_conditions,
)
from countwheel.auth.elements import Reading

IP, TIME, WHO = "countwheel:SourceIp", "countwheel:CurrentTime", "countwheel:PrincipalId"
OPPOSITES = [(name, name.replace("Not", "")) for name, operator in OPERATORS.items() if operator.is_negated]


def context(source: str | None = "203.0.113.7", who: str = "cwc_one", late: float = 0) -> Context:
    return Context(NOON + timedelta(seconds=late), None if source is None else ip_address(source), who)


def faults_of(condition: Any) -> dict[str, str]:
    reading = Reading()
    assert read_conditions(reading, condition, "#") == () or not reading.faults
    return {fault.pointer: fault.detail for fault in reading.faults}


@pytest.mark.parametrize(
    ("operator", "key", "values", "met_by", "not_met_by"),
    [
        (
            "StringEquals",
            WHO,
            ["a", "b*"],
            [context(who="a"), context(who="b*")],
            [context(who="A"), context(who="bc")],
        ),
        ("StringNotEquals", WHO, ["a", "b"], [context(who="c")], [context(who="a"), context(who="b")]),
        ("StringLike", WHO, ["a*", "?b"], [context(who="abc"), context(who="bb")], [context(who="bab")]),
        ("StringNotLike", WHO, ["a*", "?b"], [context(who="bab")], [context(who="abc"), context(who="bb")]),
        ("IpAddress", IP, ["10.0.0.0/8", "203.0.113.7"], [context(), context("10.1.2.3")], [context("203.0.113.8")]),
        ("IpAddress", IP, ["203.0.113.0/24"], [context("::ffff:203.0.113.7")], [context("2001:db8::7")]),
        ("IpAddress", IP, ["::ffff:203.0.113.0/120"], [context(), context("::ffff:203.0.113.7")], [context("::1")]),
        ("IpAddress", IP, ["2001:db8::/32"], [context("2001:DB8::7")], [context("2001:db9::7"), context()]),
        ("IpAddress", IP, ["0.0.0.0/0"], [context()], [context("2001:db8::7")]),
        ("NotIpAddress", IP, ["203.0.113.0/24", "::/0"], [context("10.1.2.3")], [context(), context("::1")]),
        ("NotIpAddress", IP, ["203.0.113.0/24"], [context("2001:db8::7")], [context("::ffff:203.0.113.7")]),
        ("DateGreaterThan", TIME, ["2026-11-25T13:00:00+01:00"], [context(late=0.001)], [context(), context(late=-1)]),
        ("DateGreaterThan", TIME, ["2026-11-25T12:00:00Z", "2027-01-01T00:00:00Z"], [context(late=1)], [context()]),
        ("DateLessThan", TIME, ["2026-11-25T12:00:00Z"], [context(late=-0.001)], [context(), context(late=1)]),
        ("DateLessThan", TIME, ["2026-11-25T12:00:00Z", "2027-01-01T00:00:00Z"], [context(late=1)], []),
    ],
)
def test_a7_what_an_operator_means(
    operator: str, key: str, values: list[str], met_by: list[Context], not_met_by: list[Context]
) -> None:
    """A7: one value must suit, or with *not* none may; addresses are compared as what they are."""
    condition = Condition(operator, key, tuple(values))
    assert [condition.holds(one) for one in met_by + not_met_by] == [True] * len(met_by) + [False] * len(not_met_by)


@pytest.mark.parametrize("operator", ["IpAddress", "NotIpAddress"])
def test_a7_without_a_value_nothing_is_known(operator: str) -> None:
    """A7: neither the condition holds nor its opposite."""
    assert Condition(operator, IP, ("0.0.0.0/0",)).holds(context(None)) is None


@given(
    st.sampled_from(OPPOSITES),
    st.lists(st.sampled_from(["203.0.113.0/24", "10.0.0.0/8", "2001:db8::/32", "::ffff:10.0.0.0/104"]), min_size=1),
    st.ip_addresses() | st.sampled_from([ip_address("203.0.113.7"), ip_address("10.0.0.1"), ip_address("2001:db8::7")]),
)
def test_a7_not_is_the_opposite(pair: tuple[str, str], values: list[str], address: Any) -> None:
    """A7: of each operator with *not* in it, for every value."""
    key = IP if "Ip" in pair[0] else WHO
    asked = Context(NOON, address, str(address))
    assert Condition(pair[0], key, tuple(values)).holds(asked) is (
        not Condition(pair[1], key, tuple(values)).holds(asked)
    )


@pytest.mark.parametrize(
    ("condition", "pointer", "detail"),
    [
        ([], "#", "must be a JSON object"),
        ({}, "#", "names no operator"),
        ({"StringEquals": {}}, "#/StringEquals", "names no key"),
        ({"StringEquals": "x"}, "#/StringEquals", "must be a JSON object"),
        ({"Bool": {WHO: "true"}}, "#/Bool", "is no operator: give StringEquals, "),
        ({"stringEquals": {WHO: "x"}}, "#/stringEquals", "is no operator"),
        ({"StringEqualsIfExists": {WHO: "x"}}, "#/StringEqualsIfExists", "is no operator"),
        ({"ForAnyValue:StringLike": {WHO: "x"}}, "#/ForAnyValue:StringLike", "is no operator"),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, "#/IpAddress/aws:SourceIp", "is no key: give countwheel:Sou"),
        ({"IpAddress": {"a/b~": "10.0.0.0/8"}}, "#/IpAddress/a~1b~0", "is no key"),
        ({"StringLike": {IP: "10.*"}}, f"#/StringLike/{IP}", "is an address: use it with IpAddress or NotIpAddress"),
        ({"IpAddress": {WHO: "10.0.0.0/8"}}, f"#/IpAddress/{WHO}", "is a text: use it with StringEquals, "),
        ({"DateLessThan": {WHO: "x"}}, f"#/DateLessThan/{WHO}", "is a text"),
        ({"StringEquals": {TIME: "x"}}, f"#/StringEquals/{TIME}", "is a time: use it with DateGreaterThan or DateL"),
        ({"StringEquals": {WHO: []}}, f"#/StringEquals/{WHO}", "must hold from 1 to 100, and holds 0"),
        ({"StringEquals": {WHO: ["x"] * 101}}, f"#/StringEquals/{WHO}", "must hold from 1 to 100, and holds 101"),
        ({"StringEquals": {WHO: None}}, f"#/StringEquals/{WHO}", "must be a string or a list"),
        ({"StringEquals": {WHO: ["x", 5]}}, f"#/StringEquals/{WHO}/1", "must be a string"),
        ({"StringEquals": {WHO: ""}}, f"#/StringEquals/{WHO}", "must have from 1 to 512 characters"),
        ({"StringEquals": {WHO: "x" * 513}}, f"#/StringEquals/{WHO}", "must have from 1 to 512 characters"),
        ({"StringEquals": {WHO: "a\x00"}}, f"#/StringEquals/{WHO}", "that can be printed"),
        ({"StringEquals": {WHO: "\ud800"}}, f"#/StringEquals/{WHO}", "that can be printed"),
        ({"StringLike": {WHO: "${aws:username}"}}, f"#/StringLike/{WHO}", "has a variable"),
        ({"StringLike": {WHO: "*" * 9}}, f"#/StringLike/{WHO}", "has more than 8"),
        ({"IpAddress": {IP: "office"}}, f"#/IpAddress/{IP}", "is no network: give one like 203.0.113.0/24"),
        ({"IpAddress": {IP: "10.0.0.0/255.0.0.0"}}, f"#/IpAddress/{IP}", "is no network"),
        ({"IpAddress": {IP: "10.0.0.0/08"}}, f"#/IpAddress/{IP}", "is no network"),
        ({"IpAddress": {IP: "10.0.0.0/33"}}, f"#/IpAddress/{IP}", "is no network"),
        ({"IpAddress": {IP: "010.0.0.1"}}, f"#/IpAddress/{IP}", "is no network"),
        ({"IpAddress": {IP: "10.0.0.1/8"}}, f"#/IpAddress/{IP}", "has host bits set"),
        ({"IpAddress": {IP: "fe80::1%eth0"}}, f"#/IpAddress/{IP}", "is no network"),
        ({"DateLessThan": {TIME: "2027-01-01"}}, f"#/DateLessThan/{TIME}", "give RFC 3339 with an offset"),
        ({"DateLessThan": {TIME: "2027-01-01T00:00:00"}}, f"#/DateLessThan/{TIME}", "give RFC 3339 with an offset"),
        ({"DateLessThan": {TIME: "2027-02-30T00:00:00Z"}}, f"#/DateLessThan/{TIME}", "is no time"),
        ({"DateLessThan": {TIME: "1798761600"}}, f"#/DateLessThan/{TIME}", "is no time"),
    ],
)
def test_a7_what_is_not_understood_is_refused(condition: Any, pointer: str, detail: str) -> None:
    """A7: at its place, with what would be right."""
    faults = faults_of(condition)
    assert list(faults) == [pointer]
    assert detail in faults[pointer]


def test_a7_every_operator_refuses_every_key_of_another_kind() -> None:
    """A7: and takes each of its own."""
    good = {"a text": "x", "an address": "10.0.0.1", "a time": "2027-01-01T00:00:00Z"}
    for operator in OPERATORS:
        for key in KEYS:
            is_its_own = OPERATORS[operator].kind == KEYS[key].kind
            assert (not faults_of({operator: {key: good[KEYS[key].kind]}})) == is_its_own


def test_a7_all_faults_of_a_condition_are_told_at_once() -> None:
    """A7: each where it is."""
    said = {"IpAddress": {IP: ["10.0.0.0/8", "x", "y"]}, "Null": {}, "StringLike": {"k": 1, TIME: "x"}}
    assert set(faults_of(said)) == {
        f"#/IpAddress/{IP}/1",
        f"#/IpAddress/{IP}/2",
        "#/Null",
        "#/StringLike/k",
        f"#/StringLike/{TIME}",
    }


def test_a7_as_much_as_the_limits_allow_is_taken() -> None:
    """A7: values, and characters of one."""
    assert not faults_of({"StringEquals": {WHO: ["x" * MAX_TEXT_CHARACTERS] * MAX_VALUES}})
