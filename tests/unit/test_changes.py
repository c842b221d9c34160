from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.changes import (
    Admitted,
    AttemptAdvanced,
    Called,
    Change,
    Cleaned,
    Controlled,
    Intended,
    Retired,
    StepAdvanced,
    TaskAdvanced,
)
from state.fold import apply
from state.phases import AttemptPhase, IllegalTransition, Signal, StepPhase, TaskPhase
from state.records import Snapshot, TaskSnapshot
from state.room import QUEUED_FOR_GROUP, Usage
from tests.histories import COMMIT, SEEN, START, admitted, attempt, begun, ended, possible, task

ALICE = task("alice")
UID = ALICE.uid
LATER = START + timedelta(seconds=5)


def after(*changes, at=START, snapshot=None):
    return apply(snapshot or Snapshot(), changes, at)


def test_an_admitted_task_is_there_and_its_event_names_the_commit():
    applied = after(admitted(ALICE))
    assert applied.snapshot.tasks == {UID: TaskSnapshot(ALICE)}
    (event,) = applied.events
    assert (event.subject, event.before, event.after, event.cause) == ("task", "", "created", COMMIT)
    assert applied.tasks == {UID}


def test_a_change_of_an_unknown_task_is_a_key_error():
    with pytest.raises(KeyError):
        after(TaskAdvanced(UID, Signal.START, SEEN))


def test_a_pinned_task_is_not_admitted_again():
    with pytest.raises(IllegalTransition, match="admitted before"):
        after(admitted(ALICE), admitted(ALICE))


def test_a_task_whose_definitions_were_rejected_is_admitted_again_with_its_pins():
    waiting = task("alice", pinned=False, reason="DefinitionRejected")
    applied = after(admitted(waiting), admitted(ALICE))
    assert applied.snapshot.tasks[UID].record == ALICE


def test_a_start_keeps_the_first_time_and_an_end_its_own():
    first = after(*begun(ALICE)).snapshot
    second = after(*ended(UID, outputs={"a": 1}), at=LATER, snapshot=first).snapshot
    record, step = second.tasks[UID].record, second.tasks[UID].steps["step1"]
    assert (record.started_at, record.finished_at) == (START, LATER)
    assert (step.started_at, step.finished_at) == (START, LATER)
    assert record.outputs == {"a": 1}


def test_news_of_a_finished_task_do_not_move_its_end():
    done = after(*begun(ALICE), *ended(UID)).snapshot
    told = after(TaskAdvanced(UID, None, SEEN, message="looked at"), at=LATER, snapshot=done)
    assert told.snapshot.tasks[UID].record.finished_at == START
    assert told.events == ()


def test_an_attempt_raises_usage_and_its_end_lowers_it():
    begin = after(*begun(ALICE)).snapshot
    assert begin.usage == Usage(1, {"demo": 1}, {"http": 1}, {"api": 1})
    assert after(*ended(UID), snapshot=begin).snapshot.usage == Usage()


def test_an_attempt_that_waits_for_its_next_poll_is_in_its_group_but_not_busy():
    begin = after(*begun(ALICE)).snapshot
    polled = after(AttemptAdvanced(UID, "step1", Signal.POLL, SEEN, answered=1, wake_at=LATER), snapshot=begin).snapshot
    assert polled.usage == Usage(0, {}, {}, {"api": 1})
    called = after(Called(UID, "step1", 2), snapshot=polled).snapshot
    assert called.usage == begin.usage
    assert called.tasks[UID].attempts["step1"].wake_at is None


def test_a_task_has_its_place_in_its_group_from_its_begin_to_its_end_and_not_in_line():
    grouped = replace(ALICE, group="main")
    line = after(admitted(grouped), TaskAdvanced(UID, Signal.QUEUE, SEEN, QUEUED_FOR_GROUP)).snapshot
    begin = after(TaskAdvanced(UID, Signal.START, SEEN), snapshot=line).snapshot
    kept = after(
        TaskAdvanced(UID, Signal.SUSPEND, SEEN), TaskAdvanced(UID, Signal.REVOKE, SEEN), snapshot=begin
    ).snapshot
    over = after(TaskAdvanced(UID, Signal.STOP, SEEN), snapshot=kept).snapshot
    assert (line.usage.runs, line.tasks[UID].record.in_line) == ({}, True)
    assert begin.usage.runs == kept.usage.runs == {"main": 1}
    assert not begin.tasks[UID].record.in_line
    assert (over.usage.runs, over.tasks[UID].record.entered) == ({}, False)


def test_a_task_that_failed_and_goes_on_has_to_ask_for_its_place_again():
    grouped = replace(ALICE, group="main")
    failed = after(admitted(grouped), TaskAdvanced(UID, Signal.START, SEEN), TaskAdvanced(UID, Signal.FAIL, SEEN))
    again = after(TaskAdvanced(UID, Signal.RETRY, SEEN, deadline=LATER), snapshot=failed.snapshot).snapshot
    line = after(TaskAdvanced(UID, Signal.QUEUE, SEEN, QUEUED_FOR_GROUP), snapshot=again).snapshot
    assert (again.usage.runs, again.tasks[UID].record.in_line) == ({}, True)
    assert (line.tasks[UID].record.phase, line.tasks[UID].wake_at) == (TaskPhase.CREATED, None)
    assert after(TaskAdvanced(UID, Signal.START, SEEN), snapshot=line).snapshot.usage.runs == {"main": 1}


def test_a_step_that_runs_a_workflow_has_its_place_while_it_runs_and_no_group_afterwards():
    path = "deploy"
    queued = StepAdvanced(UID, path, Signal.QUEUE, SEEN, QUEUED_FOR_GROUP, group="main")
    line = after(admitted(ALICE), queued).snapshot
    runs = after(StepAdvanced(UID, path, Signal.START, SEEN), snapshot=line).snapshot
    over = after(StepAdvanced(UID, path, Signal.SUCCEED, SEEN), snapshot=runs).snapshot
    assert [each.usage.runs for each in (line, runs, over)] == [{}, {"main": 1}, {}]
    assert [each.tasks[UID].steps[path].group for each in (line, runs, over)] == ["main", "main", ""]


def test_a_resend_is_the_same_call_and_is_counted():
    begin = after(*begun(ALICE)).snapshot
    twice = after(Called(UID, "step1", 1, resend=True), Called(UID, "step1", 1, resend=True), snapshot=begin).snapshot
    assert (twice.tasks[UID].attempts["step1"].call, twice.tasks[UID].attempts["step1"].resends) == (1, 2)
    assert after(Called(UID, "step1", 2), snapshot=twice).snapshot.tasks[UID].attempts["step1"].resends == 0


@pytest.mark.parametrize("number", [1, 2])
def test_an_attempt_does_not_follow_an_unfinished_one_nor_take_its_number(number):
    begin = after(*begun(ALICE)).snapshot
    if number == 1:
        begin = after(AttemptAdvanced(UID, "step1", Signal.FAIL, SEEN), snapshot=begin).snapshot
    with pytest.raises(IllegalTransition, match="cannot follow"):
        after(Intended(attempt(UID, number=number), SEEN), snapshot=begin)


@pytest.mark.parametrize("change", [AttemptAdvanced(UID, "step1", None, SEEN, message="late"), Called(UID, "step1", 2)])
def test_an_ended_attempt_takes_no_news(change):
    done = after(*begun(ALICE), *ended(UID)).snapshot
    with pytest.raises(IllegalTransition, match="never changes"):
        after(change, snapshot=done)


def test_a_cleaned_attempt_has_nothing_left_and_an_older_one_is_not_mistaken_for_it():
    left = AttemptAdvanced(UID, "step1", Signal.FAIL, SEEN, cleanup=True)
    failed = after(*begun(ALICE), left).snapshot
    assert not after(Cleaned(UID, "step1", 1), snapshot=failed).snapshot.tasks[UID].attempts["step1"].cleanup
    again = after(Intended(attempt(UID, number=2, cleanup=True), SEEN), snapshot=failed).snapshot
    assert after(Cleaned(UID, "step1", 1), snapshot=again).snapshot.tasks[UID].attempts["step1"].cleanup


def test_both_attempts_of_one_commit_are_written():
    applied = after(
        *begun(ALICE), AttemptAdvanced(UID, "step1", Signal.FAIL, SEEN), Intended(attempt(UID, number=2), SEEN)
    )
    assert [(each.number, each.phase) for each in applied.attempts] == [
        (1, AttemptPhase.FAILED),
        (2, AttemptPhase.INTENT),
    ]
    assert applied.snapshot.tasks[UID].steps["step1"].attempt == 2


def test_a_control_changes_what_the_file_says_and_no_phase():
    said = Controlled(UID, "new", {"state": "suspended"}, {"SpecDrift": "differs"}, "revoke", COMMIT)
    applied = after(admitted(ALICE), said)
    record = applied.snapshot.tasks[UID].record
    assert (record.digest, record.control, record.delete_policy) == ("new", {"state": "suspended"}, "revoke")
    assert (record.phase, record.spec_digest) == (TaskPhase.CREATED, "spec")
    assert [(event.before, event.after) for event in applied.events] == [("", "created"), ("created", "created")]


def test_a_task_is_retired_only_when_it_is_over_and_on_its_own():
    with pytest.raises(IllegalTransition, match="not over"):
        after(admitted(ALICE), Retired(UID, COMMIT))
    done = after(*begun(ALICE), *ended(UID)).snapshot
    with pytest.raises(IllegalTransition, match="on its own"):
        after(TaskAdvanced(UID, None, SEEN), Retired(UID, COMMIT), snapshot=done)
    assert after(Retired(UID, COMMIT), snapshot=done).snapshot.tasks == {}


def test_a_task_wakes_at_the_earliest_of_its_times():
    deadline, retry = START + timedelta(hours=1), START + timedelta(minutes=1)
    begin = after(*begun(ALICE), TaskAdvanced(UID, None, SEEN, deadline=deadline)).snapshot
    assert begin.tasks[UID].wake_at == deadline
    failed = after(
        AttemptAdvanced(UID, "step1", Signal.FAIL, SEEN),
        StepAdvanced(UID, "step1", Signal.RETRY, SEEN, wake_at=retry, failed=True),
        snapshot=begin,
    ).snapshot
    assert failed.tasks[UID].wake_at == retry
    assert (failed.tasks[UID].steps["step1"].phase, failed.tasks[UID].steps["step1"].failures) == (
        StepPhase.RETRYING,
        1,
    )


@given(data=st.data())
def test_applying_together_is_applying_one_after_the_other(data):
    whole, single = Snapshot(), Snapshot()
    events: list[Change] = []
    for second in range(12):
        at = START + timedelta(seconds=second)
        change = data.draw(st.sampled_from(possible(single, set(), at)))
        if not isinstance(change, Retired):
            applied = apply(single, [change], at)
            single, events = applied.snapshot, [*events, change]
    whole = apply(whole, events, START).snapshot
    assert whole.usage == single.usage
    assert {uid: each.record.phase for uid, each in whole.tasks.items()} == {
        uid: each.record.phase for uid, each in single.tasks.items()
    }


@given(data=st.data())
def test_applying_changes_nothing_that_was_given(data):
    snapshot = after(*begun(ALICE)).snapshot
    before = replace(snapshot)
    apply(snapshot, [data.draw(st.sampled_from(possible(snapshot, set(), LATER)))], LATER)
    assert snapshot == before
    assert isinstance(before.tasks[UID], TaskSnapshot)


def test_admission_carries_the_record_as_it_is():
    change = admitted(task("bob", run=2))
    assert isinstance(change, Admitted)
    assert after(change).snapshot.tasks[change.task.uid].record is change.task
