"""`countwheel doctor`: what is unsafe about a deployment, for people or as JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from countwheel.doctor.finding import Finding, Severity

_WORST_FIRST = (Severity.UNSAFE, Severity.WARNING, Severity.OK)


class Report:
    """Prints findings. `is_complete` says whether there were any to print."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.is_complete = False

    def show(self, findings: Sequence[Finding]) -> int:
        """Print the findings, worst first, and return the exit code: 1 if anything is unsafe, else 0."""
        self.is_complete = True
        ordered = sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.severity))
        counts = Counter(finding.severity for finding in findings)
        if self._as_json:
            print(json.dumps({"findings": [asdict(finding) for finding in ordered]}, indent=2))  # noqa: T201 (the output)
        else:
            for finding in ordered:
                _print(finding)
            print(", ".join(f"{counts[severity]} {severity}" for severity in _WORST_FIRST))  # noqa: T201 (the output)
        return 1 if counts[Severity.UNSAFE] else 0


def _print(finding: Finding) -> None:
    print(f"{finding.severity:8} {finding.check}: {finding.seen}")  # noqa: T201 (the output)
    if finding.why:
        print(f"{'':8} why: {finding.why}")  # noqa: T201 (the output)
    if finding.remedy:
        print(f"{'':8} do:  {finding.remedy}")  # noqa: T201 (the output)
