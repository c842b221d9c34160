"""What the store keeps of triggers: up to where each has decided, and the history of what fired and what was skipped."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from state.copies import replace
from state.inspection import inspect
from state.phases import TriggerPhase
from state.reader import Reader
from state.store import Store
from state.triggers import TriggerAdopted, TriggerSeen
from tests.histories import COMMIT, SEEN, START, admitted, begun, ended, fired, skipped, task, trigger

HOUR = timedelta(hours=1)
NIGHTLY = trigger(wake_at=START)
SEEN_FIRST = TriggerSeen(NIGHTLY, COMMIT, "Introduced")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(folder):
    opened = Store.open(folder)
    yield opened
    opened.close(keep_wal=False)


@pytest.fixture
def reader(folder, store):
    opened = Reader(folder)
    yield opened
    opened.close()


def made(name, **fields):
    return task(name, trigger="nightly", **fields)


def test_a_firing_and_its_task_are_one_commit(folder, store, reader):
    record = made("nightly-20261122T020000Z")
    store.commit([SEEN_FIRST], START)

    store.commit([admitted(record), fired(NIGHTLY, START)], START)

    found = store.snapshot((), (), [NIGHTLY.identity])
    assert found.tasks[record.uid].record.trigger == "nightly"
    assert found.triggers[NIGHTLY.uid] == replace(NIGHTLY, decided=START, seen="seen", wake_at=START + HOUR)
    assert [(each.path, each.after, each.message) for each in reader.firings(NIGHTLY.uid, 5)] == [
        ("20261122T020000Z", "fired", "nightly-20261122T020000Z")
    ]
    assert reader.made("demo", "nightly").uid == record.uid
    assert inspect(folder) == []


def test_triggers_come_with_their_tasks_that_are_not_over(store):
    old, young, other = made("nightly-1"), made("nightly-2"), task("bob")
    store.commit([SEEN_FIRST, *begun(old), *ended(old.uid), *begun(young), *begun(other)], START)

    found = store.snapshot((), (), [NIGHTLY.identity])

    assert set(found.tasks) == {young.uid}
    assert store.firing() == [NIGHTLY.identity]
    assert {identity: each.fired for identity, each in store.identities().items()} == {
        old.identity: True,
        young.identity: True,
        other.identity: False,
    }


def test_who_is_due_comes_first_and_says_when_the_next_one_is(store):
    records = [trigger(name, wake_at=START + hours * HOUR) for name, hours in (("b", 2), ("a", 0), ("c", 5))]
    store.commit([TriggerSeen(each, COMMIT, "Introduced") for each in records], START)
    asleep = trigger("d", wake_at=None)
    store.commit([TriggerSeen(asleep, COMMIT, "Introduced")], START)

    assert store.due_triggers(START - HOUR, 10) == ([], START)
    assert store.due_triggers(START + 2 * HOUR, 10) == ([("demo", "a"), ("demo", "b")], START + 5 * HOUR)
    assert store.due_triggers(START + 2 * HOUR, 1) == ([("demo", "a")], START + 2 * HOUR)
    assert store.due(START + 9 * HOUR, 10) == ([], None)


def test_what_was_decided_ahead_of_the_clock_is_found(store):
    store.commit([TriggerSeen(trigger("ahead", decided=START + HOUR), COMMIT, "Introduced"), SEEN_FIRST], START)

    assert store.early_triggers(START + timedelta(minutes=30)) == [("demo", "ahead")]


def test_triggers_in_force_are_those_of_their_source_that_were_not_removed(store):
    gone = trigger("gone", phase=TriggerPhase.REMOVED)
    store.commit([SEEN_FIRST, TriggerSeen(gone, COMMIT, "Removed")], START)

    assert store.triggers("main") == {NIGHTLY.identity: NIGHTLY}
    assert store.triggers("elsewhere") == {}


def test_an_adopted_trigger_begins_when_it_is_adopted(store, reader):
    held = trigger(phase=TriggerPhase.UNADOPTED)
    store.commit([TriggerSeen(held, COMMIT, "Introduced")], START)
    waiting = reader.held_triggers()

    store.commit([TriggerAdopted(held.uid, SEEN)], START + HOUR)

    later = START + HOUR
    (found,) = store.triggers("main").values()
    assert waiting == [held]
    assert (found.phase, found.since, found.decided, found.wake_at) == (TriggerPhase.ACTIVE, later, later, later)
    assert reader.held_triggers() == []


def test_old_firings_go_and_what_is_left_of_the_history_still_holds(folder, store, reader):
    store.commit([SEEN_FIRST], START)
    for hours in range(20):
        store.commit([skipped(NIGHTLY, START + hours * HOUR, f"slot{hours}")], START + hours * HOUR)

    store.forget_firings(START + 10 * HOUR, keep=3)
    after_ten = [each.path for each in reader.firings(NIGHTLY.uid, 50)]
    store.forget_firings(START + 90 * HOUR, keep=3)
    store.commit([skipped(NIGHTLY, START + 30 * HOUR, "newest")], START + 30 * HOUR)

    assert after_ten == [f"slot{hours}" for hours in range(19, 9, -1)]
    assert [each.path for each in reader.firings(NIGHTLY.uid, 50)] == ["newest", "slot19", "slot18", "slot17"]
    assert inspect(folder) == []


def test_a_changed_history_of_a_trigger_is_found(folder, store):
    store.commit([SEEN_FIRST], START)
    store.commit([skipped(NIGHTLY, START)], START)
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as connection:
        connection.execute("UPDATE events SET after = 'fired' WHERE path <> ''")

    assert [each.what for each in inspect(folder)] == [
        "the history of a trigger was changed",
    ]


def test_triggers_are_read_in_pages_and_by_name(store, reader):
    records = [trigger(name) for name in ("a", "b", "c")]
    store.commit([TriggerSeen(each, COMMIT, "Introduced") for each in records], START)
    store.commit([TriggerSeen(trigger("gone", phase=TriggerPhase.REMOVED), COMMIT, "Removed")], START)

    first = reader.triggers(limit=2)
    second = reader.triggers(limit=2, cursor=first.next)

    assert [each.name for each in (*first.items, *second.items)] == ["a", "b", "c"]
    assert second.next is None
    assert reader.triggers(namespace="other").items == ()
    assert reader.trigger("demo", "gone").phase is TriggerPhase.REMOVED
    assert reader.trigger("demo", "nobody") is None
    assert reader.trigger_names([records[0].uid, "x"]) == {records[0].uid: ("demo", "a")}
