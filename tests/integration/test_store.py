import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from time import monotonic

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from state.changes import (
    Activated,
    AttemptAdvanced,
    Cleaned,
    Intended,
    Retired,
    SourceReported,
    StepAdvanced,
    TaskAdvanced,
    uid_of,
)
from state.database import VERSION, sqlite_notes
from state.errors import AlreadyRan, Damaged, Fenced, Full, Locked, NotWritable, StateError, TooNew, Unsuitable
from state.fold import apply
from state.folder import StateFolder, file_system
from state.inspection import inspect
from state.loading import load_usage
from state.migrations import MIGRATIONS, migrate
from state.phases import IllegalTransition, Signal, TaskPhase
from state.reader import Reader
from state.records import Cause, Snapshot, Uid
from state.room import Usage
from state.rows import to_microseconds
from state.store import Store
from state.triggers import TriggerChange
from tests.crash.campaign import strace_works
from tests.histories import (
    COMMIT,
    PINS,
    SEEN,
    SOURCE,
    START,
    activated,
    admitted,
    attempt,
    begun,
    ended,
    possible,
    task,
)
from tests.project.modules import ROOT

ALICE = task("alice")
UID = ALICE.uid
LATER = START + timedelta(minutes=1)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(folder):
    opened = Store.open(folder)
    yield opened
    opened.close(keep_wal=False)


def sql(folder, statement, *cells):
    """What an editor beside the product reads or writes."""
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as connection:
        return connection.execute(statement, cells).fetchall()


def test_a_commit_is_there_after_the_next_start(folder, store):
    committed = store.commit(begun(ALICE), START)
    store.close()
    again = Store.open(folder)
    assert again.snapshot([UID]).tasks == committed.snapshot.tasks
    assert again.snapshot([UID]).usage == Usage(1, {"demo": 1}, {"http": 1}, {"api": 1})
    assert again.epoch == store.epoch + 1
    assert again.controller == store.controller
    again.close(keep_wal=False)


@settings(max_examples=40, phases=[Phase.generate])  # shrinking would open a thousand stores
@given(data=st.data())
def test_what_apply_says_is_what_a_reader_finds_after_the_commit(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    store = Store.open(folder, cached=2)
    reader = Reader(folder)  # one that remembers what it saw before
    expected = Snapshot(epoch=store.epoch)
    numbers: dict[Uid, int] = {}
    gone: set[Uid] = set()
    for second in range(data.draw(st.integers(3, 12))):
        at = START + timedelta(seconds=second, microseconds=second)
        changes = []
        before = expected
        for _ in range(data.draw(st.integers(1, 5))):
            change = data.draw(st.sampled_from(possible(before, gone, at)))
            if isinstance(change, Activated | SourceReported):
                changes.append(change)
                continue
            if isinstance(change, TriggerChange):
                changes.append(change)
                before = apply(before, [change], at).snapshot
                continue
            uid = uid_of(change)
            if isinstance(change, Retired) and any(
                uid_of(each) == uid
                for each in changes
                if not isinstance(each, Activated | SourceReported | TriggerChange)
            ):
                continue
            changes.append(change)
            if isinstance(change, Retired):
                gone.add(uid)
            elif hasattr(change, "task"):
                numbers.setdefault(uid, len(numbers) + 1)
                change = replace(change, task=replace(change.task, number=numbers[uid]))
            before = apply(before, [change], at).snapshot
        expected = before
        committed = store.commit(changes, at, store.snapshot(list(expected.tasks)))
        assert committed.snapshot.tasks == expected.tasks
        assert committed.snapshot.usage == expected.usage
        assert store.snapshot(list(expected.tasks)).tasks == expected.tasks
        store._cache.clear()
        named = [each.identity for each in expected.triggers.values()]
        assert store.snapshot(list(expected.tasks), (), named) == replace(expected, runs={})
        assert reader.snapshots(list(expected.tasks)) == expected.tasks
    assert load_usage(store._connection) == expected.usage
    wakes = {uid: each.wake_at for uid, each in expected.tasks.items() if each.wake_at}
    assert dict(store._rows("SELECT uid, at FROM wakes")) == {uid: to_microseconds(at) for uid, at in wakes.items()}
    assert set(store.live()) == {uid for uid, each in expected.tasks.items() if each.record.live}
    assert inspect(folder) == []
    reader.close()
    store.close(keep_wal=False)


def test_a_commit_is_all_or_nothing(store):
    store.commit(begun(ALICE), START)
    bad = [StepAdvanced(UID, "step1", Signal.SUCCEED, SEEN), StepAdvanced(UID, "step1", Signal.START, SEEN)]
    with pytest.raises(IllegalTransition):
        store.commit(bad, LATER)
    assert store.snapshot([UID]).tasks[UID].steps["step1"].phase.value == "running"
    assert store.commit([TaskAdvanced(UID, None, SEEN, message="on")], LATER).snapshot.tasks[UID].record.message == "on"


def test_a_commit_that_fails_behind_its_first_rows_leaves_none_of_them(folder, store):
    refusing = "CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no events today'); END"
    sql(folder, refusing)

    with pytest.raises(StateError, match="no events today"):
        store.commit(begun(ALICE), START)

    rows = {
        table: sql(folder, f"SELECT count(*) FROM {table}") for table in ("tasks", "steps", "attempts", "tombstones")
    }
    assert set(map(tuple, rows.values())) == {((0,),)}
    assert not store.snapshot([UID]).tasks


def test_changes_apply_to_what_is_stored_and_not_to_an_old_snapshot(store):
    old = store.commit([admitted(ALICE)], START).snapshot
    store.commit([TaskAdvanced(UID, Signal.START, SEEN)], START)
    with pytest.raises(IllegalTransition):
        store.commit([TaskAdvanced(UID, Signal.START, SEEN)], LATER, old)


def test_the_answer_of_a_commit_keeps_the_other_tasks_of_the_snapshot(store):
    bob = task("bob")
    store.commit([admitted(ALICE), admitted(bob)], START)
    both = store.snapshot([UID, bob.uid])
    after = store.commit([TaskAdvanced(UID, Signal.START, SEEN)], LATER, both).snapshot
    assert set(after.tasks) == {UID, bob.uid}
    assert after.tasks[UID].record.phase is TaskPhase.RUNNING


def test_the_writer_waits_for_the_disk_at_every_commit(store):
    asked = {
        name: store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
    }
    assert asked == {
        "journal_mode": "wal",
        "synchronous": 2,
    }  # 2 is FULL: in WAL mode the only one with an fsync a commit


COMMITS = """
import sys
from pathlib import Path
from state.changes import TaskAdvanced
from state.store import Store
from tests.histories import SEEN, START, begun, task
store = Store.open(Path(sys.argv[1]))
alice = task("alice")
store.commit(begun(alice), START)
for number in range(int(sys.argv[2])):
    store.commit([TaskAdvanced(alice.uid, None, SEEN, message=str(number))], START)
"""


@pytest.mark.skipif(not strace_works(), reason="needs strace (apt install strace)")
def test_every_commit_is_fsynced(tmp_path):
    def fsyncs(commits):
        trace = tmp_path / f"trace{commits}"
        strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=fsync,fdatasync"]
        script = [sys.executable, "-c", COMMITS, str(tmp_path / f"state{commits}"), str(commits)]
        subprocess.run([*strace, *script], cwd=ROOT, check=True)
        return trace.read_text().count("sync(")

    assert fsyncs(20) - fsyncs(0) == 20


def test_nothing_to_write_writes_nothing(store):
    before = store.commit([admitted(ALICE)], START).sequence
    assert store.commit([], LATER).sequence == before


def test_every_commit_moves_the_sequence_also_one_without_an_event(store):
    first = store.commit([admitted(ALICE)], START).sequence
    second = store.commit([TaskAdvanced(UID, None, SEEN, message="still here")], LATER).sequence
    third = store.commit([SourceReported(SOURCE)], LATER).sequence
    assert first < second < third


def test_tasks_get_numbers_that_nobody_else_ever_gets(store):
    store.commit([admitted(ALICE)], START)
    store.commit([TaskAdvanced(UID, Signal.FAIL, SEEN)], START)
    store.commit([Retired(UID, COMMIT)], LATER)
    bob = task("bob")
    assert store.commit([admitted(bob)], LATER).snapshot.tasks[bob.uid].record.number == 2


def test_a_run_that_was_retired_never_runs_again(folder, store):
    store.commit([*begun(ALICE), *ended(UID)], START)
    store.commit([Retired(UID, COMMIT)], LATER)
    with pytest.raises(AlreadyRan):
        store.commit([admitted(ALICE)], LATER)
    (stone,) = store.snapshot([], [ALICE.identity]).runs[ALICE.identity]
    assert (stone.uid, stone.phase, stone.commit, stone.at) == (UID, TaskPhase.FINISHED, "c0ffee", LATER)
    assert len(stone.last_hash) == 64
    assert store.identities() == {ALICE.identity: (UID, 1, "", False, False, False)}
    left = ("tasks", "steps", "attempts", "events", "pins", "pin_uses", "labels", "wakes")
    assert {table: sql(folder, f"SELECT count(*) FROM {table}") for table in left} == {table: [(0,)] for table in left}
    assert inspect(folder) == []


def test_a_task_whose_definitions_were_rejected_takes_the_place_of_its_row(folder, store):
    waiting = task("alice", pinned=False, reason="DefinitionRejected")
    store.commit([admitted(waiting)], START)
    after = store.commit([admitted(ALICE)], LATER).snapshot.tasks[UID].record
    assert (after.number, after.pins, after.reason) == (1, ALICE.pins, "")
    with pytest.raises(IllegalTransition, match="admitted before"):
        store.commit([admitted(ALICE)], LATER)
    assert inspect(folder) == []


def test_a_rejected_task_that_was_retired_may_still_run(store):
    store.commit([admitted(task("alice", pinned=False))], START)
    store.commit([TaskAdvanced(UID, Signal.FAIL, SEEN)], START)
    store.commit([Retired(UID, COMMIT)], START)
    assert store.snapshot([], [ALICE.identity]).runs == {}
    assert store.commit([admitted(ALICE)], LATER).snapshot.tasks[UID].record.pins == ALICE.pins


def test_pins_are_shared_and_go_with_their_last_task(folder, store):
    bob = task("bob")
    store.commit([*begun(ALICE), *ended(UID), admitted(bob)], START)
    assert sql(folder, "SELECT count(*) FROM pins") == [(len(PINS),)]
    store.commit([Retired(UID, COMMIT)], LATER)
    assert sql(folder, "SELECT count(*) FROM pins") == [(len(PINS),)]
    store.commit([TaskAdvanced(bob.uid, Signal.FAIL, SEEN)], LATER)
    store.commit([Retired(bob.uid, COMMIT)], LATER)
    assert sql(folder, "SELECT count(*) FROM pins") == [(0,)]


def test_identities_are_found_by_their_latest_run(store):
    second = task("alice", run=2)
    store.commit([*begun(ALICE), *ended(UID), admitted(second), admitted(task("bob", namespace="other"))], START)
    found = store.snapshot([], [("demo", "alice"), ("demo", "nobody")])
    assert set(found.tasks) == {second.uid}
    assert store.identities()["demo", "alice"] == (second.uid, 2, "digest", True, False, False)
    assert store.identities()["other", "bob"].run == 1


def test_a_removed_task_is_known_as_removed(store):
    store.commit([admitted(ALICE), TaskAdvanced(UID, Signal.REMOVE, COMMIT)], START)
    assert store.identities()["demo", "alice"] == (UID, 1, "digest", True, True, False)


def test_who_is_due_comes_first_and_the_next_time_is_told(store):
    times = {name: START + timedelta(seconds=seconds) for name, seconds in (("a", 30), ("b", 10), ("c", 20))}
    for name, at in times.items():
        store.commit([admitted(task(name)), TaskAdvanced(task(name).uid, None, SEEN, deadline=at)], START)
    assert store.due(START, 10) == ([], times["b"])
    assert store.due(times["c"], 10) == ([task("b").uid, task("c").uid], times["a"])
    assert store.due(times["a"], 2) == ([task("b").uid, task("c").uid], times["a"])
    assert store.due(LATER, 10) == ([task("b").uid, task("c").uid, task("a").uid], None)


def test_the_tasks_without_a_row_are_told_from_the_others(store):
    store.commit([admitted(ALICE)], START)
    gone = Uid("f" * 32)
    assert store.strangers([ALICE.uid, gone]) == [gone]


def test_live_and_unfinished_tasks_are_found(store):
    bob = task("bob")
    store.commit([admitted(bob), *begun(ALICE)], START)
    assert store.live() == [bob.uid, UID]
    assert store.unfinished() == [UID]
    store.commit(ended(UID), LATER)
    assert (store.live(), store.unfinished()) == ([bob.uid], [])


def test_an_older_attempt_is_cleaned_too(store):
    left = AttemptAdvanced(UID, "step1", Signal.FAIL, SEEN, cleanup=True)
    store.commit([*begun(ALICE), left, Intended(attempt(UID, number=2), SEEN)], START)
    assert [each.number for each in store.uncleaned()] == [1]
    store.commit([Cleaned(UID, "step1", 1)], LATER)
    assert store.uncleaned() == []


def test_an_ended_attempt_cannot_be_changed_by_anybody(folder, store):
    store.commit([*begun(ALICE), *ended(UID)], START)
    with pytest.raises(sqlite3.IntegrityError, match="never changes"):
        sql(folder, "UPDATE attempts SET phase = 'failed'")
    sql(folder, "UPDATE attempts SET cleanup = 0")


def test_retention_finds_the_old_and_the_surplus_but_not_what_is_in_use(store):
    for minute, name in enumerate("abcd"):
        at = START + timedelta(minutes=minute)
        store.commit([*begun(task(name)), *ended(task(name).uid)], at)
    store.commit(begun(ALICE), START)
    held = task("held")
    left = AttemptAdvanced(held.uid, "step1", Signal.FAIL, SEEN, cleanup=True)
    store.commit([*begun(held), left, TaskAdvanced(held.uid, Signal.FAIL, SEEN)], START)
    lost = task("lost").uid
    unknown = AttemptAdvanced(lost, "step1", Signal.LOSE, SEEN)
    keeps = StepAdvanced(lost, "step1", Signal.LOSE, SEEN, "Lost", group="main")
    store.commit([*begun(task("lost")), unknown, keeps, TaskAdvanced(lost, Signal.FAIL, SEEN)], START)
    a, b, c, _ = (task(name).uid for name in "abcd")
    assert store.finished_before(START + timedelta(minutes=2)) == [a, b]
    assert store.finished_before(START + timedelta(minutes=2), limit=1) == [a]
    assert store.surplus(1) == [a, b, c]
    assert store.surplus(9) == []


def test_a_revision_brings_its_definitions_and_takes_what_is_gone(store):
    store.commit([activated("one", "a", "b")], START)
    store.commit([activated("two", "c", removed=[("a.yaml", 0)])], LATER)
    assert [each.name for each in store.definitions("main")] == ["b", "c"]
    assert store.definitions("other") == []
    assert store.source("main").commit == "two"
    assert store.source("other") is None


def test_the_second_controller_ends_at_once_and_says_who_is_there(folder, store):
    began = monotonic()
    with pytest.raises(Locked, match=f"process {os.getpid()}"):
        Store.open(folder)
    assert monotonic() - began < 1


def test_a_controller_can_wait_for_the_one_before(folder, store):
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(folder)], stdout=subprocess.PIPE, cwd=os.getcwd())
    store.close()
    assert holder.stdout.readline() == b"open\n"
    waiting = Store.open(folder, wait=20)
    assert waiting.epoch == store.epoch + 2
    holder.wait(10)
    waiting.close(keep_wal=False)


_HOLD = """
import sys, time
from pathlib import Path
from state.store import Store
store = Store.open(Path(sys.argv[1]), wait=20)
print("open", flush=True)
time.sleep(0.4)
store.close()
"""


def test_a_killed_controller_has_lost_nothing_that_it_committed(folder):
    writer = subprocess.Popen([sys.executable, "-c", _WRITE, str(folder)], stdout=subprocess.PIPE, cwd=os.getcwd())
    told = [writer.stdout.readline() for _ in range(60)]
    writer.send_signal(signal.SIGKILL)
    told += writer.stdout.read().splitlines(keepends=True)
    writer.wait()
    last = int([line for line in told if line.endswith(b"\n")][-1])
    store = Store.open(folder)
    assert store.epoch == 2
    assert len(store.live()) >= last
    assert inspect(folder) == []
    store.close(keep_wal=False)


_WRITE = """
import sys
from itertools import count
from pathlib import Path
from state.store import Store
from tests.histories import START, begun, task
store = Store.open(Path(sys.argv[1]))
for number in count(1):
    store.commit(begun(task(f"t{number}")), START)
    print(number, flush=True)
"""


def test_a_store_under_a_moved_epoch_writes_nothing(folder, store):
    store.commit([admitted(ALICE)], START)
    sql(folder, "UPDATE meta SET value = '99' WHERE name = 'epoch'")
    with pytest.raises(Fenced, match="took over"):
        store.commit([TaskAdvanced(UID, Signal.START, SEEN)], LATER)
    assert sql(folder, "SELECT phase FROM tasks") == [("created",)]


def test_a_store_that_was_closed_writes_nothing(store):
    store.close()
    with pytest.raises(Fenced, match="let go"):
        store.commit([admitted(ALICE)], START)


def test_an_older_database_is_held_until_a_person_decides(folder):
    store = Store.open(folder)
    store.commit([admitted(ALICE)], START)
    store.close(keep_wal=False)
    old = (folder / "state.db").read_bytes()
    Store.open(folder).close(keep_wal=False)
    (folder / "state.db").write_bytes(old)
    older = Store.open(folder)
    assert "epoch 2" in older.held
    assert older.epoch == 3
    older.close(keep_wal=False)
    still = Store.open(folder)
    assert still.held == older.held
    still.release()
    still.close(keep_wal=False)
    assert Store.open(folder).held == ""


def test_a_lost_database_beside_its_epoch_is_held_too(folder):
    Store.open(folder).close(keep_wal=False)
    (folder / "state.db").unlink()
    again = Store.open(folder)
    assert "epoch 1" in again.held
    again.close(keep_wal=False)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xb5\n", "²\n".encode(), b"9" * 5000, b"-1\n"])
def test_a_spoiled_epoch_proves_nothing_so_the_database_is_held(folder, content):
    Store.open(folder).close(keep_wal=False)
    (folder / "epoch").write_bytes(content)
    assert [each.what for each in inspect(folder)] == ["the database may be older than what has run"]

    again = Store.open(folder)

    assert "epoch` of the state folder holds no number" in again.held
    assert (again.epoch, again.folder.read_epoch()) == (2, 2)
    again.close(keep_wal=False)


@pytest.mark.parametrize("content", [b"", b"\0" * 21, b"\xb5\n", b"9" * 5000])
def test_a_note_that_a_power_cut_has_torn_says_nothing(folder, content):
    Store.open(folder).close(keep_wal=False)
    (folder / "sequence").write_bytes(content)
    assert inspect(folder) == []
    assert Store.open(folder).held == ""


def test_a_newer_schema_is_refused(folder):
    Store.open(folder).close(keep_wal=False)
    sql(folder, f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(TooNew, match="run the release that wrote it"):
        Store.open(folder)


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000], ids=["text", "header"])
def test_a_file_that_is_no_database_is_damaged(folder, content):
    folder.mkdir()
    (folder / "state.db").write_bytes(content)
    with pytest.raises(Damaged, match="reconciler restore BACKUP --state"):
        Store.open(folder)
    assert (folder / "state.db").read_bytes() == content


def test_a_database_of_another_program_is_left_alone(folder):
    folder.mkdir()
    sql(folder, "CREATE TABLE mine (x)")
    with pytest.raises(Damaged, match="another program"):
        Store.open(folder)
    assert sql(folder, "SELECT name FROM sqlite_schema") == [("mine",)]


def test_migrating_again_changes_nothing(folder, store):
    before = sql(folder, "SELECT sql FROM sqlite_schema ORDER BY name")
    migrate(store._connection, folder)
    assert sql(folder, "SELECT sql FROM sqlite_schema ORDER BY name") == before
    assert len(MIGRATIONS._migrations) == VERSION


def test_a_flipped_bit_never_shows_a_wrong_phase_unseen(folder):
    store = Store.open(folder)
    names = ("a", "b", "c", *map(str, range(10)))  # enough that a good part of the pages holds something
    for name in names:
        store.commit([*begun(task(name)), *ended(task(name).uid, outputs={"grade": "A"})], START)
    store.commit(begun(task("z")), START)
    expected = {uid: _phases(each) for uid, each in store.snapshot([task(name).uid for name in names]).tasks.items()}
    store.close(keep_wal=False)
    whole = (folder / "state.db").read_bytes()
    seen = {"refused": 0, "found": 0, "harmless": 0}
    for place in range(120, len(whole), len(whole) // 150):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        (folder / "state.db").write_bytes(flipped)
        seen[_outcome(folder, expected)] += 1
    assert seen["refused"] + seen["harmless"] + seen["found"] >= 150
    assert seen["found"] + seen["refused"] > 10
    print(f"bit flips: {seen}")


def _phases(snapshot):
    return (
        snapshot.record.phase,
        {path: step.phase for path, step in snapshot.steps.items()},
        {path: each.phase for path, each in snapshot.attempts.items()},
    )


def _outcome(folder, expected):
    try:
        if inspect(folder):
            return "found"
        store = Store.open(folder)
    except StateError:
        return "refused"
    try:
        found = store.snapshot(list(expected)).tasks
        assert {uid: _phases(each) for uid, each in found.items()} == expected, "a wrong phase, and nobody noticed"
    except StateError:
        return "refused"
    finally:
        with suppress(StateError):
            store.close(keep_wal=False)
    return "harmless"


def test_an_edited_event_breaks_the_chain(folder, store):
    store.commit([*begun(ALICE), *ended(UID)], START)
    assert inspect(folder) == []
    sql(folder, "UPDATE events SET message = 'never happened' WHERE sequence = 3")
    assert [str(each) for each in inspect(folder)] == [
        f"the history of a task was changed: demo/alice run 1 event 3 (uid {UID})"
    ]


def test_a_dropped_last_event_is_noticed(folder, store):
    store.commit([*begun(ALICE), *ended(UID)], START)
    sql(folder, "DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)")
    found = {each.what for each in inspect(folder)}
    assert {"the history of a task does not end where it should", "a phase that no event told"} <= found


def test_an_edited_phase_is_noticed(folder, store):
    store.commit([*begun(ALICE), AttemptAdvanced(UID, "step1", Signal.LOSE, SEEN)], START)
    sql(folder, "UPDATE steps SET phase = 'succeeded'")
    assert [each.what for each in inspect(folder)] == ["a phase that no event told"]


def test_a_value_that_nobody_wrote_is_damage_and_no_surprise(folder, store):
    store.commit([admitted(ALICE)], START)
    sql(folder, "UPDATE tasks SET params = '{broken'")
    store._cache.clear()
    with pytest.raises(Damaged, match="params"):
        store.snapshot([UID])


@pytest.mark.parametrize("text", ["\ud800 alone", "nul \0 inside", "上线 🚀", "\x1b[31m"])
def test_any_text_can_be_stored(store, text):
    store.commit([admitted(ALICE), TaskAdvanced(UID, None, SEEN, message=text, outputs={text: text})], START)
    store._cache.clear()
    record = store.snapshot([UID]).tasks[UID].record
    assert record.outputs == {text: text}
    assert record.message == text.encode(errors="replace").decode()


def test_a_full_disk_rolls_back_and_the_same_store_goes_on(folder, store):
    """SQLite's own limit on the size of the file is the same SQLITE_FULL."""
    store.commit([admitted(ALICE)], START)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    big = TaskAdvanced(UID, Signal.START, SEEN, outputs="x" * 1_000_000)
    with pytest.raises(Full, match="free some space"):
        store.commit([big], LATER)
    assert store.snapshot([UID]).tasks[UID].record.phase is TaskPhase.CREATED
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.commit([big], LATER)
    assert inspect(folder) == []


def test_a_really_full_file_system_rolls_back_too(small_disk):
    store = Store.open(small_disk / "state")
    store.commit([admitted(ALICE)], START)
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    big = TaskAdvanced(UID, None, SEEN, outputs="x" * 1_000_000)
    with pytest.raises(Full):
        store.commit([big], LATER)
    assert store.free_bytes() < 200_000
    filler.unlink()
    store.commit([TaskAdvanced(UID, Signal.START, SEEN)], LATER)
    store.close(keep_wal=False)
    assert inspect(small_disk / "state") == []


@pytest.fixture
def small_disk(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system needs the right to mount: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="cannot be made"):
        Store.open(tmp_path / "file" / "state")


@pytest.mark.parametrize(("mount", "kind"), [("/", "overlay"), ("/data", "nfs4"), ("/data/a\\040b", "fuse.sshfs")])
def test_the_file_system_of_a_folder_is_the_one_mounted_nearest(tmp_path, mount, kind):
    mounts = tmp_path / "mountinfo"
    lines = ["1 0 0:1 / / rw - overlay overlay rw", "2 1 0:2 / /data rw shared:1 - nfs4 server:/x rw"]
    mounts.write_text("\n".join([*lines, "3 2 0:3 / /data/a\\040b rw - fuse.sshfs host rw"]))
    path = StateFolder(tmp_path).path.__class__(mount.replace("\\040", " ")) / "state"
    assert file_system(path, mounts) == kind
    assert file_system(path, tmp_path / "missing") == ""


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(folder, monkeypatch, kind):
    monkeypatch.setattr("state.folder.file_system", lambda path: kind)
    with pytest.raises(Unsuitable, match=f"on a {kind} file system"):
        Store.open(folder)


def test_an_old_sqlite_is_mentioned_and_a_fixed_one_is_not():
    assert "WAL-reset" in sqlite_notes((3, 40, 1))[0]
    assert sqlite_notes((3, 51, 3)) == ()


def test_the_state_folder_is_private(folder, store):
    assert {name.name for name in folder.iterdir()} >= {"state.db", "lock", "epoch", "logs", "requests"}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_long_log_is_emptied_by_a_checkpoint(folder, store):
    store.commit([admitted(task(f"t{number}")) for number in range(50)], START)
    assert store.checkpoint() is False
    assert store.checkpoint(above=1000) is True
    assert (folder / "state.db-wal").stat().st_size == 0


def test_the_cache_is_bounded(folder):
    store = Store.open(folder, cached=10)
    store.commit([admitted(task(f"t{number}")) for number in range(50)], START)
    assert len(store._cache) <= 10
    assert len(store.snapshot([task(f"t{number}").uid for number in range(50)]).tasks) == 50
    assert len(store._cache) <= 10
    store.close(keep_wal=False)


def test_events_of_a_task_are_in_order_and_chained(folder, store):
    store.commit([*begun(ALICE), *ended(UID)], START)
    rows = sql(folder, "SELECT sequence, hash FROM events WHERE uid = ? ORDER BY sequence", UID)
    assert all(before < after for (before, _), (after, _) in pairwise(rows))
    assert len({each for _, each in rows}) == len(rows)


def test_ids_are_arguments(folder):
    store = Store.open(folder, new_name=lambda: "controller-1")
    assert store.controller == "controller-1"
    store.close(keep_wal=False)


def test_an_unknown_task_is_left_out_of_a_snapshot(store):
    assert store.snapshot([Uid("unknown")]).tasks == {}
    with pytest.raises(KeyError):
        store.commit([TaskAdvanced(Uid("unknown"), None, Cause("plan"))], START)
