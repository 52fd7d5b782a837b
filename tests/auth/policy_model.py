"""What policies mean, told a second time and plainly, from the documents themselves; and documents to draw from."""

from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import strategies as st

from countwheel.auth.conditions import Context
from countwheel.auth.policy import Question

ACTIONS = (
    *("jobs:List", "jobs:Read", "jobs:Create", "jobs:Update", "jobs:Delete", "jobs:Pause", "jobs:Resume"),
    *("runs:List", "runs:Read", "runs:Create", "runs:Cancel", "targets:Read", "targets:Put", "signing-secrets:Rotate"),
)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def document(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(**changes: Any) -> dict[str, Any]:
    """Return one that allows everything, with changes; `...` leaves an element out."""
    whole = {"Effect": "Allow", "Action": "*", "Resource": "*"} | changes
    return {name: value for name, value in whole.items() if value is not ...}


def question(action: str = "jobs:Read", resource: str = "jobs/1", source: str | None = "203.0.113.7") -> Question:
    return Question(action, resource, Context(NOON, None if source is None else ip_address(source), "cwc_one"))


@cache
def glob_matches(pattern: str, text: str) -> bool:
    """Try everything that a star may stand for."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(glob_matches(pattern[1:], text[n:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in {"?", text[0]} and glob_matches(pattern[1:], text[1:])


def allows(documents: list[dict[str, Any]], asked: Question) -> bool:
    """Say whether documents allow it: no Deny applies, and an Allow does."""
    applying = [said["Effect"] for whole in documents for said in as_list(whole["Statement"]) if _applies(said, asked)]
    return "Allow" in applying and "Deny" not in applying


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _applies(said: dict[str, Any], asked: Question) -> bool:
    if not any(glob_matches(pattern, asked.action) for pattern in as_list(said["Action"])):
        return False
    if not any(glob_matches(pattern, asked.resource) for pattern in as_list(said["Resource"])):
        return False
    return all(
        _holds(operator, key, as_list(values), asked.context, unknown=said["Effect"] == "Deny")
        for operator, keys in said.get("Condition", {}).items()
        for key, values in keys.items()
    )


def _holds(operator: str, key: str, values: list[str], context: Context, *, unknown: bool) -> bool:
    if key == "countwheel:SourceIp":
        if context.source_ip is None:
            return unknown
        packed = context.source_ip.packed
        address = ip_address(packed.removeprefix(bytes(10) + b"\xff\xff"))
        return any(address in ip_network(value) for value in values) == (operator == "IpAddress")
    if key == "countwheel:CurrentTime":
        instants = map(datetime.fromisoformat, values)
        return any(context.now > one if operator == "DateGreaterThan" else context.now < one for one in instants)
    suits = glob_matches if operator.endswith("Like") else str.__eq__
    return any(suits(value, context.principal_id) for value in values) == ("Not" not in operator)


def _one_or_more(items: list[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(items) | st.lists(st.sampled_from(items), min_size=1, max_size=3)


_KEYS = {
    "countwheel:SourceIp": (
        ["IpAddress", "NotIpAddress"],
        _one_or_more(["203.0.113.0/24", "198.51.100.7", "2001:db8::/32", "0.0.0.0/0"]),
    ),
    "countwheel:CurrentTime": (
        ["DateGreaterThan", "DateLessThan"],
        _one_or_more(["2026-11-25T11:00:00Z", "2026-11-25T12:00:00+00:00", "2026-11-25T15:00:00+02:00"]),
    ),
    "countwheel:PrincipalId": (
        ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"],
        _one_or_more(["cwc_one", "cwc_two", "cwc_*", "???_one"]),
    ),
}

CONDITIONS = st.dictionaries(
    keys=st.sampled_from([(operator, key) for key, (operators, _) in _KEYS.items() for operator in operators]),
    values=st.none(),
    min_size=1,
    max_size=3,
).flatmap(
    lambda pairs: st.fixed_dictionaries(
        {operator: st.fixed_dictionaries({key: _KEYS[key][1]}) for operator, key in pairs}
    )
)

STATEMENTS = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "Action": _one_or_more(["*", "jobs:*", "*:Delete", "runs:Cancel", "jobs:?e*", "r*:*", "signing-secrets:*"]),
        "Resource": _one_or_more(["*", "jobs/*", "jobs/1", "jobs/1/run/*", "jobs/?", "*/run/?", "targets/*"]),
    },
    optional={"Condition": CONDITIONS},
)

DOCUMENTS = st.fixed_dictionaries(
    {"Version": st.just("2012-10-17"), "Statement": STATEMENTS | st.lists(STATEMENTS, min_size=1, max_size=4)}
)

QUESTIONS = st.builds(
    Question,
    action=st.sampled_from(ACTIONS),
    resource=st.sampled_from(["jobs/*", "jobs/1", "jobs/2", "jobs/1/run/1", "jobs/2/run/12", "targets/x"]),
    context=st.builds(
        Context,
        now=st.sampled_from([NOON, NOON.replace(hour=10), NOON.replace(hour=13, minute=30)]),
        source_ip=st.sampled_from([None, "203.0.113.7", "::ffff:203.0.113.7", "198.51.100.7", "2001:db8::7"]).map(
            lambda text: None if text is None else ip_address(text)
        ),
        principal_id=st.sampled_from(["cwc_one", "cwc_two", "other"]),
    ),
)
