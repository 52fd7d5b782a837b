"""The checker notices: each promise, broken by hand in a history that is otherwise right, is found broken."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker import cron
from checker.history import Attempt, Completion, Fault, History, Job, Live, Operation, Receipt, Row, Schedule, load
from checker.report import judge
from countwheel.domain.schedule import parse_recurring

T0 = 1_795_510_800.0
EVERY_TWO = Schedule(cron="*/2 * * * * *")
ONCE = Schedule(at_ms=int((T0 + 5) * 1000))


def receipt(label: str, second: float, *, fence: int = 1, late: float = 0.002, answer: str = "200") -> Receipt:
    at = T0 + second + late
    answered = at + 0.001 if answer != "none" else None
    return Receipt(label, f"{label}@{second}", fence, fence, int((T0 + second) * 1000), at, answered, answer)


def row(label: str, second: float, status: str = "SUCCEEDED", **changes) -> Row:
    at = T0 + second
    fields = {"finished_at": at + 0.01, "fence": 1, "attempt": 1, "started_at": at + 0.001}
    return Row(label, label, f"{label}@{second}", status, int(at * 1000), **(fields | changes))


@pytest.fixture
def history() -> History:
    """A job every two seconds, created at 0.5 and deleted at 9.5, and one that fires once at 5: all as it must be."""
    found = History(began=T0, healed_at=T0 + 10, checked_at=T0 + 30)
    found.operations = [
        Operation("create", "r", T0 + 0.4, T0 + 0.5, "ok", EVERY_TWO),
        Operation("delete", "r", T0 + 9.5, T0 + 9.6, "ok"),
        Operation("create", "o", T0 + 0.4, T0 + 0.5, "ok", ONCE),
    ]
    found.jobs = [Job("r", "r", "DELETED", recurring=True), Job("o", "o", "COMPLETED", recurring=False)]
    found.receipts = [receipt("r", second) for second in (2, 4, 6, 8)] + [receipt("o", 5)]
    found.rows = [row("r", second) for second in (2, 4, 6, 8)] + [row("o", 5)]
    found.rows.append(row("r", 10, "CANCELED", finished_at=T0 + 9.55, fence=0, attempt=0, started_at=None))
    return found


def test_a_right_history_passes(history: History, tmp_path: Path) -> None:
    """Nothing is found, and the file that it is kept in says the same."""
    assert judge(history).violations == []
    history.save(tmp_path / "h.json")
    assert judge(load(tmp_path / "h.json")).passed


def _lose_a_run(history: History) -> None:
    del history.rows[1], history.receipts[1]


def _lose_a_receipt(history: History) -> None:
    del history.receipts[1]


def _repeat_without_a_cause(history: History) -> None:
    history.receipts.append(receipt("r", 4, fence=2, late=0.5))
    history.rows[1].fence = 2


def _repeat_after_a_2xx_on_record_as_500(history: History) -> None:
    history.receipts.append(receipt("r", 4, fence=2, late=0.5))
    history.rows[1].fence, history.rows[1].finished_at = 2, T0 + 4.6
    history.attempts.append(Attempt("r@4", 1, T0 + 4.1, "HTTP 500"))


def _send_late_with_an_old_fence(history: History) -> None:
    history.faults.append(Fault("SIGSTOP", "node-1", T0 + 3.9, T0 + 4.2))
    history.receipts[1].fence = history.rows[1].fence = 3
    history.receipts.append(receipt("r", 4, fence=1, late=0.5))


def _call_what_nobody_asked_for(history: History) -> None:
    history.receipts.append(receipt("r", 3))
    history.rows.append(row("r", 3))


def _call_early(history: History) -> None:
    history.receipts[2].received_at = T0 + 6 - 0.001


def _call_late(history: History) -> None:
    history.receipts[2].received_at = history.receipts[2].answered_at = T0 + 6.2
    history.rows[2].finished_at = T0 + 6.3


def _record_two_ends(history: History) -> None:
    history.rows.append(row("r", 4, "FAILED", error="HTTP 500", fence=2))


def _record_success_for_a_500(history: History) -> None:
    history.receipts[2].answer = "500"


def _record_failure_for_a_200(history: History) -> None:
    history.rows[2].status, history.rows[2].error = "FAILED", "HTTP 500"


def _create_twice(history: History) -> None:
    history.jobs.append(Job("o", "o2", "COMPLETED", recurring=False))


def _call_after_the_delete(history: History) -> None:
    history.receipts.append(receipt("r", 10))


def _leave_a_run_undone(history: History) -> None:
    del history.rows[4], history.receipts[4]
    history.live.append(Live("o", "o@5", ONCE.at_ms or 0, T0 + 5, "SCHEDULED", held=False))


def _leave_a_chain_broken(history: History) -> None:
    del history.operations[1]
    history.jobs[0].state = "ACTIVE"


def _skip_without_an_overlap(history: History) -> None:
    history.rows[2].status, history.rows[2].error = "SKIPPED", "overlap: an earlier run had not ended"
    del history.receipts[2]


def _skip_without_a_pause(history: History) -> None:
    history.rows[2].status, history.rows[2].error = "SKIPPED", "paused: its job was paused"
    del history.receipts[2]


def _send_a_held_run_again(history: History) -> None:
    history.operations[0].hold = True
    history.faults.append(Fault("kill -9", "node-1", T0 + 4.0, T0 + 4.2))
    history.receipts[1].answer, history.receipts[1].answered_at = "none", None
    history.receipts.append(receipt("r", 4, fence=3, late=0.5))
    history.attempts.append(Attempt("r@4", 1, T0 + 4.3, "lost: node-1"))
    history.rows[1].fence, history.rows[1].finished_at = 3, T0 + 4.6


def _give_two_runs_one_id(history: History) -> None:
    """An id bug: the calls of 4 and 6 carry the id and the instant of 4, and are on record as one."""
    history.receipts[2] = receipt("r", 4, late=2.002)
    history.receipts.append(receipt("o", 5, late=0.003))
    history.receipts[-1].run_id = "r@8"


def _run_by_hand_and_lose_it(history: History) -> None:
    history.operations.append(Operation("run", "r", T0 + 3, T0 + 3.1, "ok", answer="r@3"))


def _run_by_hand_what_nobody_wanted(history: History) -> None:
    history.rows.append(row("r", 3, trigger="manual"))
    history.receipts.append(receipt("r", 3))
    history.receipts[-1].trigger = "manual"


def _run_a_wish_twice(history: History) -> None:
    history.operations.append(Operation("run", "r", T0 + 3, T0 + 3.1, "ok", answer="r@3"))
    for second in (3, 3.5):
        history.rows.append(row("r", second, trigger="manual"))
        history.receipts.append(receipt("r", second))
        history.receipts[-1].trigger = "manual"


def _call_while_paused(history: History) -> None:
    history.operations.append(Operation("pause", "r", T0 + 4.5, T0 + 4.6, "ok"))
    history.operations.append(Operation("resume", "r", T0 + 7.5, T0 + 7.6, "ok"))


def _leave_shelved_what_is_active(history: History) -> None:
    history.jobs[0].state = "ACTIVE"
    history.live.append(Live("r", "r@10", int((T0 + 10) * 1000), 253_370_764_800.0, "SCHEDULED", held=False))


def _replace_a_run_of_a_job_that_lets_none_be_replaced(history: History) -> None:
    history.rows[1] = row("r", 4, "CANCELED", error="replaced by the next occurrence", started_at=None)


@pytest.mark.parametrize(
    ("tamper", "rule"),
    [
        (_run_by_hand_and_lose_it, "wanted runs"),
        (_run_by_hand_what_nobody_wanted, "wanted runs"),
        (_run_a_wish_twice, "wanted runs"),
        (_call_while_paused, "quiet while paused"),
        (_leave_shelved_what_is_active, "liveness"),
        (_replace_a_run_of_a_job_that_lets_none_be_replaced, "no loss"),
        (_lose_a_run, "no loss"),
        (_lose_a_receipt, "record truth"),
        (_lose_a_receipt, "blind"),
        (_repeat_without_a_cause, "no double"),
        (_repeat_after_a_2xx_on_record_as_500, "no double"),
        (_send_late_with_an_old_fence, "fences rise"),
        (_call_what_nobody_asked_for, "no phantom"),
        (_call_early, "never early"),
        (_call_late, "timely"),
        (_record_two_ends, "record truth"),
        (_record_success_for_a_500, "record truth"),
        (_record_failure_for_a_200, "record truth"),
        (_create_twice, "idempotent create"),
        (_call_after_the_delete, "cancel is final"),
        (_leave_a_run_undone, "liveness"),
        (_leave_a_chain_broken, "liveness"),
        (_skip_without_an_overlap, "no loss"),
        (_skip_without_a_pause, "no loss"),
        (_send_a_held_run_again, "never twice"),
        (_give_two_runs_one_id, "no double"),
    ],
)
def test_a_broken_promise_is_found(history: History, tamper: Callable[[History], None], rule: str) -> None:
    """Whatever else is found, the rule that was broken is among it."""
    tamper(history)
    assert rule in judge(history).broken()


def test_the_shelved_run_of_a_paused_job_stands_for_what_comes_after_it(history: History) -> None:
    """Nothing is on record of the pause until it ends; the run that waits for that is, and no other job's."""
    history.operations[1] = Operation("pause", "r", T0 + 4.5, T0 + 4.6, "ok")
    history.jobs[0].state = "PAUSED"
    history.rows = [row("r", second) for second in (2, 4)] + [row("o", 5)]
    history.receipts = [receipt("r", second) for second in (2, 4)] + [receipt("o", 5)]
    assert "no loss" in judge(history).broken()
    history.live = [Live("r", "r@6", int((T0 + 6) * 1000), 253_370_764_800.0, "SCHEDULED", held=False)]
    assert judge(history).violations == []


def test_a_repeat_that_a_crash_explains_is_listed_with_it(history: History) -> None:
    """Sent, killed before the record, taken over, sent again with a higher fence: no violation, one line with its
    cause.
    """
    history.faults.append(Fault("kill -9", "node-1", T0 + 4.0, T0 + 4.2))
    history.receipts.append(receipt("r", 4, fence=3, late=0.5))
    history.attempts.append(Attempt("r@4", 1, T0 + 4.3, "lost: node-1 was lost"))
    history.rows[1].fence, history.rows[1].finished_at = 3, T0 + 4.6
    verdict = judge(history)
    assert verdict.violations == []
    assert verdict.repeats == {"kill -9 before the record": 1}
    assert "kill -9 before the record" in verdict.text()


def test_an_operation_without_an_answer_may_have_happened_or_not(history: History) -> None:
    """An edit that was never answered: both the calls of the old schedule and those of the new one may come."""
    history.operations.insert(1, Operation("amend", "r", T0 + 4.5, None, "unknown", Schedule(cron="1-59/2 * * * * *")))
    assert judge(history).violations == []
    history.receipts += [receipt("r", 7), receipt("r", 9)]
    history.rows += [row("r", 7), row("r", 9)]
    del history.receipts[2:4], history.rows[2:4]
    assert judge(history).violations == []


_FIELD = st.sampled_from(["*", "*/7", "3", "1-30/4", "5,10,40-50"])


@given(st.tuples(_FIELD, _FIELD), st.integers(0, 10**6))
def test_the_two_readings_of_cron_agree(fields: tuple[str, str], offset: int) -> None:
    """The checker's slow expansion and the engine's evaluator, written apart, name the same instants."""
    expression = f"{fields[0]} {fields[1]} * * * *"
    start = int(T0) + offset
    ours = parse_recurring(expression, None)
    expected, step = [], ours.next_after(datetime.fromtimestamp(start, UTC))
    while step is not None and step.timestamp() <= start + 300:
        expected.append(int(step.timestamp() * 1000))
        step = ours.next_after(step)
    assert list(cron.instants(expression, start * 1000, (start + 300) * 1000)) == expected


def taken_over(history: History, **changes) -> Completion:
    """Make the last run one that its target took over, and completed later: as it must be."""
    sent = history.receipts[-1]
    sent.answer = "202"
    fields = {"fence": 1, "said": "SUCCEEDED", "invoked_at": T0 + 5.005, "answered_at": T0 + 5.006, "answer": "ok"}
    said = Completion("o", sent.run_id, **(fields | changes))
    history.completions.append(said)
    return said


def test_a_run_that_its_target_completed_passes(history: History) -> None:
    """202, and SUCCEEDED by its word."""
    taken_over(history)
    assert judge(history).passed, judge(history).text()


def test_a_202_alone_is_no_success(history: History) -> None:
    """SUCCEEDED on record, and nobody has said so."""
    taken_over(history)
    history.completions.clear()
    assert "record truth" in judge(history).text()


def test_a_completed_run_is_not_sent_again(history: History) -> None:
    """An acknowledged completion is on record, and final."""
    taken_over(history)
    history.rows[4] = row("o", 5, "CANCELED", error="by nobody")
    assert "SUCCEEDED acknowledged, and ['CANCELED']" in judge(history).text()
    history.rows[4] = row("o", 5, fence=2)
    history.receipts.append(receipt("o", 5, fence=2, late=3))
    assert "after its completion" in judge(history).text()


def test_a_run_that_somebody_redrives_is_sent_after_its_completion(history: History) -> None:
    """FAILED by its target's word, taken back by hand, and sent again: its first end stays on record."""
    taken_over(history, said="FAILED")
    history.rows[4] = row("o", 5, "FAILED", error="reported: out of order")
    history.rows[4].resolution = "RETRIED"
    history.rows.append(row("o", 5, fence=3))
    history.receipts.append(receipt("o", 5, fence=3, late=3))
    assert "completion is final" not in judge(history).text()


def test_a_failure_that_was_redriven_is_judged_by_its_own_calls(history: History) -> None:
    """HTTP 500, redriven, and taken then: each end has its own call, and none is without a reason."""
    history.receipts[-1].answer = "500"
    history.rows[4] = row("o", 5, fence=3)
    history.rows.append(row("o", 5, "FAILED", error="HTTP 500", resolution="RETRIED"))
    history.receipts.append(receipt("o", 5, fence=3, late=3))
    assert "without a failed call" not in judge(history).text()
    assert "no loss" not in judge(history).text()


def test_what_was_taken_over_is_sent_again_only_after_a_word_of_it(history: History) -> None:
    """A held run of which its target said that it failed may be redriven; one of which nothing was said may not."""
    said = taken_over(history, said="FAILED")
    history.operations[2].hold = True
    history.rows[4] = row("o", 5, "FAILED", error="reported", resolution="RETRIED")
    history.rows.append(row("o", 5, fence=3))
    history.receipts.append(receipt("o", 5, fence=3, late=3))
    assert "never twice" not in judge(history).text()
    history.completions.remove(said)
    assert "never twice" in judge(history).text()


def test_an_end_that_the_machine_held_up_is_on_record_later(history: History) -> None:
    """Skipped 0.1 s after an earlier run has ended: right only where the machine stood still for as long in between."""
    _skip_without_an_overlap(history)
    history.rows[1].finished_at = history.rows[2].finished_at - 0.1
    assert {violation.rule for violation in judge(history).violations} >= {"no loss"}
    at = history.rows[1].finished_at
    history.faults.append(Fault("stall", "machine", at + 0.01, at + 0.09))
    assert judge(history).violations == []
