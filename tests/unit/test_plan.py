"""What a plan writes beside its lines: causes, times, reasons, and how plans print."""

from datetime import timedelta
from typing import Any

import pytest

from reconciler.actions import Action, Plan, Verb, lines
from reconciler.drivers.protocol import Ended, Running, Unknown
from reconciler.plan.attempts import resend_at
from state.changes import Admitted, AttemptAdvanced, Called, Controlled, TaskAdvanced
from state.copies import replace
from state.phases import Signal, StepPhase, TaskPhase
from state.records import Uid, external_name
from tests.stage import START, Stage

JOB = {"http": {"method": "POST", "url": "http://api/"}, "expect": "1h"}
SECOND = timedelta(seconds=1)


def stage(job: dict[str, Any] | None = None, workflow: dict[str, Any] | None = None, **task: Any) -> Stage:
    """A stage whose one task has had its first turn."""
    made = Stage()
    spec = {"workflow": "flow"} if workflow else {"job": "one"}
    flow = {"flow": workflow} if workflow else {}
    made.commit({"jobs": {"one": job or JOB}, "workflows": flow, "tasks": {"t": {"spec": spec, **task}}})
    made.turn()
    return made


def test_a_plan_prints_one_signed_line_for_each_action():
    actions = (Action("+", Uid("u"), "demo/t", "run 1 of job one"), Action(">", Uid("u"), "demo/t job", "attempt 1"))

    assert str(Plan(actions)) == "+ demo/t: run 1 of job one\n> demo/t job: attempt 1"
    assert lines(Plan(actions)) == ["+ demo/t: run 1 of job one", "> demo/t job: attempt 1"]


def test_a_run_starts_its_time_with_its_first_step_and_knows_when_it_should_end():
    record = stage(workflow={"timeout": "3h", "steps": {"a": {"job": "one"}}}).task().record

    assert (record.started_at, record.expected_finish) == (START, START + timedelta(hours=1))
    assert record.deadline == START + timedelta(hours=3)


@pytest.mark.parametrize("removed", [False, True])
def test_a_run_that_was_held_back_before_it_began_starts_its_time_when_it_goes_on(removed):
    held = {"control": {"state": "suspended", "reason": "not yet"}}
    made = stage(workflow={"timeout": "3h", "steps": {"a": {"job": "one"}}}, **held)
    if removed:
        made.commit({"tasks": {"t": None}})
        made.turn()
    made.wait(timedelta(days=1))
    before = made.task().record.started_at

    made.commit({"tasks": {"t": {"spec": {"workflow": "flow"}}}})
    made.turn()

    record = made.task().record
    assert before is None
    assert (record.phase, record.started_at) == (TaskPhase.RUNNING, made.now)
    assert record.deadline == made.now + timedelta(hours=3)


def test_a_control_is_caused_by_the_commit_that_brought_it():
    made = stage()
    said = {"spec": {"job": "one"}, "control": {"state": "suspended", "reason": "CHG-1"}}
    made.commit({"tasks": {"t": said}}, author="Bob", subject="stop it")

    planned = made.turn()

    changes = [change for change in planned.changes if isinstance(change, Controlled | TaskAdvanced)]
    assert [type(change) for change in changes] == [Controlled, TaskAdvanced]
    assert {(change.cause.kind, change.cause.reference, change.cause.author) for change in changes} == {
        ("commit", "c2", "Bob")
    }


def test_every_admission_pins_all_that_it_uses_the_target_first():
    made = Stage()
    steps = {"a": {"job": "one"}, "b": {"job": "two"}, "c": {"job": "one"}}
    made.commit(
        {
            "jobs": {"one": JOB, "two": JOB},
            "workflows": {"flow": {"steps": steps}},
            "tasks": {"t": {"spec": {"workflow": "flow"}}},
        }
    )

    (admitted,) = [change for change in made.turn().changes if isinstance(change, Admitted)]

    assert [(pin.kind, pin.name) for pin in admitted.pins] == [("Workflow", "flow"), ("Job", "one"), ("Job", "two")]
    assert admitted.task.pins == tuple(pin.digest for pin in admitted.pins)


def test_an_order_carries_what_a_driver_needs_and_the_file_that_policy_judges():
    job = {
        "http": {"url": "http://api/", "headers": {"Authorization": {"secret": "db/password"}}},
        "until": "result.ok",
    }
    made = stage(job)

    (order,) = made.flying.values()

    assert (order.verb, order.task, order.source, order.uses_result) == (Verb.START, "demo/t", "jobs/one.yaml", True)
    assert order.attempt.request["headers"] == {"Authorization": "***"}
    assert dict(order.attempt.secrets) == {"/headers/Authorization": "db/password"}
    assert order.attempt.key.endswith("/job/-/1")
    assert not order.resend


def test_the_same_work_has_the_same_key_and_name_whoever_begins_it():
    now, later = Stage(), Stage()
    later.crash()
    later.wait(timedelta(days=3))
    begun = []
    for made in (now, later):
        made.commit({"jobs": {"one": JOB}, "tasks": {"t": {"spec": {"job": "one"}}}})
        made.turn()
        begun.append(made.task().attempts["job"])

    assert begun[0].epoch != begun[1].epoch
    assert (begun[0].key, begun[0].name) == (begun[1].key, begun[1].name)
    assert begun[0].name == external_name(begun[0].key)


def test_an_attempt_carries_the_epoch_of_the_controller_that_means_it():
    made = stage({**JOB, "retry": {"limit": 1, "every": "1s"}})
    first = made.task().attempts["job"].epoch
    made.crash()
    made.turn([made.report("job", Ended(succeeded=False, message="no"))])
    made.wait(SECOND)
    made.turn()

    assert (first, made.task().attempts["job"].epoch) == (1, 2)


@pytest.mark.parametrize(("resends", "seconds"), [(0, 0), (1, 5), (2, 10), (59, 295), (60, 300), (1000, 300)])
def test_a_resend_waits_ever_longer_up_to_five_minutes(resends, seconds):
    made = stage({"http": {"url": "http://api/"}})
    unit = made.observed().program(made.task().record).nodes["job"].unit
    attempt = replace(made.task().attempts["job"], resends=resends)
    assert unit

    assert resend_at(attempt, unit, START) == START + timedelta(seconds=seconds)


def test_a_resend_never_comes_without_a_pause_however_short_the_interval():
    made = stage({"http": {"url": "http://api/"}, "every": "10ms"})
    made.turn([made.report("job", Unknown("reset"))])

    planned = made.turn([made.report("job", Unknown("reset"))])

    assert not planned.orders
    assert made.task().wake_at == START + SECOND


def test_retries_double_up_to_their_most_and_never_overflow():
    retry = {"limit": "unlimited", "every": "1s", "backoff": 100, "maxEvery": "1m"}
    made = stage({**JOB, "retry": retry})
    waits = []
    for _ in range(70):
        made.turn([made.report("job", Ended(succeeded=False, message="no"))])
        wake = made.task().wake_at
        assert wake
        waits.append((wake - made.now).total_seconds())
        made.now = wake
        made.turn()

    assert waits[:3] == [1, 60, 60]
    assert set(waits[1:]) == {60}


def test_a_lost_attempt_does_not_count_against_the_retries():
    made = stage({**JOB, "onLost": "retry", "retry": {"limit": 1, "every": "1s"}})
    for _ in range(2):
        made.turn([made.report("job", Unknown("reset"))])
        made.turn([made.report("job", Unknown("nobody knows"))])
        made.now = made.task().wake_at or made.now
        made.turn()
    made.turn([made.report("job", Ended(succeeded=False, message="no"))])

    row = made.task().steps["job"]
    assert (row.phase, row.attempt, row.failures) == (StepPhase.RETRYING, 3, 1)


def test_a_poll_sends_the_next_number_and_a_resend_the_same():
    made = stage({"http": {"url": "http://api/"}, "until": "result.ok", "every": "1s"})
    made.turn([made.report("job", Ended(succeeded=True, result={}))])
    made.wait(SECOND)

    poll = made.turn()
    resend = made.turn([made.report("job", Unknown("reset"))])

    assert [change for change in poll.changes if isinstance(change, Called)] == [
        Called(made.task().record.uid, "job", 2)
    ]
    assert [(order.attempt.call, order.resend) for order in poll.orders] == [(2, False)]
    assert [(order.attempt.call, order.resend) for order in resend.orders] == [(2, True)]


def test_the_next_call_of_a_process_does_not_take_the_handle_of_the_one_before():
    made = stage({"process": {"command": ["check"]}, "until": "result.ok", "every": "1s"})
    made.turn([made.report("job", Running({"pid": 7}))])
    made.wait(SECOND)
    made.turn()
    made.turn([made.report("job", Ended(succeeded=True, result={}))])
    made.wait(SECOND)

    (order,) = made.turn().orders

    assert (order.verb, order.attempt.call, order.attempt.handle) == (Verb.START, 2, None)
    assert made.task().attempts["job"] == order.attempt


def test_stopping_goes_before_anything_else_and_says_why():
    made = stage({**JOB, "timeout": "10s"})
    made.wait(timedelta(seconds=10))

    planned = made.turn()

    (order,) = planned.orders
    (change,) = planned.changes
    assert order.verb is Verb.CANCEL
    assert isinstance(change, AttemptAdvanced)
    assert (change.signal, change.cause.kind, change.message) == (Signal.CANCEL, "timer", "its timeout has passed")


def test_the_rows_of_a_first_turn_are_all_there_is_to_know_after_a_restart():
    made = stage(workflow={"steps": {"a": {"job": "one"}, "b": {"job": "one", "needs": ["a"]}}})
    made.crash()

    planned = made.turn()

    assert [order.verb for order in planned.orders] == [Verb.OBSERVE]
    assert not planned.changes
