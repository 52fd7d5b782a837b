"""Who is told what a command finds: how it is said is the command line's."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from countwheel.doctor.finding import Finding
from countwheel.store.audit import FoundOfJob


class AuditReport(Protocol):
    """Who is told what an audit finds."""

    def begin(self, jobs: int) -> None:
        """Take note of how many jobs are audited."""

    def take(self, answer: FoundOfJob) -> None:
        """Take a finding in."""

    def end(self, start: datetime, end: datetime) -> int:
        """Say how it stands and return the exit code."""


class DoctorReport(Protocol):
    """Who is told what the doctor finds."""

    @property
    def is_complete(self) -> bool:
        """Whether it was told."""

    def show(self, findings: Sequence[Finding]) -> int:
        """Say it and return the exit code."""
