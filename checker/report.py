"""The verdict, for people."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from checker.blind import blind_match
from checker.evidence import Evidence, Violation, gather
from checker.history import History
from checker.rules import RULES, cause_of_repeat, faults_near, first_receipts

_SHOWN = 10


@dataclass(slots=True)
class Verdict:
    """What a history proves."""

    violations: list[Violation]
    runs: int
    occurrences: int
    faults: Counter[str]
    statuses: Counter[str]
    repeats: Counter[str]
    lateness_ms: list[float] = field(default_factory=list)
    """Of first receipts without a fault near, sorted."""
    lateness_near_faults_ms: list[float] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    def broken(self) -> Counter[str]:
        """Return how often each rule was broken."""
        return Counter(violation.rule for violation in self.violations)

    def text(self) -> str:
        """Return the report."""
        lines = [
            f"{self.occurrences} occurrences had to be taken up, {self.runs} runs were received: "
            + ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items())),
            "faults injected: "
            + (", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())) or "none"),
            f"repeats: {self.repeats.total()}"
            + "".join(f"\n    {count:6} {cause}" for cause, count in self.repeats.most_common()),
            f"lateness without a fault near:  {_percentiles(self.lateness_ms)}",
            f"lateness with a fault near:     {_percentiles(self.lateness_near_faults_ms)}",
        ]
        for rule, count in sorted(self.broken().items()):
            lines.append(f"BROKEN: {rule} ({count})")
            found = [violation for violation in self.violations if violation.rule == rule]
            lines += [f"    {violation.detail}" for violation in found[:_SHOWN]]
        lines.append("PASSED" if self.passed else "FAILED")
        return "\n".join(lines)


def judge(history: History) -> Verdict:
    """Judge a history by every rule."""
    evidence = gather(history)
    violations = [violation for rule in RULES.values() for violation in rule(evidence)]
    violations += blind_match(evidence)
    verdict = Verdict(
        violations=violations,
        runs=len(evidence.receipts),
        occurrences=sum(len(expected.must) for expected in evidence.expected.values()),
        faults=Counter(fault.kind for fault in history.faults),
        statuses=Counter(row.status for row in history.rows),
        repeats=_repeats(evidence),
    )
    for receipt, base in first_receipts(evidence):
        near = bool(faults_near(evidence, receipt, base))
        kept = verdict.lateness_near_faults_ms if near else verdict.lateness_ms
        kept.append((receipt.received_at - base) * 1000)
    verdict.lateness_ms.sort()
    verdict.lateness_near_faults_ms.sort()
    return verdict


def _repeats(evidence: Evidence) -> Counter[str]:
    causes = (
        cause_of_repeat(evidence, earlier, later) or "WITHOUT A CAUSE"
        for receipts in evidence.receipts.values()
        for earlier, later in pairwise(receipts)
    )
    return Counter(causes)


def _percentiles(values: list[float]) -> str:
    if not values:
        return "none measured"
    p50, p99 = (values[min(int(len(values) * share), len(values) - 1)] for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {values[-1]:.1f} ms ({len(values)} runs)"
