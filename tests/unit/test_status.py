"""What everybody reads, as a function of rows and time."""

import json
from dataclasses import replace
from datetime import timedelta
from time import thread_time

import pytest

from definitions.expressions import template
from definitions.program import Each, Pause, Program
from reconciler import status
from reconciler.expectation import expected_finish, expected_span
from reconciler.waiting import duration_text, task_sentence
from state.phases import AttemptPhase, StepPhase, TaskPhase
from state.records import Cause, DefinitionRecord, Event, SourceRecord, StepRecord
from state.room import Holder, Line
from tests.grade import DAY, START, UID, attempt, done, grade, node, parallel, record, run, step

NOW = START + timedelta(seconds=10)


def sentence(*rows, task=None, program=None, now=NOW):
    return task_sentence(run(*rows, task=task), program or grade(), now)


# --- the waiting sentence


def test_a_poll_says_when_it_asks_again_and_what_was_not_true_yet():
    polling = attempt(
        "step2.api2",
        AttemptPhase.POLLING,
        answered=1,
        wake_at=NOW + timedelta(seconds=3.2),
        message="until is not true yet (result.age is None)",
    )
    rows = (done("step1"), step("step2"), step("step2.api2"), polling)

    said = sentence(*rows)

    assert said == "step2.api2 polls again in 4 s: until is not true yet (result.age is None)"


def test_a_poll_whose_time_has_come_says_now():
    polling = attempt("step1", AttemptPhase.POLLING, answered=1, wake_at=NOW - timedelta(seconds=1), message="not yet")

    assert sentence(step("step1"), polling) == "step1 polls again now: not yet"


def test_a_poll_in_flight_says_which_call_it_waits_for():
    polling = attempt("step1", AttemptPhase.POLLING, call=3, answered=2)

    assert sentence(step("step1"), polling) == "step1 waits for the answer to call 3 of attempt 1"


def test_a_running_attempt_says_by_what_and_for_how_long():
    assert sentence(step("step1"), attempt("step1")) == "step1 runs: attempt 1 by http, for 10 s"


def test_an_intent_says_that_it_is_being_started():
    assert (
        sentence(step("step1"), attempt("step1", AttemptPhase.INTENT))
        == "step1 is calling (attempt 1 by http, since 10 s)"
    )


def test_a_retry_says_when_and_what_failed():
    row = step("step1", StepPhase.RETRYING, wake_at=NOW + timedelta(seconds=5), message="status 500", failures=1)

    assert sentence(row) == "step1 tries again in 5 s: attempt 1 failed: status 500"


def test_a_queued_step_says_what_is_full():
    row = step("step1", StepPhase.QUEUED, message="64 of 64 calls in flight", attempt=0)

    assert sentence(row) == "step1 is queued: 64 of 64 calls in flight"


def test_a_failed_task_says_what_may_be_committed_about_its_step():
    rows = (step("step3", StepPhase.FAILED, attempt=1), attempt("step3", AttemptPhase.FAILED, message="status 500"))

    said = sentence(*rows, task=record(TaskPhase.FAILED))

    assert said == (
        "step3 failed: status 500; to go on: `reconciler retry demo/grade-alice step3`, "
        "or `reconciler skip demo/grade-alice step3 --reason …`"
    )


def test_a_lost_outcome_is_held_and_says_what_to_commit():
    rows = (
        step("step3", StepPhase.LOST, attempt=1),
        attempt("step3", AttemptPhase.LOST, message="the reply was cut off"),
    )

    said = sentence(*rows, task=record(TaskPhase.FAILED))

    assert (
        said
        == "held: the outcome of step3 attempt 1 is unknown: the reply was cut off; look at the target, then: `reconciler resolve demo/grade-alice step3 --attempt 1 --as succeeded|failed --reason …`"
    )


@pytest.mark.parametrize(
    ("phase", "says"),
    [
        (TaskPhase.REVOKING, "its task is being revoked"),
        (TaskPhase.REVOKED, "its task was revoked, which is final"),
        (TaskPhase.FINISHED, "its task has finished without it"),
    ],
)
def test_a_lost_outcome_of_a_task_that_listens_to_nothing_any_more_gives_no_advice_to_answer(phase, says):
    rows = (step("step3", StepPhase.LOST, attempt=1), attempt("step3", AttemptPhase.LOST, message="cut off"))

    shown = status.task(run(*rows, task=record(phase)), grade(), NOW)["status"]["steps"][2]

    unknown = "the outcome of step3 attempt 1 is unknown: cut off"
    assert shown["message"] == f"{unknown}; {says}: look at the target whether it still runs"


def test_what_is_part_of_a_skipped_step_says_that_it_was_not_started():
    shown = status.task(run(step("step2", StepPhase.SKIPPED)), grade(), NOW)["status"]["steps"][1]["steps"]

    assert [each["message"] for each in shown] == [
        "step2.api2 was not started: step2 was skipped",
        "step2.api3 was not started: step2 was skipped",
    ]


def test_what_has_not_begun_of_a_revoked_task_waits_for_nothing():
    revoked = record(TaskPhase.REVOKED)
    listed = step("each", StepPhase.CANCELLED, inputs={"items": [1, 2]})
    several = node("each", "api1", each=Each(template([1, 2]), 1))
    program = Program("Workflow", "list", {}, (several,), ("each",), nodes={"each": several})
    shown = status.task(run(listed, task=revoked), program, NOW)["status"]["steps"][0]
    tree = status.task(run(task=revoked), grade(), NOW)["status"]["steps"]

    assert [each["message"] for each in shown["steps"]] == [
        "each.0 was not started: its task was revoked",
        "each.1 was not started: its task was revoked",
    ]
    assert {each["message"].partition(" ")[2] for each in tree} == {"was not started: its task was revoked"}


def test_a_step_behind_another_says_for_which_it_waits():
    tree = status.task(run(step("step1"), attempt("step1")), grade(), NOW)["status"]["steps"]

    assert [each["message"] for each in tree[1:]] == [
        "step2 waits for step1",
        "step3 waits for step1 and step2",
        "step4 waits for step2 and step3",
    ]


def test_a_step_of_a_task_that_is_not_let_on_says_what_lets_it_on():
    sentences = {
        each.phase: status.task(run(step("step1", StepPhase.RETRYING, message="status 500"), task=each), grade(), NOW)[
            "status"
        ]["steps"][0]["message"]
        for each in (record(TaskPhase.SUSPENDED), record(TaskPhase.REMOVED))
    }
    unstarted = status.task(run(task=record(TaskPhase.SUSPENDED)), grade(), NOW)["status"]["steps"][0]["message"]
    held = status.task(run(task=record(TaskPhase.RUNNING, held="restored")), grade(), NOW)["status"]["steps"][0]

    assert unstarted == "step1 waits for its task to be resumed; to go on: `reconciler resume demo/grade-alice`"
    assert sentences[TaskPhase.SUSPENDED] == f"{unstarted}; before that: status 500"
    assert "put the file back" in sentences[TaskPhase.REMOVED]
    assert held["message"] == "step1 waits for its task to be adopted: `reconciler adopt`"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (Line(0), "; it is next"),
        (Line(1, (Holder("demo/a"),)), ", held by demo/a; 1 waits before it"),
        (Line(3, (Holder("demo/a"), Holder("demo/b"))), ", held by demo/a and demo/b; 3 wait before it"),
        (
            Line(2, tuple(Holder(f"x/{name}") for name in "abcd")),
            ", held by x/a, x/b, x/c and others; 2 wait before it",
        ),
        (
            Line(0, (Holder("demo/a", "failed", "deploy.eu", 2),)),
            (
                ", held by demo/a (its deploy.eu may still run: look at the target, then: `reconciler resolve demo/a deploy.eu "
                "--attempt 2 --as succeeded|failed --reason …`); it is next"
            ),
        ),
        (
            Line(0, (Holder("demo/a", "suspended"), Holder("demo/b", "removed"))),
            (
                ", held by demo/a (suspended; to go on: `reconciler resume demo/a`) and demo/b (its file was removed: "
                "put the file back to go on); it is next"
            ),
        ),
    ],
)
def test_what_stands_in_line_says_who_is_before_it(line, said):
    waits = step("step1", StepPhase.QUEUED, reason="QueuedForGroup", message="the group api is full: 1 of 1 calls")
    tried = step("step1", StepPhase.RETRYING, reason="QueuedForCapacity", message="status 500")
    queued = record(TaskPhase.CREATED, group="main", reason="QueuedForGroup", message="the group main is full: 1 of 1")
    at_step = [replace(run(each), lines={"step1": line}) for each in (waits, tried)]
    task = status.task(replace(run(task=queued), lines={"": line}), grade(), NOW)["status"]

    shown = [status.task(each, grade(), NOW)["status"] for each in at_step]

    assert shown[0]["message"] == f"step1 is queued: the group api is full: 1 of 1 calls{said}"
    assert shown[1]["message"] == f"step1 tries again now: attempt 1 failed: status 500{said}"
    assert task["message"] == f"the group main is full: 1 of 1{said}"
    assert task["ahead"] == shown[0]["steps"][0]["ahead"] == line.ahead
    assert shown[0]["ahead"] is None


FULL = {"reason": "QueuedForGroup", "message": "the group main is full: 1 of 1"}


@pytest.mark.parametrize("phase", [TaskPhase.CREATED, TaskPhase.RUNNING])
def test_what_runs_others_and_stands_in_line_is_what_its_task_waits_with_and_not_what_is_in_it(phase):
    line = Line(0, (Holder("demo/other"),))
    rows = (step("step1", StepPhase.SKIPPED), step("step2", StepPhase.QUEUED, **FULL))
    task = replace(run(*rows, task=record(phase)), lines={"step2": line})

    shown = status.task(task, grade(), NOW)["status"]

    said = "step2 is queued: the group main is full: 1 of 1, held by demo/other; it is next"
    assert (shown["message"], shown["reason"]) == (said, "QueuedForGroup")
    assert {each["message"] for each in shown["conditions"]} == {said, ""}
    assert [each["message"] for each in shown["steps"][1]["steps"]] == [
        "step2.api2 waits for step2 to begin",
        "step2.api3 waits for step2.api2",
    ]


def test_what_asks_for_the_place_again_that_it_had_is_what_its_task_waits_with():
    rows = (done("step1"), step("step2", **FULL), done("step2.api2"))

    assert sentence(*rows) == "step2 is queued again: the group main is full: 1 of 1"


def test_a_task_in_a_list_that_has_not_begun_says_which_of_its_steps_stands_in_line():
    task = run(step("step1", StepPhase.QUEUED, **FULL), task=record(TaskPhase.CREATED))

    shown = [status.summary(each, grade(), NOW)["status"] for each in (task, run(task=task.record))]

    assert [each["reason"] for each in shown] == ["QueuedForGroup", "Created"]
    assert shown[0]["message"] == "step1 is queued: the group main is full: 1 of 1"
    assert shown[1]["message"] == "starts in the next turn of the loop"


@pytest.mark.parametrize(
    ("phase", "fields", "failed"),
    [
        (StepPhase.RUNNING, {"attempt": 1}, 0),
        (StepPhase.RUNNING, {"attempt": 3}, 2),
        (StepPhase.SUCCEEDED, {"attempt": 3}, 2),
        (StepPhase.RETRYING, {"attempt": 2}, 2),
        (StepPhase.FAILED, {"attempt": 2}, 2),
        (StepPhase.LOST, {"attempt": 2}, 2),
        (StepPhase.FAILED, {"attempt": 0}, 1),
        (StepPhase.CANCELLED, {"attempt": 0}, 1),
        (StepPhase.WAITING, {"attempt": 0, "inputs": {"retried": 1}}, 1),
        (StepPhase.FAILED, {"attempt": 0, "inputs": {"retried": 1}}, 2),
        (StepPhase.FAILED, {"attempt": 1, "inputs": {"retried": 1}}, 2),
        (StepPhase.FAILED, {"attempt": 2, "inputs": {"retried": 1}}, 2),
    ],
)
def test_a_step_says_how_often_it_has_failed_with_and_without_attempts(phase, fields, failed):
    shown = status.task(run(step("step1", phase, **fields)), grade(), NOW)["status"]["steps"][0]

    assert shown["failed"] == failed


def test_a_step_far_behind_a_failure_names_the_failed_step():
    tree = status.task(run(step("step1", StepPhase.FAILED, attempt=1), task=record(TaskPhase.RUNNING)), grade(), NOW)

    said = [each["message"] for each in tree["status"]["steps"][1:]]
    assert said == [f"{name} waits behind step1, which failed" for name in ("step2", "step3", "step4")]


def test_a_step_whose_call_polls_says_the_sentence_of_the_call():
    polling = attempt("step2.api2", AttemptPhase.POLLING, answered=1, wake_at=NOW, message="not yet")
    rows = (done("step1"), step("step2"), step("step2.api2"), polling)

    shown = status.task(run(*rows), grade(), NOW)["status"]["steps"][1]

    assert shown["message"] == shown["steps"][0]["message"] == "step2.api2 polls again now: not yet"


def test_several_moving_steps_are_counted_behind_the_first():
    rows = (done("step1"), step("step2"), step("step2.api2"), attempt("step2.api2"), step("step3"), attempt("step3"))

    assert (
        sentence(*rows, program=parallel())
        == "step2.api2 runs: attempt 1 by http, for 10 s (and 1 other step under way)"
    )


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (record(TaskPhase.CREATED), "starts in the next turn of the loop"),
        (record(TaskPhase.CREATED, reason="DefinitionRejected", message="grade is rejected"), "grade is rejected"),
        (
            record(TaskPhase.SUSPENDED, control={"reason": "CHG-1"}),
            "suspended: CHG-1; to go on: `reconciler resume demo/grade-alice`",
        ),
        (record(TaskPhase.REMOVED), "its file was removed: nothing new starts; put the file back to go on"),
        (record(TaskPhase.REVOKING), "being revoked: 0 attempts still to stop"),
        (record(TaskPhase.FINISHED), ""),
    ],
)
def test_a_task_that_does_not_run_says_why(task, said):
    assert sentence(task=task) == said


def test_a_suspended_task_names_what_still_finishes():
    rows = (done("step1"), step("step3"), attempt("step3"))

    said = sentence(*rows, task=record(TaskPhase.SUSPENDED, control={"reason": "CHG-1", "until": "2026-11-22T06:00Z"}))

    assert said == "suspended: CHG-1, until 2026-11-22T06:00Z; step3 still finishes"


def test_every_phase_of_a_step_and_an_attempt_has_a_sentence():
    for phase in StepPhase:
        for attempt_phase in AttemptPhase:
            task = run(step("step1", phase), attempt("step1", attempt_phase))
            assert status.task(task, grade(), NOW)["status"]["steps"][0]["state"]
            assert isinstance(task_sentence(task, grade(), NOW), str)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.2, "1 s"), (59.5, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (90061, "1 d 1 h"), (-3, "0 s")],
)
def test_spans_are_written_in_two_units_at_most(seconds, text):
    assert duration_text(seconds) == text


# --- the tree


def test_the_tree_stands_in_flow_order_and_shows_what_has_not_started():
    tree = status.task(run(task=record(TaskPhase.CREATED)), grade(), NOW)["status"]["steps"]

    assert [each["path"] for each in tree] == ["step1", "step2", "step3", "step4"]
    assert [each["path"] for each in tree[1]["steps"]] == ["step2.api2", "step2.api3"]
    assert {each["state"] for each in tree} == {"CREATED"}


def test_a_step_behind_a_failed_one_is_created_while_its_task_has_failed():
    rows = (step("step1", StepPhase.FAILED, message="status 500", finished_at=NOW),)

    shown = status.task(run(*rows, task=record(TaskPhase.FAILED)), grade(), NOW)["status"]

    assert (shown["state"], shown["reason"], shown["steps"][0]["failed"]) == ("FAILED", "Failed", 1)
    assert shown["message"].startswith("step1 failed: status 500; to go on: `reconciler retry demo/grade-alice step1`")
    assert (shown["steps"][1]["state"], shown["steps"][1]["message"]) == (
        "CREATED",
        "step2 waits behind step1, which failed",
    )


def test_a_skipped_step_is_finished_and_says_skip():
    rows = (step("step1", StepPhase.SKIPPED, reason="ConditionFalse"),)

    shown = status.task(run(*rows), grade(), NOW)["status"]["steps"][0]

    assert (shown["state"], shown["skip"], shown["reason"]) == ("FINISHED", True, "ConditionFalse")


def test_a_step_that_failed_beside_its_calls_speaks_for_itself():
    rows = (
        done("step1"),
        done("step2.api2"),
        done("step2.api3"),
        step("step2", StepPhase.FAILED, message="outputs: no"),
    )

    said = sentence(*rows, task=record(TaskPhase.FAILED))

    assert said.startswith("step2 failed: outputs: no; to go on: `reconciler retry demo/grade-alice step2`")


def test_a_polling_task_has_that_reason_and_is_reconciling():
    rows = (step("step1"), attempt("step1", AttemptPhase.POLLING, answered=1))

    shown = status.task(run(*rows), grade(), NOW)["status"]

    met = {each["type"]: each["status"] for each in shown["conditions"]}
    assert shown["reason"] == "Polling"
    assert met == {"Ready": "False", "Reconciling": "True", "Stalled": "False"}


def test_a_finished_task_is_ready_and_a_held_one_stalled():
    finished = status.task(run(task=record(TaskPhase.FINISHED)), grade(), NOW)["status"]["conditions"]
    held = status.task(run(step("step1", StepPhase.LOST), task=record(TaskPhase.FAILED)), grade(), NOW)["status"]

    assert [each["status"] for each in finished] == ["True", "False", "False"]
    assert [each["status"] for each in held["conditions"]] == ["False", "False", "True"]
    assert held["reason"] == "Lost"


@pytest.mark.parametrize("phase", TaskPhase)
@pytest.mark.parametrize("rows", [(), (done("step1"), step("step2"), step("step2.api2", StepPhase.LOST))])
def test_a_list_says_of_a_task_what_the_task_says_itself(phase, rows):
    snapshot = run(*rows, task=record(phase))

    listed, whole = (show(snapshot, grade(), NOW)["status"] for show in (status.summary, status.task))

    assert {key: whole[key] for key in listed} == listed
    assert whole.keys() - listed.keys() == {"ahead", "definitions", "steps"}
    assert listed["progress"] == {"done": len(rows) // 3, "total": 6}


def test_what_a_skipped_task_never_ran_does_not_start_any_more():
    skipped = record(TaskPhase.FINISHED, reason="Skipped", message="skipped: the group main is full: 1 of 1")

    steps = status.task(run(task=skipped), grade(), NOW)["status"]["steps"]

    assert steps[0]["message"] == "step1 was not started: its task is over"


def test_what_waits_for_a_person_is_said_before_what_goes_on_by_itself():
    steps = (node("poll", "api1"), replace(node("ask"), kind="approval", pause=Pause()))
    program = Program("Workflow", "two", {}, steps, ("poll", "ask"), nodes={each.path: each for each in steps})
    rows = (step("poll"), attempt("poll"), step("ask", reason="WaitingForApproval", message="go on?"))

    shown = status.summary(run(*rows), program, NOW)["status"]

    assert shown["reason"] == "WaitingForApproval"
    assert shown["message"].startswith("ask waits for approval: go on?; to approve it: `reconciler approve ")
    assert shown["message"].endswith("(and 1 other step under way)")


def test_an_approval_of_a_task_without_its_file_waits_for_the_file_and_finishes_by_nobody():
    ask = replace(node("ask"), kind="approval", pause=Pause())
    program = Program("Workflow", "one", {}, (ask,), ("ask",), nodes={"ask": ask})
    waiting = step("ask", reason="WaitingForApproval", message="go on?")

    shown = status.task(run(waiting, task=record(TaskPhase.REMOVED)), program, NOW)["status"]

    assert shown["message"] == "its file was removed: nothing new starts; put the file back to go on"
    assert shown["steps"][0]["message"] == (
        "ask waits for approval: go on?; its file was removed: put the file back to go on"
    )


def test_conditions_that_the_controller_noted_come_after_the_three():
    shown = status.task(run(task=record(conditions={"SpecDrift": "the spec changed after admission"})), grade(), NOW)[
        "status"
    ]

    assert shown["conditions"][3] == {
        "type": "SpecDrift",
        "status": "True",
        "reason": "SpecDrift",
        "message": "the spec changed after admission",
    }


def test_an_object_has_the_form_of_the_files_and_says_which_bytes():
    shown = status.task(run(), grade(), NOW)

    assert list(shown) == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert shown["spec"] == {"workflow": "grade", "with": {"name": "alice"}}
    assert shown["status"]["source"] == {
        "name": "main",
        "trigger": "",
        "commit": "c0ffee",
        "path": "tasks/alice.yaml",
        "blob": "b10b",
        "author": "Ada",
        "email": "ada@example.org",
        "committer": "",
        "subject": "Grade Alice",
        "signer": "",
    }
    assert json.dumps(shown)


# --- what is expected


def test_parallel_steps_count_their_maximum_and_steps_in_order_add_up():
    assert expected_span(parallel(), {}) == 3 * DAY
    assert expected_span(grade(), {}) == 4 * DAY


def test_steps_drawn_side_by_side_count_their_maximum_although_one_waits_for_the_other():
    assert expected_finish(grade(), record()) == START + 3 * DAY
    assert expected_span(grade(), {}, ["step1", ["step2", ["step3", "step4"]]]) == 3 * DAY


def test_a_commit_changes_what_is_expected_of_one_run():
    assert expected_span(parallel(), {"steps": {"step3": {"expect": "2d"}}}) == 4 * DAY


def test_nothing_is_expected_before_the_start_or_without_any_expect():
    bare = Program("Workflow", "bare", {}, (node("a", "a"),), ("a",), nodes={"a": node("a", "a")})

    assert expected_finish(parallel(), record(TaskPhase.CREATED)) is None
    assert expected_finish(bare, record()) is None


def test_the_calls_of_a_step_add_up_when_the_step_says_nothing():
    calls = (node("a.x", "x", expect=DAY), node("a.y", "y", expect=DAY, after=("a.x",)))
    program = Program("Workflow", "w", {}, (node("a", children=calls),), ("a",))

    assert expected_span(program, {}) == 2 * DAY


def test_what_remains_falls_below_zero_when_overdue_and_is_zero_at_the_end():
    late = START + 3 * DAY + timedelta(hours=1)

    running = status.task(run(step("step1")), parallel(), late)["status"]
    ended = status.task(run(task=record(TaskPhase.FINISHED)), parallel(), late)["status"]

    assert running["expectedFinish"] == "2026-11-25T06:00:00.000Z"
    assert running["remainingSeconds"] == -3600
    assert ended["remainingSeconds"] == 0


# --- the other objects


def test_an_attempt_shows_its_request_and_its_code():
    shown = status.attempt(attempt("step1", AttemptPhase.SUCCEEDED, code=200, answer={"age": 3}), "grade-alice")

    assert shown["metadata"]["externalName"].startswith("rc-")
    assert (shown["status"]["code"], shown["status"]["exitCode"], shown["status"]["answer"]) == (200, None, {"age": 3})


def test_a_step_by_path_is_an_object_and_an_unknown_path_is_an_error():
    shown = status.step_object(run(), grade(), "step2.api2", NOW)

    assert (shown["kind"], shown["spec"]["job"], shown["status"]["path"]) == ("Step", "api2", "step2.api2")
    with pytest.raises(KeyError):
        status.step_object(run(), grade(), "step9", NOW)


def test_an_event_names_its_cause():
    cause = Cause("commit", "c0ffee", "Ada", "Grade Alice")
    row = Event(UID, START, "task", "", 0, "created", "running", "", "", cause, 7, "ab")

    shown = status.event(row, ("demo", "grade-alice"))

    assert (shown["sequence"], shown["cause"]["author"], shown["task"]) == (7, "Ada", "grade-alice")


def test_a_rejected_definition_shows_its_problems_beside_what_is_in_force():
    problem = {"file": "a.yaml", "line": 3, "column": 1, "code": "E-FIELD", "message": "no"}
    row = DefinitionRecord(
        "a.yaml", 0, "b", "c", "Job", "default", "a", "d", '{"spec":{"http":{}}}', accepted=False, problems=(problem,)
    )

    shown = status.definition(row)

    assert shown["kind"] == "Job"
    assert shown["spec"] == {"http": {}}
    assert (shown["status"]["accepted"], shown["status"]["inForce"], shown["status"]["problems"]) == (
        False,
        True,
        [problem],
    )


def test_a_source_with_a_condition_is_not_ready():
    unavailable = {"type": "Unavailable", "status": "True", "reason": "FetchFailed", "message": "no route"}

    bad = status.source(SourceRecord("main", "/r", "main", ".", "c0ffee", conditions=(unavailable,)))["status"]
    good = status.source(SourceRecord("main", "/r", "main", ".", "c0ffee"))["status"]

    assert [(each["type"], each["status"]) for each in bad["conditions"]] == [
        ("Ready", "False"),
        ("Unavailable", "True"),
    ]
    assert [(each["type"], each["status"]) for each in good["conditions"]] == [("Ready", "True")]


def test_the_status_of_500_steps_takes_less_than_10_ms_of_a_core():
    nodes = tuple(
        node(f"s{number}", "job", after=(f"s{number - 1}",) if number else (), expect=DAY) for number in range(500)
    )
    program = Program(
        "Workflow", "w", {}, nodes, tuple(each.path for each in nodes), nodes={each.path: each for each in nodes}
    )
    task = run(
        *(StepRecord(UID, each.path, StepPhase.SUCCEEDED, attempt=1) for each in nodes[:250]),
        step("s250"),
        attempt("s250"),
    )
    times = []
    for _ in range(50):
        begun = thread_time()
        status.task(task, program, NOW)
        times.append(thread_time() - begun)

    print(f"\n500 steps: median {sorted(times)[25] * 1000:.2f} ms, worst {max(times) * 1000:.2f} ms")
    assert sorted(times)[25] < 0.010 * 3  # the aim is 10 ms; a shared machine gets room
