"""Seed 1's task document, key for key."""

import json
from datetime import timedelta

from reconciler.document import document
from state.phases import AttemptPhase, StepPhase, TaskPhase
from state.records import Pin
from tests.grade import START, attempt, done, grade, record, run, step

STEPS = {
    "step1": {"job": "api1", "with": {"name": "${{ params.name }}"}},
    "step2": {"calls": {"api2": {"job": "api2", "with": {"name": "${{ steps.step1.name }}"}}, "api3": {"job": "api3"}}},
}
PINS = (Pin("Workflow", "demo", "grade", "p1", json.dumps({"spec": {"steps": STEPS}}), "c0ffee", "grade.yaml"),)
SPAN = {"day": 1, "hour": 0}


def fields(*rows, task=None, now=START):
    return document(run(*rows, task=task), grade(), PINS, now)


def test_a_task_that_has_not_started_is_the_document_of_the_seed():
    shown = fields(task=record(TaskPhase.CREATED))

    assert list(shown) == [
        "_id", "system", "step_info", "remain_second", "expect_finish", "status", "process_msg", "last_access",
    ]  # fmt: skip
    assert (shown["_id"], shown["system"], shown["status"]) == ("grade-alice", "grade", "READY")
    assert (shown["remain_second"], shown["expect_finish"]) == (-1, None)
    assert shown["step_info"]["step1"] == {
        "expect_span": SPAN,
        "remain_second": -1,
        "api_status": {
            "api1": {"_id": "api1", "status": "READY", "args": {"name": "${{ params.name }}"}, "procmmsg": ""}
        },
        "status": "READY",
        "response": {},
    }
    assert list(shown["step_info"]["step2"]["api_status"]) == ["api2", "api3"]
    assert shown["step_info"]["step2"]["api_status"]["api2"]["args"] == {"name": "${{ steps.step1.name }}"}


def test_a_running_step_counts_down_and_shows_what_was_sent():
    polling = attempt("step2.api2", AttemptPhase.POLLING, answered=1, message="until is not true yet")
    rows = (done("step1", outputs={"name": "****"}), step("step2"), step("step2.api2"), polling)

    shown = fields(*rows, now=START + timedelta(hours=1))

    call = shown["step_info"]["step2"]["api_status"]["api2"]
    assert shown["status"] == "RUNNING"
    assert shown["expect_finish"] == "2026-11-25T06:00:00.000Z"
    assert shown["remain_second"] == shown["step_info"]["step2"]["remain_second"] == 23 * 3600
    assert shown["step_info"]["step1"]["response"] == {"name": "****"}
    assert (call["status"], call["args"]) == ("RUNNING", {"name": "****"})
    assert call["procmmsg"] == "step2.api2 polls again now: until is not true yet"


def test_an_overdue_step_goes_below_zero_and_its_state_stays():
    shown = fields(step("step1"), attempt("step1"), now=START + timedelta(days=1, seconds=30))

    assert shown["step_info"]["step1"]["remain_second"] == -30
    assert shown["step_info"]["step1"]["status"] == "RUNNING"


def test_a_finished_task_has_nothing_left():
    rows = [done(path) for path in ("step1", "step2", "step3", "step4")]

    shown = fields(*rows, task=record(TaskPhase.FINISHED, finished_at=START + timedelta(seconds=9)))

    assert (shown["status"], shown["remain_second"]) == ("FINISHED", 0)
    assert shown["last_access"] == "2026-11-22T06:00:09.000Z"


def test_the_other_states_have_the_words_of_the_seed():
    words = {
        phase: fields(task=record(phase))["status"]
        for phase in (TaskPhase.FAILED, TaskPhase.REVOKED, TaskPhase.SUSPENDED, TaskPhase.UNADOPTED)
    }

    assert list(words.values()) == ["FAILED", "STOPPED", "SUSPENDED", "READY"]


def test_a_failed_call_says_why():
    shown = fields(step("step1", StepPhase.FAILED, message="status 500"), task=record(TaskPhase.FAILED))

    assert shown["step_info"]["step1"]["api_status"]["api1"]["procmmsg"] == "step1 failed: status 500"
    assert shown["process_msg"].startswith(
        "step1 failed: status 500; to go on: `reconciler retry demo/grade-alice step1`"
    )
