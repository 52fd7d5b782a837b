"""What an end has beside its outcome: where the run went, what its failure looks like, who is told."""

from typing import Protocol

from msgspec.structs import replace

from countwheel.domain.fingerprint import DEAD_LETTERS, class_of_text, fingerprint
from countwheel.domain.notification import Defaults, url_told
from countwheel.domain.run import RunStatus
from countwheel.domain.target import recorded_host, target_host
from countwheel.store.runs import FinishedRun


class EndingRun(Protocol):
    """What must be known of a run that ends."""

    @property
    def trigger(self) -> str: ...  # noqa: D102 (the names of the columns)
    @property
    def job_url(self) -> str: ...  # noqa: D102
    @property
    def call_method(self) -> str | None: ...  # noqa: D102
    @property
    def calling(self) -> str | None: ...  # noqa: D102
    @property
    def tenant_on_failure(self) -> str | None: ...  # noqa: D102
    @property
    def tenant_on_success(self) -> str | None: ...  # noqa: D102


def complete(run: EndingRun, record: FinishedRun) -> FinishedRun:
    """Return the record of an end as it is to be written."""
    succeeded = record.status == RunStatus.SUCCEEDED and run.call_method is None
    if succeeded and run.calling is None and run.tenant_on_success is None:
        return record  # nearly every run
    defaults = Defaults(run.tenant_on_failure, run.tenant_on_success)
    url = url_told(record.status, run.trigger, run.calling, defaults)
    if succeeded and url is None:
        return record
    target = recorded_host(target_host(run.job_url))
    if record.status not in DEAD_LETTERS:
        return replace(record, target=target, told_url=url)
    error = record.error or ""
    error_class = record.error_class or class_of_text(error)
    looks_like = fingerprint(target, error_class, error)
    return replace(record, target=target, told_url=url, error_class=error_class, fingerprint=looks_like)
