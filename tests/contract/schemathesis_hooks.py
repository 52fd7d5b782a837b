"""What schemathesis must know to generate valid requests: the contract's own formats.

A JSON Schema pattern cannot say what each of these formats says; see the notes at CRON_PATTERN and INSTANT_PATTERN.
"""

from uuid import uuid4

import schemathesis
from hypothesis import strategies as st

from countwheel.clock import SystemClock
from countwheel.domain.cron import CRON_PATTERN, CronError, normalize
from countwheel.domain.schedule import ScheduleError
from countwheel.domain.target import TARGET_PATTERN
from countwheel.domain.timestamp import INSTANT_PATTERN, LOCAL_TIME_PATTERN, parse_oneoff


def _fires(expression: str) -> bool:
    """Not a range that runs backwards, and not a day that never comes."""
    try:
        normalize(expression)
    except CronError:
        return False
    return True


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


schemathesis.openapi.format("cron", st.from_regex(CRON_PATTERN, fullmatch=True).filter(_fires))
schemathesis.openapi.format("instant", st.from_regex(INSTANT_PATTERN, fullmatch=True).filter(_exists))
schemathesis.openapi.format("future-instant", st.from_regex(INSTANT_PATTERN, fullmatch=True).filter(_is_to_come))
schemathesis.openapi.format("future-local-time", st.from_regex(LOCAL_TIME_PATTERN, fullmatch=True).filter(_is_to_come))
# Development lets public addresses, names and loopback through, and no other: names only, so that a run here has the
# same verdict everywhere.
schemathesis.openapi.format(
    "target", st.from_regex(TARGET_PATTERN, fullmatch=True).filter(lambda url: url.lower().startswith("https://w"))
)


@schemathesis.hook
def before_call(context, case, kwargs) -> None:
    """Give each create a key of its own: the generator repeats keys with other bodies, which is 422 by design, and no
    schema can say that a key is new. Ask for tokens without a bearer token, as clients do.
    """
    del context, kwargs
    if case.operation.label == "POST /v1/jobs" and case.meta.generation.mode.is_positive:
        if "Idempotency-Key" in (case.headers or {}):
            case.headers["Idempotency-Key"] = str(uuid4())
    elif case.operation.label == "POST /oauth/token" and case.headers:
        case.headers.pop("Authorization", None)
