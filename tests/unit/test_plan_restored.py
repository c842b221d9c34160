"""A run whose rows may be older than what has run: nothing of it moves before a person decides, and then it asks first."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from definitions.desired import Complete
from reconciler.actions import Verb
from reconciler.drivers.protocol import Ended, NotStarted, Running, Unknown
from reconciler.observed import Limits
from state.changes import Held
from state.phases import StepPhase, TaskPhase
from state.records import Cause
from tests.stage import Stage

POST = {"http": {"method": "POST", "url": "http://api/"}}
GET = {"http": {"url": "http://api/"}, "onLost": "retry"}
WHY = Cause("recovery")
HOUR = timedelta(hours=1)


def stage(job: dict[str, Any], steps: dict[str, Any] | None = None) -> Stage:
    made = Stage()
    flow = {"flow": {"steps": steps}} if steps else {}
    spec = {"workflow": "flow"} if steps else {"job": "one"}
    made.commit({"jobs": {"one": job}, "workflows": flow, "tasks": {"t": {"spec": spec}}})
    return made


def waiting(job: dict[str, Any]) -> Stage:
    """A run that is recorded and has not begun."""
    made = stage(job)
    made.limits = Limits(total=0)
    made.turn()
    made.limits = Limits()
    return made


def restored(made: Stage) -> Stage:
    """A new controller on a database that was put back."""
    made.crash()
    made.turn(asked=[Held(made.task().record.uid, "restored from copy.db", WHY)])
    return made


def adopted(made: Stage) -> Stage:
    made.turn(asked=[Held(made.task().record.uid, "", WHY)])
    return made


def test_a_held_run_starts_nothing_and_rests():
    made = stage(POST, {"a": {"job": "one"}, "b": {"job": "one", "needs": ["a"]}})
    made.turn()
    made.turn([made.report("a", Ended(succeeded=True, result={}))], [Held(made.task().record.uid, "restored", WHY)])

    made.wait(HOUR)

    assert made.settle() == []
    assert [order.attempt.path for order in made.flying.values() if order.verb is not Verb.CLEAN] == []
    assert made.task().attempts["a"].ended and made.task().steps["a"].phase is StepPhase.RUNNING


def test_what_runs_is_looked_at_while_its_run_is_held_and_the_result_is_kept():
    made = stage(POST)
    made.turn()
    made.turn([made.report("job", Running({"id": 1}, 5))])
    restored(made)
    made.wait(HOUR)
    made.turn()
    (order,) = made.flying.values()

    made.turn([made.report("job", Ended(succeeded=True, result={}))])

    assert order.verb is Verb.OBSERVE
    assert made.task().attempts["job"].ended
    assert made.task().record.phase is TaskPhase.RUNNING
    assert adopted(made).task().record.phase is TaskPhase.FINISHED


@pytest.mark.parametrize("job", [POST | {"timeout": "5m"}, GET | {"until": "result.done", "every": "1m"}])
def test_no_poll_resend_or_stop_leaves_while_a_run_is_held(job):
    made = stage(job)
    made.turn()
    made.turn([made.report("job", Ended(succeeded=True, result={}) if "until" in job else Unknown("cut"))])
    restored(made)
    made.flying.clear()

    made.wait(HOUR)
    made.settle()

    assert {order.verb for order in made.flying.values()} <= {Verb.OBSERVE}
    assert made.task().wake_at is None


def test_an_adopted_run_asks_for_each_call_before_it_makes_it():
    made = adopted(restored(waiting(POST)))

    (order,) = made.flying.values()

    assert (order.verb, order.attempt.number) == (Verb.OBSERVE, 1)
    made.turn([made.report("job", NotStarted("the target does not know it"))])
    made.turn()
    assert [each.verb for each in made.flying.values()] == [Verb.START]


def test_what_nobody_can_say_of_an_adopted_run_is_lost_and_not_sent():
    made = adopted(restored(waiting(POST)))

    made.turn([made.report("job", Unknown("nothing to ask"))])

    assert made.task().steps["job"].phase is StepPhase.LOST
    assert made.flying == {}


def test_that_no_handle_is_recorded_proves_nothing_where_the_rows_are_older():
    made = adopted(restored(waiting(POST)))

    made.turn([made.report("job", NotStarted("no handle is recorded", unrecorded=True))])

    assert made.task().steps["job"].phase is StepPhase.LOST
    assert "no handle is recorded" in made.task().steps["job"].message


def test_what_its_target_deduplicates_goes_out_again_under_the_same_key():
    made = adopted(restored(waiting(GET)))

    made.turn([made.report("job", Unknown("nothing to ask"))])
    made.turn()

    (order,) = made.flying.values()
    assert (order.verb, order.resend, order.attempt.number) == (Verb.START, True, 1)


def test_the_attempt_after_a_lost_one_is_a_decision_and_starts():
    made = adopted(restored(waiting(POST | {"onLost": "retry"})))
    made.turn([made.report("job", Unknown("nothing to ask"))])
    made.wait(HOUR)

    made.settle()

    (order,) = made.flying.values()
    assert (order.verb, order.attempt.number) == (Verb.START, 2)


def test_what_the_source_introduces_to_an_older_database_is_held_too():
    made = stage(POST)
    assert isinstance(made.desired, Complete)
    made.desired = replace(made.desired, older="restored from copy.db")

    made.settle()

    record = made.task().record
    assert (record.held, record.restored, record.phase) == ("restored from copy.db", True, TaskPhase.CREATED)
    assert made.flying == {}


def test_a_file_that_leaves_and_comes_back_lifts_no_hold():
    made = restored(waiting(POST))
    made.commit({"tasks": {"t": None}})
    made.settle()
    made.commit({"tasks": {"t": {"spec": {"job": "one"}}}})

    made.settle()

    assert made.task().record.held == "restored from copy.db"
    assert made.flying == {}


def test_a_run_that_waited_for_its_definition_in_an_older_database_asks_first_when_it_begins():
    made = stage({"http": {"url": "http://api/", "nonsense": 1}})
    made.settle()
    assert made.task().record.reason == "DefinitionRejected"
    adopted(restored(made))

    made.commit({"jobs": {"one": POST}})
    made.settle()

    assert made.task().record.restored
    made.turn([made.report("job", Unknown("nothing to ask"))])
    assert made.task().steps["job"].phase is StepPhase.LOST
