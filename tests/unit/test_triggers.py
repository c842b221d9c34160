"""Firing as the planner decides it: at most one run for each slot whatever is lost, bounded whatever the clock does."""

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from definitions.desired import Complete
from definitions.patterns import matches
from definitions.slots import slot_name, slots_of
from reconciler.drivers.protocol import Ended
from reconciler.plan.due import CATCH_UP
from reconciler.plan.triggers import QUEUE
from reconciler.triggers import trigger as shown
from state.phases import TaskPhase, TriggerPhase
from state.records import DefinitionRecord, Event
from tests.stage import Stage

JOB = {"http": {"url": "http://api/"}}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def stage(**trigger: Any) -> Stage:
    """A stage with one trigger, `t`, which has been seen."""
    made = Stage()
    made.commit({"jobs": {"ask": JOB}, "triggers": {"t": body(**trigger)}})
    made.settle()
    return made


def body(*, control: Any = None, **spec: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "spec": {"task": {"job": "ask"}, **({} if "onChange" in spec else {"cron": "0 * * * *"}), **spec}
    }
    return whole | ({"control": control} if control else {})


def decided(made: Stage) -> list[str]:
    return [f"{each.path} {each.after}" for each in told(made)]


def told(made: Stage) -> list[Event]:
    return [each for each in made.events if each.subject == "trigger" and each.path]


def finish(made: Stage) -> None:
    """Whatever is under way ends well."""
    for order in list(made.flying.values()):
        name = order.task
        made.turn([made.report(order.attempt.path, Ended(succeeded=True), name)])


def test_a_slot_whose_trigger_row_was_lost_never_fires_again():
    made = stage()
    made.wait(HOUR)
    made.turn()
    finish(made)
    made.snapshot = replace(made.snapshot, triggers={})  # and the clock went back, so that the slot is due once more
    made.wait(-HOUR)
    made.looks.add(("demo", "t"))
    made.turn()
    made.wait(HOUR)

    lines = [str(each) for each in made.turn()]

    assert lines == ["~ demo/t 20261122T070000Z: skipped: the task t-20261122T070000Z ran before"]


def test_a_branch_that_is_set_back_to_where_a_trigger_fired_fires_nothing_and_the_trigger_says_so():
    made = stage(onChange=True)
    for commit, url in [("c2", "http://two/"), ("c3", "http://three/"), ("c2", "http://two/")]:
        made.commit({"jobs": {"ask": {"http": {"url": url}}}}, commit=commit)
        made.settle()
        finish(made)
    (record,) = made.snapshot.triggers.values()
    text = made.desired.library.trigger("demo", "t").text if isinstance(made.desired, Complete) else ""
    file = DefinitionRecord("t.yaml", 0, "", "c1", "Trigger", "demo", "t", record.digest, text, accepted=True)

    status = shown(record, file, told(made)[::-1], None, made.now)["status"]

    slot = status["last"][0]["slot"]
    assert [(each["outcome"], each["reason"]) for each in status["last"]] == [
        ("skipped", "AlreadyRan"),
        ("fired", "Fired"),
        ("fired", "Fired"),
    ]
    assert status["message"] == (
        f"fires when what its task runs with changes; not for {slot}, because the task t-{slot} ran before "
        "and a slot fires at most once"
    )


def test_a_slot_whose_task_rows_are_gone_too_is_known_by_its_tombstone():
    made = stage()
    made.wait(HOUR)
    made.turn()
    finish(made)
    made.forget("t-20261122T070000Z")
    made.snapshot = replace(made.snapshot, triggers={})
    made.wait(-HOUR)
    made.looks.add(("demo", "t"))
    made.turn()
    made.wait(HOUR)

    assert [each.changes[0].reason for each in made.turn()] == ["AlreadyRan"]


def test_a_task_of_a_trigger_says_who_made_it_and_why():
    made = stage()
    made.wait(HOUR)

    made.turn()

    record = made.task().record
    (event,) = [each for each in made.events if each.uid == record.uid and not each.before and each.subject == "task"]
    assert (event.cause.kind, event.cause.reference, event.cause.author) == ("trigger", "t@20261122T070000Z", "Ada")
    assert (record.origin.path, record.origin.author, record.trigger) == ("triggers/t.yaml", "Ada", "t")
    assert record.pins


def test_the_task_of_a_slot_begins_with_what_is_defined_when_it_fires():
    made = stage()
    made.wait(HOUR)
    made.commit({"jobs": {"ask": {"http": {"url": "http://api/new"}}}})

    made.turn()

    assert [attempt.request["url"] for attempt in made.attempts()] == ["http://api/new"]


def test_parameters_that_do_not_fit_any_more_fail_the_task_and_not_the_trigger():
    made = stage(task={"job": "ask", "with": {}})
    made.commit({"jobs": {"ask": {**JOB, "params": {"name": "string"}}}})
    made.wait(HOUR)
    made.turn()
    made.wait(HOUR)
    made.turn()

    assert [each.split()[1] for each in decided(made)] == ["fired", "fired"]
    assert made.task().record.reason == "ParamError"


def test_of_the_times_that_were_missed_no_more_than_the_last_hundred_fire():
    made = stage(cron="* * * * *", missed="all", overlap="queue")
    made.wait(timedelta(minutes=CATCH_UP + 30))

    made.turn()

    events = told(made)
    assert [each.after for each in events] == ["skipped"] + ["fired"] * CATCH_UP
    assert events[0].message.startswith("nobody looked in time: 30 times")


def test_a_jump_of_ten_years_fires_what_is_wanted_and_records_the_rest_as_one():
    made = stage(cron="* * * * *", missed="all", overlap="queue")
    made.wait(timedelta(days=3653))
    began = time.perf_counter()

    made.turn()

    spent = time.perf_counter() - began
    events = told(made)
    assert spent < 1, f"{spent:.2f} s"
    assert [each.after for each in events] == ["skipped"] + ["fired"] * CATCH_UP
    assert events[0].message.startswith("nobody looked in time: more than 100 times, 2026-11-22 06:01:00Z to ")


def test_a_line_of_tasks_has_an_end():
    made = stage(cron="* * * * *", overlap="queue")
    for _ in range(QUEUE + 3):
        made.wait(timedelta(minutes=1))
        made.turn()

    waiting = [task for task in made.snapshot.tasks.values() if task.record.behind]

    assert len(waiting) == QUEUE
    assert [each.reason for each in told(made)][-2:] == ["QueueFull", "QueueFull"]


def test_a_clock_that_was_far_ahead_stops_nothing_when_it_is_right_again():
    made = stage()
    made.wait(timedelta(days=3653))
    made.turn()
    finish(made)
    made.wait(-timedelta(days=3653))
    made.looks.add(("demo", "t"))
    again = [str(each) for each in made.turn()]
    made.wait(HOUR)

    made.turn()

    assert again == ["~ demo/t: trigger: begins anew; next at 2026-11-22 07:00:00Z"]
    assert decided(made)[-1] == "20261122T070000Z fired"


def test_a_clock_that_went_back_a_little_fires_nothing_twice():
    made = stage(cron="*/10 * * * *")
    made.wait(HOUR)
    made.turn()
    before = decided(made)
    finish(made)
    made.wait(-timedelta(minutes=59))
    made.looks.add(("demo", "t"))
    again = []
    for _ in range(7):
        made.wait(timedelta(minutes=10))
        made.turn()
        again.append(decided(made)[len(before) :])

    assert again == [[]] * 6 + [["20261122T071000Z fired"]]


def test_a_trigger_of_a_source_that_is_not_followed_any_more_ends():
    made = stage()
    assert isinstance(made.desired, Complete)
    elsewhere = replace(made.desired.revision, source="elsewhere")
    made.desired = replace(made.desired, revision=elsewhere)
    made.looks.add(("demo", "t"))

    lines = [str(each) for each in made.turn()]

    assert lines[0] == "- demo/t: trigger: its source main is not followed any more"
    assert sorted(each.phase.value for each in made.snapshot.triggers.values()) == ["active", "removed"]


def test_nothing_is_decided_while_nobody_knows_what_is_desired():
    made = Stage()
    made.looks.add(("demo", "t"))

    assert not made.turn().actions


def test_a_revision_with_rejected_files_removes_no_trigger_and_a_sound_one_does():
    made = stage()
    bad = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: bad}\nspec: {}\n"
    made.commit({"jobs": {"bad": bad}, "triggers": {"t": None}})
    with_bad = [str(each) for each in made.turn()]

    made.commit({"jobs": {"bad": None}})

    assert with_bad == []
    assert [str(each) for each in made.turn()] == ["- demo/t: trigger: its file was removed, it does not fire any more"]


def test_what_an_older_database_lets_a_trigger_make_is_held():
    made = stage()
    assert isinstance(made.desired, Complete)
    made.desired = replace(made.desired, older="restored from a backup")
    made.wait(HOUR)

    made.turn()

    assert (made.task().record.held, made.task().record.phase) == ("restored from a backup", TaskPhase.CREATED)
    assert not made.flying


def test_a_time_after_a_person_has_looked_at_an_older_database_is_not_held():
    made = stage(overlap="queue")
    assert isinstance(made.desired, Complete)
    made.desired = replace(made.desired, older="restored from a backup", looked_at=made.now + HOUR)
    for _ in range(2):
        made.wait(HOUR)
        made.turn()

    tasks = sorted(made.snapshot.tasks.values(), key=lambda task: task.record.name)
    assert [bool(task.record.held) for task in tasks] == [True, False]


def test_a_task_that_waits_for_a_rejected_definition_still_says_so_when_its_turn_has_come():
    made = Stage()
    bad = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: ask}\nspec: {}\n"
    made.commit({"jobs": {"ask": bad}, "triggers": {"t": body(overlap="replace")}})
    made.turn()
    for _ in range(2):
        made.wait(HOUR)
        made.settle()

    records = [task.record for task in made.snapshot.tasks.values()]

    assert [(each.phase.value, each.reason, each.behind) for each in records] == [
        ("revoked", "Replaced", ""),
        ("created", "DefinitionRejected", ""),
    ]


def test_a_suspended_task_in_the_line_keeps_those_behind_it_waiting():
    made = stage(overlap="queue")
    for _ in range(3):
        made.wait(HOUR)
        made.turn()
    made.commit({"tasks": {"t-20261122T080000Z": {"control": {"state": "suspended", "reason": "CHG-1"}}}})
    made.turn()
    finish(made)
    made.settle()

    phases = [task.record.phase for task in made.snapshot.tasks.values()]

    assert phases == [TaskPhase.FINISHED, TaskPhase.SUSPENDED, TaskPhase.CREATED]


CRONS = st.sampled_from(["0 * * * *", "30 2 * * *", "0 9 * * 1-5"])
SPANS = st.lists(st.sampled_from([60, 600, 3600, 40_000, 90_000, 400_000]), min_size=1, max_size=6)


@settings(max_examples=30)
@given(
    CRONS,
    st.sampled_from(["skip", "latest", "all"]),
    st.sampled_from(["skip", "queue", "replace"]),
    st.sampled_from([None, "30m", "3h"]),
    SPANS,
    st.booleans(),
)
def test_each_slot_is_one_run_or_within_one_recorded_skip(cron, missed, overlap, within, spans, ends):
    made = stage(
        cron=cron, missed=missed, overlap=overlap, timezone="Europe/London", **({"within": within} if within else {})
    )
    since = made.now
    for seconds in spans:
        made.wait(timedelta(seconds=seconds))
        made.turn()
        if ends:
            finish(made)
        made.turn()

    (record,) = made.snapshot.triggers.values()
    slots = [slot_name(each) for each in slots_of(cron, "Europe/London").upcoming(since, 600) if each <= record.decided]
    events = told(made)
    fired = [each.path for each in events if each.after == "fired"]
    covered: list[str] = []
    for event, following in zip(events, [*events, None][1:], strict=True):
        later = [name for name in slots if name >= event.path and (following is None or name < following.path)]
        covered += [event.path] if event.after == "fired" else later
    assert covered == slots
    assert fired == sorted(set(fired))
    assert {f"t-{name}" for name in fired} == {task.record.name for task in made.snapshot.tasks.values()}
    assert record.decided <= made.now < (record.wake_at or made.now + DAY)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("app/**", "app/a/b.py", True),
        ("app/**", "apple/a", False),
        ("app/", "app/a/b", True),
        ("**/*.yaml", "a.yaml", True),
        ("**/*.yaml", "a/b/c.yaml", True),
        ("*.yaml", "a/b.yaml", False),
        ("a/*/c", "a/b/c", True),
        ("a/*/c", "a/b/b/c", False),
        ("a?c", "abc", True),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("a.b", "axb", False),
        ("[", "[", True),
        ("/docs/a", "docs/a", True),
        ("./docs/a", "docs/a", True),
        ("上线/*", "上线/a", True),
    ],
)
def test_a_pattern_means_what_people_know(pattern, path, fits):
    assert matches([pattern], [path]) is fits


def test_a_suspended_trigger_stays_suspended_over_a_restart():
    made = stage(control={"state": "suspended", "reason": "holiday"})
    made.crash()
    made.wait(5 * HOUR)
    made.looks.add(("demo", "t"))

    assert not made.turn().actions
    assert [each.phase for each in made.snapshot.triggers.values()] == [TriggerPhase.SUSPENDED]
