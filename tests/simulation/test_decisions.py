"""Slips of those who decide, planted one by one: the oracle, which reckons again from what is recorded, sees each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler import judgement
from reconciler.plan import attempts, capacity, conclusion, opening, outcome, progress
from reconciler.plan.outcome import SUCCEEDED, Outcome
from state.phases import ENDED_STEPS, Signal, StepPhase
from tests.simulation import world
from tests.simulation.case import Case, Flow, Operation, Step, Work
from tests.simulation.drivers import SimulatedProcess
from tests.simulation.play import play
from tests.simulation.tries import Tries

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SOON = timedelta(milliseconds=100)
GET = Work("get")


def one(*steps: Step, operations: tuple[Operation, ...] = (), room: int | None = None, **options) -> Case:
    """One task that runs these steps."""
    flow = Flow("flow", steps, **options)
    return Case(7, (flow,), (Operation(0.0, "add", "t0", "flow"), *operations), room=room)


def step(work: Work = GET, **options) -> Step:
    return Step("a", (work,), **options)


FAILS = one(step(Work("get", fails=9)))
FAILS_AND_GOES_ON = one(step(Work("get", fails=1, retry=1)))
FAILS_TOO_OFTEN = one(step(Work("get", fails=9, retry=1)))
LIST = one(step(Work("process", fails=9, seconds=3.0), items=3, parallelism=1))
POLLS = one(step(Work("get", polls=3, max_calls=3)))
UNWANTED = one(step(condition="not params.flag"))
WORKS = one(step(), exit=GET)
WAITS = one(Step("w", (GET,), pause=6.0))
CUT = one(step(Work("process", seconds=20.0, timeout=3)))
SIDE_BY_SIDE = one(Step("a", (GET,)), Step("b", (GET,)), room=1)
CALLS = one(Step("a", (Work("get", fails=9), GET)))
LOST = replace(one(step(Work("post", seconds=2.0))), crash_at=(10,))


def seen(case: Case) -> str:
    """What the oracle says of the decisions in a case."""
    return play(case).violation.removeprefix("decision: ")


def test_what_is_planted_here_is_what_breaks():
    cases = (FAILS, FAILS_AND_GOES_ON, FAILS_TOO_OFTEN, LIST, POLLS, UNWANTED, WORKS, WAITS, CUT, SIDE_BY_SIDE, CALLS)
    assert [play(case).violation for case in (*cases, LOST)] == [""] * 12
    assert play(LOST).reached["onLost: step lost"]


# -- ends ----------------------------------------------------------------------------------------------------------------


def test_a_task_that_finishes_although_a_step_failed(monkeypatch):
    monkeypatch.setattr(
        progress, "conclusion", lambda task, program, _: conclusion.conclusion(task, program, SUCCEEDED)
    )
    assert seen(FAILS) == "t0 is finished (), and its steps say failed"


def test_a_task_that_fails_without_a_step_that_failed(monkeypatch):
    failed = Outcome(Signal.FAIL, "AttemptFailed", "it failed", "a")
    monkeypatch.setattr(progress, "conclusion", lambda task, program, _: conclusion.conclusion(task, program, failed))
    assert seen(WORKS) == "t0 is failed (StepFailed), and its steps say succeeded"


def test_a_task_that_fails_while_something_of_it_can_go_on(monkeypatch):
    monkeypatch.setattr(outcome, "ACTIVE_STEPS", frozenset())
    slow = Step("b", (Work("get", seconds=6.0),))
    assert seen(one(step(Work("get", fails=9)), slow)) == "t0 is failed (StepFailed), and its steps say that it goes on"


def test_a_list_that_finishes_although_an_item_failed(monkeypatch):
    def over(items):
        return SUCCEEDED if all(row.phase in ENDED_STEPS for row in items) else None

    monkeypatch.setattr(progress, "list_outcome", over)
    assert seen(LIST) == "a is succeeded, and its parts say failed"


def test_a_step_that_finishes_although_its_first_call_failed(monkeypatch):
    monkeypatch.setattr(
        progress, "calls_outcome", lambda calls, rows: SUCCEEDED if rows(calls[0]).finished_at else None
    )
    assert seen(CALLS) == "a is succeeded, and its parts say failed"


def test_a_lost_attempt_whose_step_has_failed(monkeypatch):
    advance = progress.Walk.advance

    def failed(self, sign, path, signal, *args, **kwargs):
        kwargs.pop("group", None)
        advance(self, sign, path, Signal.FAIL if signal is Signal.LOSE else signal, *args, **kwargs)

    monkeypatch.setattr(progress.Walk, "advance", failed)
    assert seen(LOST) == "a is failed, and its attempt 1 is lost"


def test_outputs_of_a_task_that_its_steps_did_not_give(monkeypatch):
    monkeypatch.setattr(conclusion, "frame_outputs", lambda *_: {"value": "another"})
    assert seen(WORKS).startswith("t0 gives {'value': 'another'}, and its steps make")


def test_outputs_of_a_list_that_its_items_did_not_give(monkeypatch):
    monkeypatch.setattr(progress, "list_outputs", lambda *_: {"value": None})
    assert seen(one(step(items=2))).startswith("a gives {'value': None}, and its parts make")


def test_a_wait_that_is_over_too_early(monkeypatch):
    monkeypatch.setattr(opening, "over_at", lambda _: LONG_AGO)
    assert seen(WAITS).startswith("w is over, and it waits until")


# -- begins --------------------------------------------------------------------------------------------------------------


def test_a_step_that_begins_although_its_condition_is_false(monkeypatch):
    monkeypatch.setattr(opening, "wanted", lambda *_: True)
    assert seen(UNWANTED) == "a begins although its condition is false"


def test_a_step_that_is_skipped_although_its_condition_is_true(monkeypatch):
    monkeypatch.setattr(opening, "wanted", lambda *_: False)
    assert seen(WORKS) == "a is skipped although its condition is true"


def test_a_step_at_the_end_that_is_told_another_end(monkeypatch):
    monkeypatch.setattr(Outcome, "state", "FAILED")
    assert seen(WORKS) == "onExit is told FAILED, and the steps say FINISHED"


# -- attempts and calls --------------------------------------------------------------------------------------------------


def test_a_success_before_until_is_true(monkeypatch):
    monkeypatch.setattr(judgement._Bench, "_not_yet", lambda *_: "")
    assert seen(POLLS).startswith("a has succeeded, and `until` is not true of {'ready': False")


def test_a_call_more_than_there_may_be(monkeypatch):
    waits = judgement._Bench._waits

    def endless(self, why, ended):
        self.unit = replace(self.unit, max_calls=None)
        return waits(self, why, ended)

    monkeypatch.setattr(judgement._Bench, "_waits", endless)
    assert seen(one(step(Work("get", polls=9, max_calls=3)))) == "a: call 4 of 3"


def test_a_call_before_its_time(monkeypatch):
    waits = judgement._Bench._waits
    monkeypatch.setattr(judgement._Bench, "_waits", lambda self, *about: replace(waits(self, *about), wake_at=self.now))
    assert seen(POLLS).startswith("a: call 2 follows after 0:00:00")


def test_more_attempts_than_there_may_be(monkeypatch):
    monkeypatch.setattr(progress, "retry_at", lambda _task, _position, now: now)
    assert seen(FAILS).startswith("a: attempt 2 after 1 that failed")


def test_an_attempt_before_its_time(monkeypatch):
    monkeypatch.setattr(progress, "retry_at", lambda *about: attempts.retry_at(*about) and about[-1] + SOON)
    assert seen(FAILS_AND_GOES_ON).startswith("a: attempt 2 begins 0:00:00")


def test_an_attempt_too_few(monkeypatch):
    monkeypatch.setattr(progress, "retry_at", lambda *_: None)
    assert seen(FAILS_AND_GOES_ON) == "a is given up after 1 attempts that failed, and another was allowed"


def test_another_attempt_after_a_loss_that_nobody_allowed(monkeypatch):
    monkeypatch.setattr(progress, "retry_at", lambda _task, _position, now: now)
    assert seen(LOST) == "a: attempt 2 after 0 that failed; the last: lost"


RETRIED = one(step(Work("process", fails=1, retry=1, seconds=3.0), items=3, parallelism=1))


@pytest.mark.parametrize(
    ("case", "phase", "text"),
    [
        (LIST, StepPhase.RUNNING, "the items 0, 1 of a work at a time, and 1 may"),
        (RETRIED, StepPhase.RETRYING, "a.1 is begun with while a.0, a.1 go, and 1 may"),
    ],
)
def test_more_items_at_a_time_than_there_may_be(case, phase, text, monkeypatch):
    in_line = progress.Walk._list

    def crowd(self, position):
        in_line(self, position)
        first, second = (self.row(position.at(index)).phase for index in range(2))
        if (first, second) == (phase, StepPhase.WAITING):
            self.visit(position.at(1))

    monkeypatch.setattr(progress.Walk, "_list", crowd)
    assert seen(case) == text


def test_more_calls_at_a_time_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(capacity.Room, "narrow", lambda *_: "")
    assert seen(SIDE_BY_SIDE) == "a, b are under way, and there is room for 1"


def test_an_attempt_without_its_deadline(monkeypatch):
    monkeypatch.setattr(attempts, "_deadline", lambda *_: None)
    assert seen(CUT).startswith("a begins with the deadline None, which should be")


def test_an_attempt_that_nobody_tells_to_end_in_time(monkeypatch):
    monkeypatch.setattr(attempts, "_past", lambda *_: False)
    assert seen(CUT).startswith("a runs after its time")


@pytest.mark.parametrize(
    "case", [CUT, one(step(Work("process", seconds=20.0)), operations=(Operation(2.0, "revoke", "t0"),))]
)
def test_an_attempt_that_has_ended_and_runs(case, monkeypatch):
    monkeypatch.setattr(SimulatedProcess, "_stop", lambda *_: None)
    ended = "rule 6: " + play(case).violation.removeprefix("rule 6: ")
    assert ended.endswith((" is recorded as timed_out and runs", " is recorded as cancelled and runs"))


def test_an_attempt_that_counts_as_ended_while_it_still_dies(monkeypatch):
    running = judgement._Bench._running

    def hasty(self, handle, seconds):
        done = (self._change(self.stopped, message="told to end"),)
        return done if self.stopping else running(self, handle, seconds)

    monkeypatch.setitem(world.RATES, "slow_stop", 1.0)
    case = replace(CUT, faults=frozenset({"slow_stop"}))
    assert play(case).violation == ""

    monkeypatch.setattr(judgement._Bench, "_running", hasty)
    assert play(case).violation.endswith(" is recorded as timed_out and runs")


def test_what_is_remembered_of_attempts_can_be_put_back():
    kept = Tries()
    kept.failures["uid", "a"] += 1
    copy = kept.copy()

    kept.failures["uid", "a"] += 1

    assert copy.failures["uid", "a"] == 1
    assert vars(copy).keys() == vars(kept).keys()
