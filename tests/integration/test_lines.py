"""What stands before a task or a step that waits in line, as rows tell it to readers and to the writer."""

import pytest

from state import lines
from state.changes import AttemptAdvanced, Change, Held, StepAdvanced, TaskAdvanced
from state.loading import load_usage
from state.phases import Signal
from state.reader import Reader
from state.records import Uid
from state.room import QUEUED_FOR_CAPACITY, QUEUED_FOR_GROUP, Holder, Line
from state.store import Store
from tests.histories import SEEN, START, admitted, attempt, begun, task


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "state")
    yield opened
    opened.close(keep_wal=False)


@pytest.fixture
def reader(store):
    opened = Reader(store.folder.path)
    yield opened
    opened.close()


def uid(name: str) -> Uid:
    return task(name).uid


def grouped(name: str, *signals: Signal) -> list[Change]:
    """A task of the group `main`."""
    record = task(name, group="main")
    return [admitted(record), *(TaskAdvanced(record.uid, each, SEEN, _reason(each)) for each in signals)]


def _reason(signal: Signal) -> str:
    return QUEUED_FOR_GROUP if signal is Signal.QUEUE else ""


def queued(name: str, path: str, group: str = "") -> StepAdvanced:
    reason = QUEUED_FOR_GROUP if group else QUEUED_FOR_CAPACITY
    return StepAdvanced(uid(name), path, Signal.QUEUE, SEEN, reason, group=group)


def test_a_task_knows_who_has_the_places_and_how_many_wait_before_it(store, reader):
    store.commit([*grouped("holder", Signal.START), *grouped("held", Signal.QUEUE)], START)
    store.commit([Held(uid("held"), "restored", SEEN), *grouped("gone", Signal.QUEUE, Signal.SUSPEND)], START)
    store.commit([change for name in ("a", "b", "c") for change in grouped(name, Signal.QUEUE)], START)

    seen = {name: reader.task("demo", name).lines for name in ("a", "c", "holder", "gone")}

    assert seen == {
        "a": {"": Line(0, (Holder("demo/holder"),))},
        "c": {"": Line(2, (Holder("demo/holder"),))},
        "holder": {},
        "gone": {},
    }
    assert store.lines.first(["main", "spare"], 2) == [uid("a"), uid("b")]
    assert set(store.lines.rivals(["main"])) == {uid(name) for name in ("holder", "held", "gone", "a", "b", "c")}


def test_a_step_knows_how_many_steps_of_older_tasks_and_of_its_own_wait_before_it(store, reader):
    store.commit(begun(task("old")), START)
    store.commit([queued("old", "x.10", "api"), queued("old", "y")], START)
    store.commit(begun(task("new", namespace="demo")), START)
    waiting = [queued("new", "x.10", "api"), queued("new", "x.9", "api"), queued("new", "y"), queued("new", "z")]
    store.commit(waiting, START)

    seen = reader.task("demo", "new").lines

    holders = (Holder("demo/old"), Holder("demo/new"))  # by their attempts, whose job is the group
    assert seen == {"x.9": Line(1, holders), "x.10": Line(2, holders), "y": Line(1), "z": Line(2)}
    assert store.lines.first(["api"], 9) == [uid("old"), uid("new")]


def test_a_task_that_has_not_begun_may_stand_in_line_with_its_first_step(store, reader):
    store.commit([admitted(task("old")), queued("old", "x", "api"), queued("old", "y")], START)
    store.commit([admitted(task("new")), queued("new", "x", "api"), queued("new", "y")], START)

    assert reader.task("demo", "new").lines == {"x": Line(1), "y": Line(1)}
    assert store.lines.first(["api"], 9) == [uid("old"), uid("new")]


def test_what_waits_in_another_namespace_or_is_suspended_is_not_before_it(store, reader):
    store.commit(begun(task("far", namespace="other")), START)
    far = task("far", namespace="other").uid
    store.commit([StepAdvanced(far, "y", Signal.QUEUE, SEEN, QUEUED_FOR_CAPACITY)], START)
    store.commit([*begun(task("still")), queued("still", "y"), TaskAdvanced(uid("still"), Signal.SUSPEND, SEEN)], START)
    store.commit([*begun(task("new")), queued("new", "y")], START)

    assert reader.task("demo", "new").lines == {"y": Line(0)}


def test_a_task_that_failed_while_something_of_it_may_still_run_has_its_place_and_the_attempt_too(store, reader):
    holder = task("holder", group="main")
    lost = StepAdvanced(holder.uid, "a", Signal.LOSE, SEEN, "Lost", group="api")
    store.commit([*begun(holder, "a"), AttemptAdvanced(holder.uid, "a", Signal.LOSE, SEEN)], START)
    store.commit([lost, TaskAdvanced(holder.uid, Signal.FAIL, SEEN, "Lost")], START)
    store.commit([*grouped("b", Signal.QUEUE), *begun(task("c")), queued("c", "x", "api")], START)
    usage = store.snapshot(()).usage

    named = (Holder("demo/holder", "failed", "a", 1),)
    assert reader.task("demo", "b").lines == {"": Line(0, named)}
    assert reader.task("demo", "c").lines["x"].holders[0] == named[0]
    assert (usage.runs, usage.groups["api"]) == ({"main": 1}, 2)
    assert load_usage(store._connection) == usage
    assert holder.uid in store.lines.rivals(["main"])

    store.commit([StepAdvanced(holder.uid, "a", Signal.FAIL, SEEN, "Resolved")], START)

    assert (store.snapshot(()).usage.runs, store.snapshot(()).usage.groups) == ({}, {"api": 1})
    assert load_usage(store._connection) == store.snapshot(()).usage
    assert not reader.task("demo", "holder").record.entered


def test_the_places_of_groups_are_counted_again_at_a_start(tmp_path, store):
    runs = StepAdvanced(uid("a"), "deploy", Signal.START, SEEN, group="spare")
    store.commit([*grouped("a", Signal.START), runs, *grouped("b", Signal.QUEUE)], START)
    store.commit([queued("a", "more", "spare"), *begun(task("c"))], START)
    before = store.snapshot(()).usage
    store.close()

    again = Store.open(tmp_path / "state")

    assert again.snapshot(()).usage == before
    assert before.runs == {"main": 1, "spare": 1}
    assert before.groups == {attempt(uid("c")).job: 1}
    again.close(keep_wal=False)


def test_no_question_about_a_line_reads_a_whole_table(store):
    questions = [text for name, text in vars(lines).items() if isinstance(text, str) and text.startswith("SELECT")]
    some = {"groups": "[]", "group": "main", "most": 3}
    given = [some if ":" in text else ("[]",) * text.count("?") for text in questions]

    plans = [
        line[-1]
        for text, cells in zip(questions, given, strict=True)
        for line in store._connection.execute(f"EXPLAIN QUERY PLAN {text}", cells)
    ]

    assert len(questions) == 7
    assert [plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan] == []
    assert any("steps_parked" in plan for plan in plans)
