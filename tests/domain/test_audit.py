"""What should have been against what is on record: every way to differ is told apart."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain.audit import BROKEN, Expected, Finding, Found, Judge, Record, Scope, Version, expect
from countwheel.domain.schedule import parse_recurring

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVERY_MINUTE = parse_recurring("* * * * *", None)
SCOPE = Scope(NOON, NOON + 10 * MINUTE, NOON + 30 * MINUTE, timedelta(seconds=1))
JOB = [Version(NOON - MINUTE, None, EVERY_MINUTE, None, first=True)]


def record(minute: float, status: str = "SUCCEEDED", **changes) -> Record:
    at = NOON + minute * MINUTE
    plain = Record(at, status, at + timedelta(milliseconds=2), None, 1, None, 0, retried=False)
    return replace(plain, **changes)


def judged(records: list[Record], versions: list[Version] = JOB, *, waiting_from=None, scope=SCOPE) -> list[Found]:
    judge = Judge(expect(versions, scope), waiting_from, scope)
    found: list[Found] = []
    for entry in records:
        found += judge.pass_over(entry.scheduled_for)
        found.append(judge.meet(entry.scheduled_for, [entry]))
    return found + list(judge.pass_over(None))


def findings(*arguments, **named) -> dict[str, int]:
    counts: dict[str, int] = {}
    for found in judged(*arguments, **named):
        counts[found.finding] = counts.get(found.finding, 0) + found.occurrences
    return counts


def test_a_whole_ledger_is_whole() -> None:
    """Ten minutes, ten runs."""
    assert findings([record(minute) for minute in range(10)]) == {Finding.RAN: 10}


def test_a_gap_is_missing_and_named() -> None:
    """The instant without a row is told."""
    (missing,) = [found for found in judged([record(m) for m in range(10) if m != 4]) if found.finding in BROKEN]
    assert (missing.scheduled_for, missing.finding) == (NOON + 4 * MINUTE, Finding.MISSING)


def test_a_dropped_range_covers_what_it_stands_for() -> None:
    """One row for three occurrences, superseded by the fourth: none of them is missing."""
    dropped = record(3, "SKIPPED", error="missed: dropped", occurrences=3, superseded_by=NOON + 6 * MINUTE)
    rows = [record(m) for m in range(3)] + [dropped] + [record(m) for m in range(6, 10)]
    assert findings(rows) == {Finding.RAN: 7, Finding.SKIPPED: 3}


def test_what_waits_is_not_missing() -> None:
    """A live run, and what comes after it in the chain."""
    assert findings([record(m) for m in range(7)], waiting_from=NOON + 7 * MINUTE) == {
        Finding.RAN: 7,
        Finding.WAITING: 3,
    }


def test_two_ends_of_one_occurrence_are_a_double() -> None:
    """However they ended."""
    judge = Judge(expect(JOB, SCOPE), None, SCOPE)
    assert judge.meet(NOON, [record(0), record(0, "FAILED")]).finding is Finding.DOUBLED


def test_what_no_schedule_names_is_unplanned() -> None:
    """A row at half past; one that was cancelled is no occurrence any more."""
    assert findings([record(0), record(0.5), *[record(m) for m in range(1, 10)]])[Finding.UNPLANNED] == 1
    assert Finding.UNPLANNED not in findings([record(0), record(0.5, "CANCELED"), *[record(m) for m in range(1, 10)]])


def test_late_is_told_from_in_time() -> None:
    """By the start of the first attempt."""
    late = record(1, started_at=NOON + MINUTE + timedelta(seconds=3))
    (found,) = [found for found in judged([record(0), late]) if found.finding is Finding.LATE]
    assert found.reason == "3.000 s late"


def test_an_edit_moves_the_expectation() -> None:
    """Every minute until 12:04:30, then at half past each: both are expected in their time, and neither outside it."""
    edited = NOON + 4.5 * MINUTE
    versions = [
        Version(NOON - MINUTE, edited, EVERY_MINUTE, None, first=True),
        Version(edited, None, parse_recurring("30 * * * * *", None), None, first=False),
    ]
    rows = [record(m) for m in range(5)] + [record(m + 0.5) for m in range(5, 10)]
    assert findings(rows, versions) == {Finding.RAN: 10}
    assert findings([*rows[:5], record(5), *rows[5:]], versions)[Finding.UNPLANNED] == 1


def test_what_was_claimed_ahead_of_an_edit_may_have_run_or_not() -> None:
    """The old instant half a second after the edit: on record or not, neither is wrong."""
    edited = NOON + 5 * MINUTE - timedelta(milliseconds=500)
    versions = [
        Version(NOON - MINUTE, edited, EVERY_MINUTE, None, first=True),
        Version(edited, None, None, None, first=False),
    ]
    assert findings([record(m) for m in range(5)], versions) == {Finding.RAN: 5}
    assert findings([record(m) for m in range(6)], versions) == {Finding.RAN: 6}


def test_a_one_off_is_expected_once() -> None:
    """At its instant; where it was moved before, only at the new one."""
    once = [Version(NOON - MINUTE, None, None, NOON + 2 * MINUTE, first=True)]
    assert findings([], once) == {Finding.MISSING: 1}
    assert findings([record(2)], once) == {Finding.RAN: 1}
    moved = [
        Version(NOON - MINUTE, NOON, None, NOON + 2 * MINUTE, first=True),
        Version(NOON, None, None, NOON + 3 * MINUTE, first=False),
    ]
    assert findings([record(3)], moved) == {Finding.RAN: 1}


@given(st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)))
def test_every_occurrence_is_counted_once(present: set[int], cancelled: set[int]) -> None:
    """Law: whatever is on record, the findings of an hour add up to its sixty occurrences."""
    scope = replace(SCOPE, end=NOON + 60 * MINUTE, now=NOON + 90 * MINUTE)
    rows = [record(m, "CANCELED" if m in cancelled else "SUCCEEDED") for m in sorted(present)]
    counts = findings(rows, scope=scope)
    assert sum(counts.values()) == 60
    assert counts.get(Finding.MISSING, 0) == 60 - len(present)


def test_each_instant_is_expected_once() -> None:
    """Versions that overlap around an edit name an instant once, as certain if either is."""
    versions = [
        Version(NOON - MINUTE, NOON + 5 * MINUTE, EVERY_MINUTE, None, first=True),
        Version(NOON + 5 * MINUTE, None, EVERY_MINUTE, None, first=False),
    ]
    expected = list(expect(versions, SCOPE))
    assert [entry.instant for entry in expected] == [NOON + m * MINUTE for m in range(10)]
    assert expected[5] == Expected(NOON + 5 * MINUTE, NOON + 5 * MINUTE, certain=True)
