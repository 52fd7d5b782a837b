"""The kinds of pages that `benchmarks.reads` asks for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from benchmarks.history import SMALL
from countwheel.api.paging import read_page
from countwheel.domain import ids
from countwheel.domain.timestamp import format_instant

_MOST = 200
"""Different pages of a kind."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of a tenant, from anywhere. `ended` and `live` are job id, run id and the moment that a run is listed by."""

    jobs: list[UUID]
    names: list[str]
    ended: list[list[str]]
    live: list[list[str]]
    busy: UUID | None
    """A job with a hundredth of all runs."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Pages of one kind: whose, and where they are."""

    name: str
    tenant: str
    paths: list[str]


def kinds(samples: dict[str, Sample]) -> Iterator[Kind]:
    """Yield every kind: listings, each filter alone and some together, first pages and deep ones.

    One that asks for what the samples have (a small tenant may have no job with a name) is left out where they do not.
    """
    yield from (kind for kind in _all_kinds(samples) if kind.paths)


def _all_kinds(samples: dict[str, Sample]) -> Iterator[Kind]:
    default = samples["default"]
    for tenant, prefix in (("default", ""), (SMALL, "small tenant: ")):
        yield from _of_jobs(samples[tenant], tenant, prefix)
        yield from _of_runs(samples[tenant], tenant, prefix)
    yield from _of_one_job(default)
    yield from _of_failures(default)


def _of_jobs(sample: Sample, tenant: str, prefix: str) -> Iterator[Kind]:
    lasts = [str(job_id) for job_id in sample.jobs[:_MOST]]
    narrowed: dict[str, list[tuple[str, str]]] = {
        "": [],
        "status=ACTIVE": [("status", "ACTIVE")],
        "status=PAUSED": [("status", "PAUSED")],
        "status=COMPLETED": [("status", "COMPLETED")],
        "status=DELETED": [("status", "DELETED")],
        "show_deleted": [("show_deleted", "true")],
        "target": [("target", "host-123.example.com")],
        "target (none)": [("target", "nobody.example.com")],
        "label (2.5 %)": [("label", "team:team-3")],
        "label (0.2 %)": [("label", "rare:yes")],
        "label (none)": [("label", "no:such")],
        "q (common)": [("q", "host-12")],
        "q (rare)": [("q", "hooks/77777")],
        "q (none)": [("q", "no such text")],
        "status and target": [("status", "PAUSED"), ("target", "host-123.example.com")],
        "name (none)": [("name", "no such name")],
    }
    for what, query in narrowed.items():
        yield Kind(f"{prefix}jobs {what}".rstrip(), tenant, [_page("/v1/jobs", query)])
        yield Kind(f"{prefix}jobs {what}".rstrip() + ", deep", tenant, _deep("/v1/jobs", query, lasts))
    yield Kind(f"{prefix}jobs name", tenant, [_page("/v1/jobs", [("name", name)]) for name in sample.names[:_MOST]])
    windows = [ids.time_of(job_id) for job_id in sample.jobs[:_MOST]]
    yield Kind(
        f"{prefix}jobs created within an hour", tenant,
        [_page("/v1/jobs", _window("created", moment)) for moment in windows if moment is not None],
    )  # fmt: skip
    yield Kind(f"{prefix}job", tenant, [f"/v1/jobs/{job_id}" for job_id in sample.jobs[:_MOST]])


def _of_runs(sample: Sample, tenant: str, prefix: str) -> Iterator[Kind]:
    ended = _places(sample.ended)
    anywhere = sample.ended[:: max(len(sample.ended) // _MOST, 1)]
    narrowed: dict[str, list[tuple[str, str]]] = {
        "": [],
        "status=SUCCEEDED": [("status", "SUCCEEDED")],
        "status=FAILED": [("status", "FAILED")],
        "dead letters": [("status", "FAILED"), ("status", "UNKNOWN")],
        "all but SUCCEEDED": [("status", name) for name in ("FAILED", "UNKNOWN", "SKIPPED", "EXPIRED", "CANCELED")],
        "show_deleted": [("show_deleted", "true")],
        "target": [("target", "host-123.example.com")],
        "target, FAILED": [("target", "host-123.example.com"), ("status", "FAILED")],
        "trigger (all)": [("trigger", "schedule")],
        "trigger (none)": [("trigger", "manual")],
        "trigger (none), FAILED": [("trigger", "manual"), ("status", "FAILED")],
        "label (2.5 %)": [("label", "team:team-3")],
        "label (none)": [("label", "no:such")],
        "label (none), FAILED": [("label", "no:such"), ("status", "FAILED")],
        "fingerprint": [("fingerprint", _FINGERPRINT)],
        "fingerprint (none)": [("fingerprint", "0" * 16)],
        "error_class": [("error_class", "http_5xx")],
        "error_class (none)": [("error_class", "tls")],
        "error_class (none), FAILED": [("error_class", "tls"), ("status", "FAILED")],
    }
    for what, query in narrowed.items():
        yield Kind(f"{prefix}runs {what}".rstrip(), tenant, [_page("/v1/runs", query)])
        yield Kind(f"{prefix}runs {what}".rstrip() + ", deep", tenant, _deep("/v1/runs", query, ended))
    yield Kind(f"{prefix}runs of a job", tenant, [_page("/v1/runs", [("job_id", job_id)]) for job_id, _, _ in anywhere])
    succeeded = [[("job_id", job_id), ("status", "SUCCEEDED")] for job_id, _, _ in anywhere]
    yield Kind(f"{prefix}runs of a job, SUCCEEDED", tenant, [_page("/v1/runs", query) for query in succeeded])
    failed = [[("job_id", job_id), ("status", "FAILED")] for job_id, _, _ in anywhere]
    yield Kind(f"{prefix}runs of a job, FAILED", tenant, [_page("/v1/runs", query) for query in failed])
    yield Kind(
        f"{prefix}runs finished within an hour", tenant,
        [_page("/v1/runs", _window("finished", datetime.fromisoformat(moment))) for _, _, moment in anywhere],
    )  # fmt: skip
    live: dict[str, list[tuple[str, str]]] = {
        "SCHEDULED": [("status", "SCHEDULED")],
        "RETRYING": [("status", "RETRYING")],
        "live, target": [("status", "SCHEDULED"), ("target", "host-123.example.com")],
        "live, label (none)": [("status", "SCHEDULED"), ("label", "no:such")],
    }
    for what, query in live.items():
        yield Kind(f"{prefix}runs {what}", tenant, [_page("/v1/runs", query)])
        yield Kind(f"{prefix}runs {what}, deep", tenant, _deep("/v1/runs", query, _places(sample.live)))
    both = [*anywhere[: _MOST // 2], *sample.live[: _MOST // 2]]
    yield Kind(f"{prefix}run", tenant, [f"/v1/jobs/{job_id}/run/{run_id}/" for job_id, run_id, _ in both])


def _of_one_job(sample: Sample) -> Iterator[Kind]:
    paths = [f"/v1/jobs/{job_id}/run/" for job_id in sample.jobs[:_MOST]]
    yield Kind("runs of one job", "default", [_page(path, []) for path in paths])
    if sample.busy is None:
        return
    path = f"/v1/jobs/{sample.busy}/run/"
    lasts = [run_id for _, run_id, _ in sample.ended[:: max(len(sample.ended) // _MOST, 1)]]
    moments = [ids.time_of(UUID(last)) for last in lasts]
    narrowed: dict[str, list[tuple[str, str]]] = {
        "": [],
        "SUCCEEDED": [("status", "SUCCEEDED")],
        "FAILED": [("status", "FAILED")],
        "UNKNOWN": [("status", "UNKNOWN")],
        "RETRYING": [("status", "RETRYING")],
        "show_deleted": [("show_deleted", "true")],
    }
    for what, query in narrowed.items():
        yield Kind(f"runs of a busy job {what}".rstrip(), "default", [_page(path, query)])
        yield Kind(f"runs of a busy job {what}".rstrip() + ", deep", "default", _deep(path, query, lasts))
    within = [_page(path, _window("scheduled", moment)) for moment in moments if moment is not None]
    yield Kind("runs of a busy job, within an hour", "default", within)
    yield Kind("runs of a busy job, in the global list", "default", [_page("/v1/runs", [("job_id", str(sample.busy))])])


def _of_failures(sample: Sample) -> Iterator[Kind]:
    moments = [datetime.fromisoformat(moment) for _, _, moment in sample.ended[:_MOST]]
    yield Kind("failures of a day", "default", ["/v1/failures"])
    yield Kind("failures of a day at a target", "default", ["/v1/failures?target=host-123.example.com"])
    yield Kind("failures of an hour", "default", [_page("/v1/failures", _from_to(moment)) for moment in moments])
    ten_days = [_page("/v1/failures", _from_to(moment, timedelta(days=10))) for moment in moments[:1]]
    yield Kind("failures of ten days", "default", ten_days)


_FINGERPRINT = "e2c8035861491be8"


def _window(of: str, moment: datetime, length: timedelta = timedelta(hours=1)) -> list[tuple[str, str]]:
    return [(f"{of}_after", format_instant(moment - length)), (f"{of}_before", format_instant(moment))]


def _from_to(moment: datetime, length: timedelta = timedelta(hours=1)) -> list[tuple[str, str]]:
    return [("from", format_instant(moment - length)), ("to", format_instant(moment))]


def _places(rows: list[list[str]]) -> list[str]:
    some = rows[:: max(len(rows) // _MOST, 1)]
    return [f"{ids.microseconds_of(datetime.fromisoformat(moment))}_{run_id}" for _, run_id, moment in some]


def _page(path: str, query: list[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _deep(path: str, query: list[tuple[str, str]], lasts: list[str]) -> list[str]:
    """Pages that begin after each of these: with tokens as the server makes them."""
    filters: dict[str, list[str]] = {}
    for name, value in query:
        filters[name] = sorted([*filters.get(name, []), value])
    token_after: Callable[[str], str] = read_page(None, None, filters | {"path": [path.rstrip("/")]}).token_after
    return [_page(path, [*query, ("page_token", token_after(last))]) for last in lasts]
