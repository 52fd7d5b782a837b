"""What was seen, indexed for the rules."""

from collections import defaultdict
from dataclasses import dataclass, field

from checker.expectation import Expectation, expect
from checker.history import Attempt, Completion, Fault, History, Operation, Receipt, Row


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: which, and by what."""

    rule: str
    detail: str


@dataclass(slots=True)
class Evidence:
    """A history, with what is expected and quick ways to look things up."""

    history: History
    expected: dict[str, Expectation]
    receipts: dict[str, list[Receipt]] = field(default_factory=lambda: defaultdict(list))
    """By run, in the order of arrival."""
    arrivals: dict[str, list[Receipt]] = field(default_factory=lambda: defaultdict(list))
    """By label, in the order of arrival."""
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    """Of occurrences, by label."""
    wanted: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    """Of runs that were wanted by hand, by label."""
    attempts: dict[tuple[str, int], Attempt] = field(default_factory=dict)
    """By run and fence."""
    completions: dict[str, list[Completion]] = field(default_factory=lambda: defaultdict(list))
    """By run."""
    operations: dict[str, list[Operation]] = field(default_factory=lambda: defaultdict(list))
    """By label, in the order of invocation, without those that failed."""

    def faults_between(self, began: float, ended: float, *, after: float = 0.0) -> list[Fault]:
        """Return the faults that touch a span of time; each is taken to last `after` seconds longer."""
        return [fault for fault in self.history.faults if fault.began <= ended and fault.ended + after >= began]

    def row_of(self, run_id: str, label: str) -> Row | None:
        """Return how a run ended, or None."""
        return next((row for row in self.all_rows(label) if row.run_id == run_id and row.resolution != "RETRIED"), None)

    def all_rows(self, label: str) -> list[Row]:
        """Return everything on record of a job."""
        return self.rows[label] + self.wanted[label]


def gather(history: History) -> Evidence:
    """Return the evidence of a history."""
    evidence = Evidence(history, expect(history))
    for receipt in sorted(history.receipts, key=lambda receipt: receipt.received_at):
        evidence.receipts[receipt.run_id].append(receipt)
        evidence.arrivals[receipt.label].append(receipt)
    for row in history.rows:
        (evidence.rows if row.trigger == "schedule" else evidence.wanted)[row.label].append(row)
    for attempt in history.attempts:
        evidence.attempts[attempt.run_id, attempt.fence] = attempt
    for completion in history.completions:
        evidence.completions[completion.run_id].append(completion)
    for operation in sorted(history.operations, key=lambda operation: operation.invoked_at):
        if operation.outcome != "fail":
            evidence.operations[operation.label].append(operation)
    return evidence
