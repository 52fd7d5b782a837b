"""What `benchmarks.reads` asks for."""

from uuid import UUID

from benchmarks.history import SMALL
from benchmarks.kinds import Sample, kinds

NOTHING = Sample([], [], [], [], None)
RUN = [str(UUID(int=1)), str(UUID(int=2)), "2026-01-31T12:00:00Z"]


def test_every_kind_has_a_page_whatever_the_samples_lack() -> None:
    """At a small scale a tenant has no job with a name, and nothing that could be asked for by it."""
    some = Sample([UUID(int=1)], ["a name"], [RUN], [RUN], UUID(int=1))
    many, few = (list(kinds({"default": sample, SMALL: NOTHING})) for sample in (some, NOTHING))
    assert all(kind.paths for kind in (*many, *few))
    left_out = {kind.name for kind in many} - {kind.name for kind in few}
    assert {"jobs name", "runs of one job", "failures of ten days", "runs of a busy job"} <= left_out
    assert {"small tenant: jobs", "jobs"} <= {kind.name for kind in few}
