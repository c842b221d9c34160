"""What each observation means in each phase of an attempt, as one table, and the cases that a table cannot hold."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.actions import Verb
from reconciler.drivers.protocol import Ended, NoNews, NotStarted, Observation, Running, Unknown
from reconciler.judgement import judge
from reconciler.observed import Limits
from state.changes import AttemptAdvanced, Cleaned, StepAdvanced, TaskAdvanced, apply_one
from state.phases import AttemptPhase as Phase
from state.phases import Signal, TaskPhase
from state.records import Cause, TaskSnapshot
from tests.stage import Stage

UNTIL = {"until": "result.ok", "every": "5s"}
GET = {"http": {"url": "http://api/"}, "outputs": {"age": "result.age"}}
POST = {"http": {"method": "POST", "url": "http://api/"}}
PROCESS = {"process": {"command": ["run"]}}
DONE = Ended(succeeded=True, result={"ok": True, "age": 1})
NOT_YET = Ended(succeeded=True, result={"ok": False})
FAILED = Ended(succeeded=False, message="status 500", code=500)
REFUSED = Ended(succeeded=False, message="policy", repeatable=False)
STOPPED = Ended(succeeded=False, message="SIGTERM", cancelled=True)
LATE = Ended(succeeded=False, message="too late", timed_out=True)
RUNNING = Running({"id": 1}, 2.0)
NEVER = NotStarted("no mark")
DOWN = NotStarted("connection refused", refused=True)
LOST = Unknown("cut off")


def at(phase: Phase, job: dict[str, Any], *, revoking: bool = False) -> Stage:
    """A stage with one attempt of `job` in that phase, its call in flight unless it was answered."""
    stage = Stage()
    stage.commit({"jobs": {"one": job}, "tasks": {"t": {"spec": {"job": "one"}}}})
    stage.settle()
    if phase is Phase.PREPARED:
        stage.judge(stage.report("job", RUNNING, prepared=True))
    if phase in {Phase.STARTED, Phase.CANCELLING}:
        stage.judge(stage.report("job", RUNNING))
    if phase is Phase.POLLING:
        stage.judge(stage.report("job", NOT_YET))
        stage.wait(timedelta(seconds=5))
        stage.settle()
    if revoking:
        stage.turn(asked=[TaskAdvanced(stage.task().record.uid, Signal.REVOKE, Cause("commit"))])
    elif phase is Phase.CANCELLING:
        uid = stage.task().record.uid
        why = "its timeout has passed"
        stage.turn(asked=[AttemptAdvanced(uid, "job", Signal.CANCEL, Cause("timer"), message=why)])
    assert stage.task().attempts["job"].phase is (Phase.CANCELLING if revoking else phase)
    return stage


def after(stage: Stage, seen: Observation, **about: Any) -> TaskSnapshot:
    stage.judge(stage.report("job", seen, **about))
    return stage.task()


def looked_up(stage: Stage) -> Stage:
    """The same stage after a lost reply, when the target has been asked what became of the call."""
    stage.turn([stage.report("job", LOST)])
    return stage


ACTIVE = (Phase.INTENT, Phase.PREPARED, Phase.STARTED, Phase.POLLING)
PLAIN = [
    (DONE, Phase.SUCCEEDED),
    (FAILED, Phase.FAILED),
    (REFUSED, Phase.FAILED),
    (STOPPED, Phase.FAILED),
    (LATE, Phase.TIMED_OUT),
    (RUNNING, Phase.STARTED),
    (DOWN, Phase.FAILED),
    (NOT_YET, Phase.POLLING),
]
STOPPING = [
    (DONE, Phase.SUCCEEDED),
    (NOT_YET, Phase.TIMED_OUT),
    (FAILED, Phase.FAILED),
    (STOPPED, Phase.TIMED_OUT),
    (LATE, Phase.TIMED_OUT),
    (RUNNING, Phase.CANCELLING),
    (NEVER, Phase.TIMED_OUT),
    (DOWN, Phase.TIMED_OUT),
]


@pytest.mark.parametrize("phase", ACTIVE)
@pytest.mark.parametrize(("seen", "expected"), PLAIN)
def test_what_a_target_says_of_work_under_way(phase, seen, expected):
    stage = at(phase, PROCESS | UNTIL)

    task = after(stage, seen)

    assert task.attempts["job"].phase is expected


@pytest.mark.parametrize("phase", [Phase.INTENT, Phase.PREPARED, Phase.POLLING])
def test_a_lost_reply_is_looked_up_before_it_counts_as_lost(phase):
    stage = at(phase, PROCESS | UNTIL)

    stage.turn([stage.report("job", LOST)])

    (order,) = stage.flying.values()
    assert (order.verb, stage.task().attempts["job"].phase) == (Verb.OBSERVE, phase)
    assert after(stage, LOST).attempts["job"].phase is Phase.LOST


def test_work_that_ran_and_cannot_be_seen_any_more_is_lost_at_once():
    stage = at(Phase.STARTED, PROCESS)

    task = after(stage, LOST)

    assert task.attempts["job"].phase is Phase.LOST


def test_work_that_goes_on_after_it_was_told_to_end_and_then_vanishes_is_lost():
    stage = at(Phase.STARTED, PROCESS, revoking=True)
    stage.turn([stage.report("job", RUNNING)])

    task = after(stage, LOST, verb=Verb.CANCEL)

    assert task.attempts["job"].phase is Phase.LOST


@pytest.mark.parametrize("verb", [Verb.START, Verb.OBSERVE])
@pytest.mark.parametrize("seen", [NEVER, DOWN, LOST])
def test_what_was_asked_before_the_stop_and_says_nothing_waits_for_the_word_about_the_stop(seen, verb):
    stage = at(Phase.CANCELLING, PROCESS)

    stage.judge(stage.report("job", seen, verb=verb))
    assert stage.task().attempts["job"].phase is Phase.CANCELLING

    stopped = after(stage, Ended(succeeded=False, cancelled=True, cleanup=True), verb=Verb.CANCEL)
    assert stopped.attempts["job"].phase is Phase.TIMED_OUT
    assert stopped.attempts["job"].cleanup


@pytest.mark.parametrize(("seen", "expected"), STOPPING)
def test_what_a_target_says_of_work_that_was_told_to_end(seen, expected):
    stage = at(Phase.CANCELLING, PROCESS | UNTIL)

    task = after(stage, seen)

    assert task.attempts["job"].phase is expected


@pytest.mark.parametrize(("seen", "expected"), STOPPING)
def test_the_end_of_a_revoked_attempt_is_cancelled_where_else_its_time_was_over(seen, expected):
    stage = at(Phase.INTENT, PROCESS | UNTIL, revoking=True)

    task = after(stage, seen)

    late = seen is LATE
    assert task.attempts["job"].phase is (Phase.CANCELLED if expected is Phase.TIMED_OUT and not late else expected)


@pytest.mark.parametrize("phase", [Phase.INTENT, Phase.PREPARED, Phase.POLLING])
def test_what_was_proven_not_to_have_started_goes_out_again_at_once(phase):
    stage = at(phase, PROCESS | UNTIL)

    task = after(stage, NEVER)

    attempt = task.attempts["job"]
    assert (attempt.phase, attempt.in_flight, attempt.wake_at) == (phase, True, stage.now)


def test_proof_of_no_start_for_what_ran_already_is_an_unknown_outcome():
    stage = at(Phase.STARTED, PROCESS)

    task = after(stage, NEVER)

    assert task.attempts["job"].phase is Phase.LOST
    assert task.attempts["job"].message == "it ran, and now the target says: no mark"


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (GET, Phase.INTENT),
        (GET | {"onLost": "hold"}, Phase.LOST),
        (GET | {"onLost": "fail"}, Phase.LOST),
        (POST, Phase.LOST),
        (POST | {"onLost": "retry"}, Phase.LOST),
        ({"http": {"method": "POST", "url": "http://api/", "idempotent": True}, "onLost": "retry"}, Phase.INTENT),
        ({"http": {"method": "POST", "url": "http://api/", "idempotent": True}}, Phase.LOST),
        (PROCESS | {"onLost": "retry"}, Phase.LOST),
    ],
)
def test_a_lost_reply_is_asked_for_again_only_where_the_target_deduplicates_and_the_author_says_so(job, expected):
    stage = looked_up(at(Phase.INTENT, job))

    task = after(stage, LOST)

    assert task.attempts["job"].phase is expected


@pytest.mark.parametrize("phase", [Phase.INTENT, Phase.PREPARED, Phase.STARTED])
def test_who_cannot_be_asked_now_changes_only_what_it_waits_for(phase):
    stage = at(phase, PROCESS)
    before = stage.task().attempts["job"]

    task = after(stage, NoNews("the engine is away", 10.0), verb=Verb.OBSERVE)

    attempt = task.attempts["job"]
    assert (attempt.phase, attempt.in_flight, attempt.handle) == (phase, before.in_flight, before.handle)
    assert attempt.message == "the engine is away"
    assert attempt.wake_at == (None if attempt.in_flight else stage.now + timedelta(seconds=10))
    assert after(stage, DONE, verb=Verb.OBSERVE).attempts["job"].phase is Phase.SUCCEEDED


def test_a_stop_waits_for_the_word_about_itself_and_not_for_who_cannot_be_asked():
    stage = at(Phase.CANCELLING, PROCESS)
    before = stage.task().attempts["job"]

    assert after(stage, NoNews("the engine is away"), verb=Verb.OBSERVE).attempts["job"] == before


def test_stopping_a_poll_between_its_calls_leaves_nothing_unknown():
    stage = at(Phase.INTENT, POST | UNTIL)
    stage.judge(stage.report("job", NOT_YET))
    stage.turn(asked=[TaskAdvanced(stage.task().record.uid, Signal.REVOKE, Cause("commit"))])

    task = after(stage, LOST)

    assert task.attempts["job"].phase is Phase.CANCELLED


def test_stopping_a_call_in_flight_that_nobody_can_look_up_is_lost():
    stage = at(Phase.INTENT, POST, revoking=True)

    task = after(stage, LOST)

    assert task.attempts["job"].phase is Phase.LOST
    assert task.attempts["job"].message == "revoked; cut off"


@pytest.mark.parametrize("about", [{"attempt": 2}, {"call": 2}, {"attempt": 7, "call": 7}])
def test_a_report_about_another_call_changes_nothing(about):
    stage = at(Phase.INTENT, GET)

    said = stage.judge(stage.report("job", DONE, **about))

    assert said == ()


@pytest.mark.parametrize(("seen", "prepared"), [(RUNNING, True), (RUNNING, False), (NOT_YET, False)])
def test_a_doubled_report_about_a_call_that_was_answered_hastens_no_other_call(seen, prepared):
    stage = at(Phase.INTENT, PROCESS | UNTIL)
    polled = after(stage, NOT_YET)

    assert after(stage, seen, prepared=prepared) == polled


def test_a_report_about_an_ended_attempt_changes_nothing():
    stage = at(Phase.INTENT, GET)
    stage.judge(stage.report("job", FAILED))

    said = stage.judge(stage.report("job", DONE))

    assert said == ()


def test_a_report_about_a_step_without_an_attempt_changes_nothing():
    stage = at(Phase.INTENT, GET)
    report = replace(stage.report("job", DONE), path="nothing")

    said = stage.judge(report)

    assert said == ()


def test_a_handle_is_recorded_before_the_start():
    stage = at(Phase.INTENT, PROCESS)

    task = after(stage, Running({"id": 3}), prepared=True)

    attempt = task.attempts["job"]
    assert (attempt.phase, attempt.handle, attempt.in_flight) == (Phase.PREPARED, {"id": 3}, True)


def test_work_that_runs_is_looked_at_again_when_the_target_says_so():
    stage = at(Phase.INTENT, PROCESS)

    task = after(stage, Running({"id": 3}, 7.0))

    attempt = task.attempts["job"]
    assert (attempt.handle, attempt.wake_at) == ({"id": 3}, stage.now + timedelta(seconds=7))
    assert not attempt.in_flight


def test_a_poll_keeps_the_answer_and_says_what_it_waits_for():
    stage = at(Phase.INTENT, GET | UNTIL)

    task = after(stage, NOT_YET)

    attempt = task.attempts["job"]
    assert attempt.answer == {"ok": False}
    assert attempt.message == "until is not true yet: result.ok"
    assert attempt.wake_at == stage.now + timedelta(seconds=5)


def test_what_another_attempt_cannot_mend_ends_the_step_at_once():
    stage = at(Phase.INTENT, GET | {"retry": {"limit": 5}})

    said = stage.judge(stage.report("job", REFUSED))

    assert [type(change) for change in said] == [AttemptAdvanced, StepAdvanced]
    assert stage.task().steps["job"].reason == "Refused"


@pytest.mark.parametrize(
    ("value", "limit", "message"),
    [
        ("x" * 100, 50, "OutputTooLarge: the outputs are larger than 50 bytes"),
        ("x" * 70_000, 64 * 1024, "outputs: over the budget of an expression"),
    ],
)
def test_outputs_beyond_the_limit_fail_the_attempt_and_say_so(value, limit, message):
    stage = at(Phase.INTENT, GET)
    stage.limits = Limits(output_bytes=limit)

    task = after(stage, Ended(succeeded=True, result={"age": value}))

    assert task.attempts["job"].phase is Phase.FAILED
    assert task.attempts["job"].message.startswith(message)
    assert task.attempts["job"].outputs is None


@pytest.mark.parametrize("depth", [61, 62, 63, 64, 65, 66])
def test_outputs_of_any_depth_end_the_attempt_and_never_the_turn(depth):
    nested: Any = 1
    for _ in range(depth):
        nested = [nested]
    stage = at(Phase.INTENT, GET)

    task = after(stage, Ended(succeeded=True, result={"age": nested}))

    assert task.attempts["job"].ended


def test_cleaning_up_is_recorded_for_the_attempt_that_was_cleaned():
    stage = at(Phase.INTENT, PROCESS)
    stage.turn([stage.report("job", replace(FAILED, cleanup=True))])
    uid = stage.task().record.uid
    (order,) = stage.flying.values()

    said = stage.judge(stage.report("job", Ended(succeeded=True), verb=Verb.CLEAN, attempt=order.attempt.number))

    assert said == (Cleaned(uid, "job", 1),)
    assert not stage.task().attempts["job"].cleanup


def test_judging_never_changes_what_it_is_given():
    stage = at(Phase.INTENT, GET)
    task, program = stage.task(), stage.observed().program(stage.task().record)
    report = stage.report("job", DONE)

    first = judge(report, task, program, Limits(), stage.now)
    second = judge(report, task, program, Limits(), stage.now)

    assert first == second
    assert stage.task() is task
    (change,) = first
    assert apply_one(task, change, stage.now)[0].attempts["job"].outputs == {"age": 1}


def test_a_suspended_task_still_takes_the_word_of_its_targets():
    stage = at(Phase.INTENT, GET)
    stage.turn(asked=[TaskAdvanced(stage.task().record.uid, Signal.SUSPEND, Cause("commit"))])

    stage.turn([stage.report("job", DONE)])

    assert stage.task().record.phase is TaskPhase.FINISHED
