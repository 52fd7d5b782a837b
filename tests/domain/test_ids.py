"""A run's id is its occurrence."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from countwheel.domain import ids
from countwheel.domain.run import Trigger

instants = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31)).map(
    lambda moment: moment.replace(tzinfo=UTC, microsecond=moment.microsecond // 1000 * 1000)
)
JOB = UUID("0193a1b2-0000-7000-8000-000000000001")


def test_the_id_is_fixed_for_ever() -> None:
    """Pinned: a release that computes another id would run every armed occurrence twice."""
    run = ids.run_id(JOB, datetime(2027, 1, 1, 8, tzinfo=UTC), Trigger.SCHEDULE)
    assert run == UUID("01a2d043-4800-85f5-a8b9-e01947c91b19")


@given(st.uuids(), instants)
def test_the_id_tells_its_instant(job: UUID, instant: datetime) -> None:
    """RFC 9562 version 8; the leading 48 bits are the milliseconds, exactly."""
    run = ids.run_id(job, instant, Trigger.SCHEDULE)
    assert (run.version, run.variant) == (8, "specified in RFC 4122")
    assert ids.time_of(run) == instant
    assert 0 <= ids.bucket_of(run) < ids.BUCKETS


@given(st.uuids(), instants, st.timedeltas(timedelta(milliseconds=1), timedelta(days=10_000)))
def test_ids_sort_by_time(job: UUID, instant: datetime, later: timedelta) -> None:
    """A later occurrence has a greater id, whatever the jobs are."""
    later = timedelta(milliseconds=later // timedelta(milliseconds=1))
    assert ids.run_id(job, instant, Trigger.SCHEDULE) < ids.run_id(JOB, instant + later, Trigger.SCHEDULE)


@given(st.uuids(), st.uuids(), instants)
def test_jobs_do_not_share_ids(one: UUID, other: UUID, instant: datetime) -> None:
    """The same instant of two jobs is two runs."""
    same = ids.run_id(one, instant, Trigger.SCHEDULE) == ids.run_id(other, instant, Trigger.SCHEDULE)
    assert same == (one == other)


@given(st.uuids())
def test_an_id_that_is_not_ours_names_an_instant_or_none(run: UUID) -> None:
    """Any UUID can be asked; beyond the year 9999 there is no instant."""
    instant = ids.time_of(run)
    assert instant is None or instant >= datetime(1970, 1, 1, tzinfo=UTC)


def test_buckets_are_evenly_filled() -> None:
    """Minutes of one job spread over all parts of the due index."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    runs = [ids.run_id(JOB, start + timedelta(minutes=minute), Trigger.SCHEDULE) for minute in range(8_000)]
    counts = [sum(ids.bucket_of(run) == bucket for run in runs) for bucket in range(ids.BUCKETS)]
    assert min(counts) > 850
