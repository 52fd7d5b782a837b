"""What schemathesis must know to generate valid requests: the contract's own formats.

A JSON Schema pattern cannot say what each of these formats says; see the notes at RECURRING_PATTERN and
INSTANT_PATTERN.
"""

import json
import re
from uuid import uuid4

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from countwheel.auth.actions import ACTIONS
from countwheel.auth.policy_document import MAX_DOCUMENT_BYTES
from countwheel.clock import SystemClock
from countwheel.domain.calling import URL_FIELDS
from countwheel.domain.cron import NICKNAMES, NO_JOB, CronError
from countwheel.domain.cron.fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, Field, parse_values
from countwheel.domain.errors import ScheduleError
from countwheel.domain.interval import EVERY_PATTERN
from countwheel.domain.schedule import parse_recurring
from countwheel.domain.target import TARGET_PATTERN
from countwheel.domain.timestamp import INSTANT_PATTERN, LOCAL_TIME_PATTERN, parse_oneoff
from countwheel.domain.zones import zones

TARGET = re.compile(TARGET_PATTERN, re.ASCII)


def _fires(expression: str) -> bool:
    """Not a range that runs backwards, not a day that never comes, and not only years that are past."""
    try:
        return parse_recurring(expression, None).next_after(SystemClock().now()) is not None
    except ScheduleError:
        return False


def _exists(text: str) -> bool:
    """Not the 31st of a month with 30 days, and a leap second only where one can be."""
    try:
        parse_oneoff(text, None if text[-1] in "zZ" or text[-6] in "+-" else "UTC")
    except ScheduleError:
        return False
    return True


def _is_to_come(text: str) -> bool:
    """An instant in the past is refused, and only the clock knows which is."""
    return _exists(text) and int(text[:4]) > SystemClock().now().year


def _field(field: Field) -> st.SearchStrategy[str]:
    """Field by field: a generator that throws most of its work away is stopped."""
    return st.from_regex(field.pattern, fullmatch=True).filter(lambda text: _runs_forward(field, text))


def _runs_forward(field: Field, text: str) -> bool:
    try:
        return parse_values(field, text, NO_JOB) >= 0
    except CronError:
        return False


def _some(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A hundred of them, found once. Schemathesis looks for values of each format by the thousand, and in vain where
    it wants one that is too long: four fifths of its time were spent on making them from patterns.
    """
    found: set[str] = set()

    @settings(
        max_examples=100,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def find(text: str) -> None:
        found.add(text)

    find()
    return st.sampled_from(sorted(found))


_FIVE = st.tuples(*map(_field, (MINUTE, HOUR, DAY, MONTH, WEEKDAY))).map(" ".join)
_CRON = st.one_of(
    _FIVE,
    st.tuples(_field(SECOND), _FIVE).map(" ".join),
    st.tuples(_field(SECOND), _FIVE, st.sampled_from(["*", "2150-2190"])).map(" ".join),
)
_EVERY = st.from_regex(EVERY_PATTERN, fullmatch=True)
schemathesis.openapi.format("cron", _some(st.one_of(st.sampled_from(sorted(NICKNAMES)), _CRON, _EVERY).filter(_fires)))
schemathesis.openapi.format(
    "cron-in-zone",
    st.builds("{}TZ={} {}".format, st.sampled_from(["", "CRON_"]), st.sampled_from(sorted(zones())), st.just("@daily")),
)
schemathesis.openapi.format("excluded-time", _some(_FIVE))
schemathesis.openapi.format("start", st.sampled_from(["1970-01-01T00:00:00Z", "2026-02-28t23:59:59.999+23:59"]))
schemathesis.openapi.format("end", st.just("2199-12-31T00:00:00Z"))
schemathesis.openapi.format("backfill-end", st.just("2026-03-01T00:00:00Z"))
schemathesis.openapi.format("instant", _some(st.from_regex(INSTANT_PATTERN, fullmatch=True).filter(_exists)))
schemathesis.openapi.format("future-instant", _some(st.from_regex(INSTANT_PATTERN, fullmatch=True).filter(_is_to_come)))
schemathesis.openapi.format(
    "future-local-time", _some(st.from_regex(LOCAL_TIME_PATTERN, fullmatch=True).filter(_is_to_come))
)
# Development lets public addresses, names and loopback through, and no other: names only, so that a run here has the
# same verdict everywhere.
_URLS = st.from_regex(TARGET_PATTERN, fullmatch=True).map(lambda url: re.sub("(?i)^(http)s?://.", r"\1s://w", url))
schemathesis.openapi.format("target", _some(_URLS.filter(TARGET.fullmatch)))

# What a policy names must be there: a pattern that matches nothing is refused when it is written.
schemathesis.openapi.format("action-pattern", st.sampled_from([*sorted(ACTIONS), "*", "jobs:*", "runs:?ead"]))
schemathesis.openapi.format("resource-pattern", st.sampled_from(["*", "jobs/*", "jobs/?", "calendars/x"]))
schemathesis.openapi.format("principal-name", st.sampled_from(["clients/*", "principals/x"]))
schemathesis.openapi.format("network", st.sampled_from(["10.0.0.0/8", "203.0.113.7", "2001:db8::/32"]))
schemathesis.openapi.format("ip-address", st.sampled_from(["10.0.0.1", "2001:db8::1"]))

_KEYED = {"POST /v1/jobs", "POST /v1/jobs/{jobId}/run/", "POST /v1/jobs/{jobId}/backfill", "POST /v1/jobs:run"}


def _leave_out_what_must_exist(body) -> None:
    """Which calendars and secrets there are and which tokens were given out, no schema can say: others are refused."""
    if not isinstance(body, dict):
        return
    body.pop("page_token", None)
    exclude = body.get("exclude")
    if isinstance(exclude, dict) and exclude.pop("calendars", None) is not None:
        exclude.setdefault("weekdays", ["SUN"])
    if isinstance(body.get("headers"), dict):
        body["headers"] = {name.lower(): "x" for name in body["headers"]}  # in lower case none is given twice
    authorization = body.get("authorization")
    if isinstance(authorization, dict) and "secret" in authorization:
        body["authorization"] = {"type": "oidc", "audience": "https://target.example"}


def _keep_it_short(body) -> None:
    """How many bytes a policy has as JSON no schema can say."""
    document = body.get("document") if isinstance(body, dict) else None
    documents = body.get("policies", []) if isinstance(body, dict) else []
    for policy in [document, *(documents if isinstance(documents, list) else [])]:
        if isinstance(policy, dict) and len(json.dumps(policy)) > MAX_DOCUMENT_BYTES // 2:
            policy["Statement"] = {"Effect": "Deny", "Action": "*", "Resource": "*"}


def _put_in_order(body) -> None:
    """Of two lengths of time the one must not be longer than the other, which no schema can say either."""
    for group, shorter, longer in (
        ("retry", "first_delay_seconds", "max_delay_seconds"),
        ("callback", "heartbeat_seconds", "deadline_seconds"),
    ):
        said = body.get(group) if isinstance(body, dict) else None
        if isinstance(said, dict) and shorter in said and longer in said and said[shorter] > said[longer]:
            del said[shorter]


def _call_names_only(body) -> None:
    """Where an address leads is the deployment's to allow: what is built from the pattern alone may be one (`http://0`)."""
    for name in ("job_url", *URL_FIELDS):
        url = body.get(name) if isinstance(body, dict) else None
        if isinstance(url, str) and TARGET.fullmatch(url) and not url.lower().startswith(("https://w", "https://e")):
            body[name] = "https://w.example"


@schemathesis.hook
def before_call(context, case, kwargs) -> None:
    """Give each create a key of its own: the generator repeats keys with other bodies, which is 422 by design, and no
    schema can say that a key is new. Ask for tokens without a bearer token, as clients do.
    """
    del context, kwargs
    if case.meta.generation.mode.is_positive:
        _leave_out_what_must_exist(case.body)
        _put_in_order(case.body)
        _keep_it_short(case.body)
        _call_names_only(case.body)
    if case.operation.label in _KEYED and case.meta.generation.mode.is_positive:
        if "Idempotency-Key" in (case.headers or {}):
            case.headers["Idempotency-Key"] = str(uuid4())
    elif case.operation.label == "POST /oauth/token" and case.headers:
        case.headers.pop("Authorization", None)
