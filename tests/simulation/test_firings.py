"""Slips about times and triggers, planted one by one: the oracle sees each (I6)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.plan import due, triggers
from reconciler.plan.entry import Entry, enter
from state.changes import TaskAdvanced
from state.phases import Signal
from state.records import Cause
from tests.arguments import ROOT
from tests.simulation.case import Case, Flow, Operation, Schedule, Step, Work
from tests.simulation.play import play

CASES = ROOT / "tests" / "corpus"
MINUTELY = Schedule("k0", "flow", "* * * * *")


def firing(seconds: float = 0.5, until: float = 130.0, *operations: Operation, **schedule) -> Case:
    """A trigger that fires at every minute, for a task that takes so many seconds, and what people do to it."""
    flow = Flow("flow", (Step("a", (Work("process", seconds=seconds),)),))
    added = Operation(0.0, "add", "t0", "flow")
    end = Operation(until, "trigger_suspend", "k0")
    return Case(7, (flow,), (added, *operations, end), schedules=(replace(MINUTELY, **schedule),))


OVERLAPS = {overlap: firing(90.0, overlap=overlap) for overlap in ("skip", "replace")}


@pytest.fixture
def times(monkeypatch):
    """Have the times of triggers found in another way: `times(change)`, which is given what the planner found them by."""

    def plant(change):
        found = due._due_times
        monkeypatch.setattr(due, "_due_times", lambda *about: change(found, *about))

    return plant


def test_what_is_planted_here_is_what_breaks():
    outcomes = [play(case) for case in (firing(), *OVERLAPS.values())]
    assert [outcome.violation for outcome in outcomes] == [""] * 3
    assert min(outcome.reached["slot Fired"] for outcome in outcomes) > 0


def test_a_time_that_fires_too_early(times):
    times(lambda found, spec, slots, record, now: found(spec, slots, record, now + timedelta(seconds=30)))
    looks = (Operation(35.0, "trigger_suspend", "k0"), Operation(45.0, "trigger_resume", "k0"))
    assert "before its time" in play(firing(0.5, 130.0, *looks)).violation


def test_a_time_that_is_put_off(times):
    times(lambda *_: due.Due())
    assert play(firing()).violation.startswith("I6 k0: 20261122T060100Z is not decided at")


def test_a_time_that_is_skipped_as_missed_although_it_has_just_come(monkeypatch):
    monkeypatch.setattr(
        triggers._Desk,
        "_fire",
        lambda self, file, record, slot: self._skip(record, slot, "Missed", "nobody looked", file),
    )
    assert " as missed, and it may still fire" in play(firing()).violation


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_time_that_fires_although_the_run_before_is_not_over(overlap, monkeypatch):
    fire = triggers._Desk._fire

    def alone(self, file, record, slot):
        self._live.clear()
        return fire(self, file, record, slot)

    monkeypatch.setattr(triggers._Desk, "_fire", alone)
    said = {"skip": "I6 k0 fires, and k0-", "replace": "I6 k0 takes the place of k0-"}
    assert play(OVERLAPS[overlap]).violation.startswith(said[overlap])


def test_a_time_that_is_skipped_for_a_run_that_is_over(monkeypatch):
    monkeypatch.setattr(
        triggers._Desk,
        "_fire",
        lambda self, file, record, slot: self._skip(record, slot, "Overlap", "another is not over", file),
    )
    assert "I6 k0 skips a slot, 0 of its tasks live" in play(firing(overlap="skip")).violation


def test_a_time_that_is_skipped_for_a_run_that_was_over_when_it_was_made(monkeypatch):
    together = CASES / "a-slot-is-skipped-for-a-run-that-is-over-in-the-same-commit.json"
    case = Case.from_json(together.read_text(encoding="utf-8"))

    def refused(*about):
        action, *others = enter(*about).actions
        failed = TaskAdvanced(action.uid, Signal.FAIL, Cause("plan"), "ParamError", "planted")
        return Entry((replace(action, changes=(*action.changes, failed)), *others))

    monkeypatch.setattr(triggers, "enter", refused)
    assert play(case).violation == ""

    monkeypatch.setattr(triggers, "_admitted", lambda entry: [entry.actions[0].changes[0]])
    assert "I6 k0 skips a slot, 0 of its tasks live" in play(case).violation
