"""Page tokens that somebody has made: what follows the fingerprint, which anybody can compute, may be anything."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from countwheel.api import redrive, run_listing, versions
from countwheel.api.paging import Page, read_page
from countwheel.api.problems import Problem
from countwheel.domain import ids
from harness import Node

NOW = datetime(2027, 1, 1, tzinfo=UTC)
SLOWEST = timedelta(seconds=10)
MANY = 1_000_000_000
"""More dead letters than any redrive meets."""

NUMBERS = st.one_of(st.integers(), st.integers(10**9, 10**40), st.integers(-(10**40), 10**40)).map(str)
UUIDS = st.one_of(st.uuids().map(str), st.uuids().map(lambda value: value.hex), st.just("0"))
LAST = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=255),
    NUMBERS,
    UUIDS,
    st.lists(st.one_of(NUMBERS, UUIDS), min_size=1, max_size=5).map("_".join),
    st.tuples(NUMBERS, UUIDS).map("_".join),
    st.tuples(NUMBERS, NUMBERS, NUMBERS, UUIDS).map("_".join),
)
END_OF_TIME = ids.microseconds_of(datetime.max.replace(tzinfo=UTC))
BEGINNING_OF_TIME = ids.microseconds_of(datetime.min.replace(tzinfo=UTC))


def _audited(page: Page) -> None:
    if (number := page.number(ids.milliseconds_of(NOW))) is not None:
        assert ids.instant_of(number) <= NOW


def _versions(page: Page) -> None:
    assert (page.number(versions._GREATEST) or 0) < 2**31


def _redriven(page: Page) -> None:
    progress = redrive._resumed(page, NOW)
    assert progress.next_due + SLOWEST * MANY > NOW


KINDS = (attrgetter("before"), _audited, _versions, run_listing._before, _redriven)


@pytest.mark.parametrize("read", KINDS, ids=["before", "audit", "versions", "runs", "redrive"])
@given(last=LAST)
@example(last="9" * 40)
@example(last="9" * 255)
@example(last=str(2**31))
@example(last=str(END_OF_TIME // 1000))
@example(last=f"{END_OF_TIME}_{UUID(int=0)}")
@example(last=f"{BEGINNING_OF_TIME}_{UUID(int=0)}")
@example(last="_".join([*[str(END_OF_TIME)] * 3, str(UUID(int=0))]))
def test_a_token_is_read_or_is_none_of_ours(read: Callable[[Page], object], last: str) -> None:
    """E6: whatever follows the fingerprint is a place to go on at, within what can be counted on from, or a 400."""
    token = read_page(None, None, {}).token_after(last)
    try:
        read(read_page(None, token, {}))
    except Problem as problem:
        assert problem.status == 400


@given(token=st.one_of(st.text(max_size=300), st.binary(max_size=200).map(lambda raw: raw.decode("latin-1"))))
def test_garbage_is_no_token(token: str) -> None:
    """E6: what has no fingerprint is refused before anybody reads what follows; nothing at all is the first page."""
    try:
        assert read_page(None, token, {}).last is None
    except Problem as problem:
        assert problem.status == 400


NINES = "9" * 40


@pytest.mark.parametrize(
    ("part", "last"),
    [
        ("audit", NINES),
        ("audit", str(END_OF_TIME // 1000)),
        ("audit", "x"),
        ("versions", NINES),
        ("versions", str(2**31)),
        ("versions", "x"),
    ],
)
async def test_e6_a_made_up_token_of_a_job_is_refused(node: Node, part: str, last: str) -> None:
    """400 with the parameter's name, never 500, for numbers that no page of an audit or of versions ends with."""
    job = await node.api.create(schedule_recurring="* * * * *", job_url="http://127.0.0.1:9/")
    path = f"/v1/jobs/{job['job_id']}/{part}"
    token = read_page(None, None, {"path": [path]}).token_after(last)
    answer = await node.api.call("GET", f"{path}?page_token={token}")
    assert (answer.status, answer.json.get("detail", "")[:24]) == (400, "page_token: not a token ")


async def test_e6_a_made_up_token_of_the_runs_leads_to_a_page(node: Node) -> None:
    """Both ends of time are places to go on at."""
    await node.api.create(schedule_recurring="@daily", job_url="http://127.0.0.1:9/")
    for moment, count in ((END_OF_TIME, 1), (BEGINNING_OF_TIME, 0)):
        token = read_page(None, None, {"path": ["/v1/runs"]}).token_after(f"{moment}_{uuid4()}")
        answer = await node.api.call("GET", f"/v1/runs?page_token={token}")
        assert (answer.status, len(answer.json["items"])) == (200, count)
