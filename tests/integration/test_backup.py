import os
import sqlite3
from datetime import timedelta
from threading import Thread

import pytest

from state import backup as copies
from state.backup import backup, restore
from state.changes import TaskAdvanced
from state.errors import Damaged, Full, Locked, NotWritable, StateError, TooNew, Unreadable
from state.inspection import Finding, inspect
from state.phases import Signal, TaskPhase
from state.store import Store
from tests.crash.disks import small_disk
from tests.histories import SEEN, START, activated, admitted, begun, ended, task

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


def test_a_backup_has_what_was_committed(folder, store, tmp_path):
    committed = store.commit([*begun(ALICE), activated("one", "a")], START)
    copy = backup(folder, tmp_path / "copy.db")
    assert (copy.sequence, copy.epoch, copy.path) == (committed.sequence, 1, tmp_path / "copy.db")
    assert copy.size == (tmp_path / "copy.db").stat().st_size
    assert {each.name for each in tmp_path.iterdir()} == {"state", "copy.db"}


def test_a_backup_beside_a_busy_writer_is_one_moment(folder, store, tmp_path):
    def work():
        for number in range(200):
            store.commit(begun(task(f"t{number}")), START)

    writer = Thread(target=work)
    writer.start()
    copies = [backup(folder, tmp_path / f"copy{number}.db") for number in range(4)]
    writer.join()
    for number, copy in enumerate(copies):
        restored = tmp_path / f"restored{number}"
        assert restore(copy.path, restored).sequence == copy.sequence
        assert inspect(restored) == []


def test_a_restored_database_is_held_and_what_was_there_is_kept(folder, store, tmp_path):
    store.commit([admitted(ALICE)], START)
    backup(folder, tmp_path / "copy.db")
    store.commit([TaskAdvanced(UID, Signal.START, SEEN)], LATER)
    store.close()
    restore(tmp_path / "copy.db", folder)
    again = Store.open(folder)
    assert again.held == "restored from copy.db"
    assert again.epoch == 2
    assert again.snapshot([UID]).tasks[UID].record.phase is TaskPhase.CREATED
    assert (folder / "state.db.replaced").exists()
    again.close(keep_wal=False)


def test_nothing_is_restored_under_a_running_controller(folder, store, tmp_path):
    store.commit([admitted(ALICE)], START)
    backup(folder, tmp_path / "copy.db")
    with pytest.raises(Locked):
        restore(tmp_path / "copy.db", folder)
    assert store.commit([TaskAdvanced(UID, Signal.START, SEEN)], LATER).sequence == 2


def test_a_restore_replaces_a_damaged_database(folder, store, tmp_path):
    store.commit([admitted(ALICE)], START)
    backup(folder, tmp_path / "copy.db")
    store.close(keep_wal=False)
    (folder / "state.db").write_bytes(b"garbage" * 1000)
    restore(tmp_path / "copy.db", folder)
    again = Store.open(folder)
    assert again.live() == [UID]
    again.close(keep_wal=False)


def test_a_restore_does_not_read_the_log_of_the_database_before(folder, store, tmp_path):
    """The old `-wal` beside the new file would bring pages of the old one back."""
    store.commit([admitted(ALICE)], START)
    backup(folder, tmp_path / "copy.db")
    store.commit(ended_task(), LATER)
    store.close()
    (folder / "state.db-wal").write_bytes((folder / "state.db-wal").read_bytes() or b"old log")
    restore(tmp_path / "copy.db", folder)
    again = Store.open(folder)
    assert again.snapshot([UID]).tasks[UID].record.phase is TaskPhase.CREATED
    again.close(keep_wal=False)
    assert inspect(folder) == []


def ended_task():
    return [*begun(ALICE)[1:], *ended(UID)]


def test_a_read_only_backup_can_be_restored(folder, store, tmp_path):
    store.commit([admitted(ALICE)], START)
    backup(folder, tmp_path / "copy.db")
    (tmp_path / "copy.db").chmod(0o400)
    restore(tmp_path / "copy.db", tmp_path / "new")
    assert inspect(tmp_path / "new") == []
    assert (tmp_path / "copy.db").exists()


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"garbage" * 1000, Damaged), (b"", Damaged), (b"SQLite format 3\0" + b"\0" * 4080, Damaged)],
    ids=["garbage", "empty", "header"],
)
def test_what_is_no_backup_is_not_restored(folder, store, tmp_path, content, error):
    store.commit([admitted(ALICE)], START)
    store.close(keep_wal=False)
    (tmp_path / "copy.db").write_bytes(content)
    with pytest.raises(error):
        restore(tmp_path / "copy.db", folder)
    assert Store.open(folder).live() == [UID]


def test_a_backup_of_a_newer_release_is_not_restored(folder, store, tmp_path):
    backup(folder, tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(TooNew):
        restore(tmp_path / "copy.db", tmp_path / "new")


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(StateError, match="no backup"):
        restore(tmp_path / "missing.db", tmp_path / "new")
    with pytest.raises(StateError, match="no database"):
        backup(tmp_path / "missing", tmp_path / "copy.db")
    with pytest.raises(Unreadable, match="no state"):
        inspect(tmp_path / "missing")


def test_a_backup_that_cannot_be_written_leaves_nothing(folder, store, tmp_path):
    with pytest.raises(NotWritable):
        backup(folder, tmp_path / "missing" / "copy.db")
    assert os.listdir(tmp_path) == ["state"]


@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "lock", "epoch", "sequence", "logs/copy.db", "new.db"])
def test_a_backup_never_goes_into_the_state_folder(folder, store, tmp_path, name):
    store.commit([admitted(ALICE)], START)
    (tmp_path / "link").symlink_to(folder)
    for target in (folder / name, tmp_path / "link" / name):
        with pytest.raises(NotWritable, match="lies in the state folder"):
            backup(folder, target)
    assert store.commit([TaskAdvanced(UID, Signal.START, SEEN)], LATER).sequence == 2
    assert inspect(folder) == []


def test_a_backup_replaces_nothing_but_a_plain_file(folder, store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("copy.db")
    for target, said in (
        ("pipe", "no plain file"),
        ("link", "no plain file"),
        ("", "is a folder"),
        (".", "is a folder"),
    ):
        with pytest.raises(NotWritable, match=said):
            backup(folder, tmp_path / target)
    assert {each.name for each in tmp_path.iterdir()} == {"state", "pipe", "link"}


def test_two_backups_to_one_file_at_a_time_are_both_whole(folder, store, tmp_path, monkeypatch):
    def another_first(connection, path):
        monkeypatch.undo()
        backup(folder, tmp_path / "copy.db")

    monkeypatch.setattr(copies, "_require_whole", another_first)
    backup(folder, tmp_path / "copy.db")

    assert restore(tmp_path / "copy.db", tmp_path / "new").sequence == 0
    assert {each.name for each in tmp_path.iterdir()} == {"state", "copy.db", "new"}


def test_what_a_restore_replaces_is_kept_each_time(folder, store, tmp_path):
    backup(folder, tmp_path / "copy.db")
    store.commit([admitted(ALICE)], START)
    store.close(keep_wal=False)
    original = (folder / "state.db").read_bytes()
    kept = [restore(tmp_path / "copy.db", folder).replaced for _ in range(3)]
    assert [each and each.name for each in kept] == ["state.db.replaced", "state.db.replaced.2", "state.db.replaced.3"]
    assert (folder / "state.db.replaced").read_bytes() == original
    assert restore(tmp_path / "copy.db", tmp_path / "new").replaced is None


def test_what_is_wrong_with_a_backup_is_no_reason_to_restore_it(folder, tmp_path):
    (tmp_path / "copy.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(Damaged) as raised:
        restore(tmp_path / "copy.db", folder)
    assert "no backup that can be restored" in str(raised.value)
    assert "reconciler restore" not in str(raised.value)
    with pytest.raises(StateError, match="is no file"):
        restore(tmp_path, folder)


def test_a_full_disk_under_a_backup_is_the_one_of_the_backup(folder, store, tmp_path):
    try:
        with small_disk(tmp_path / "small", "64k") as disk:
            with pytest.raises(Full, match=r"small/copy\.db"):
                backup(folder, disk / "copy.db")
            assert list(disk.iterdir()) == []
    except PermissionError as error:
        pytest.skip(f"no file system can be mounted here: {error}")


BREAKS = {
    "a step without its task": "DELETE FROM tasks",
    "a step without its attempt": "DELETE FROM attempts",
    "an attempt without its step": "DELETE FROM steps",
    "an event without its task": "UPDATE events SET uid = 'other' WHERE sequence = 2",
    "a wake-up without its task": "INSERT INTO wakes VALUES ('other', 5)",
    "a label without its task": "INSERT INTO labels VALUES ('a', 'b', 99)",
    "a task without its tombstone": "DELETE FROM tombstones",
    "a tombstone without its task": "DELETE FROM tasks",
    "a pin that a task needs is missing": "DELETE FROM pins",
    "a pin that no task needs": "DELETE FROM pin_uses",
    "a phase that no event told": "UPDATE tasks SET phase = 'failed'",
    "a value that nobody wrote": "UPDATE tasks SET labels = '[1'",
    "a wake-up time that its task does not have": "UPDATE steps SET phase = 'retrying', wake_at = 77",
    "the history of a task was changed": "UPDATE events SET cause = '{}' WHERE sequence = 2",
    "the history of a task does not end where it should": "UPDATE tasks SET head = 'x'",
}


@pytest.mark.parametrize("what", list(BREAKS))
def test_an_inspection_finds(folder, store, what):
    store.commit(begun(ALICE), START)
    assert inspect(folder) == []
    with sqlite3.connect(folder / "state.db") as connection:
        connection.execute(BREAKS[what])
    assert what in {each.what for each in inspect(folder)}


def test_a_torn_file_is_found(folder, store):
    store.commit(begun(ALICE), START)
    store.close(keep_wal=False)
    whole = (folder / "state.db").read_bytes()
    (folder / "state.db").write_bytes(whole[: len(whole) // 2])
    assert next(each.what for each in inspect(folder)) == "the file is damaged"
    with pytest.raises(Damaged):
        Store.open(folder)


def test_a_finding_is_one_line():
    assert str(Finding("the file is damaged", "page 3")) == "the file is damaged: page 3"
    assert str(Finding("the file is damaged")) == "the file is damaged"
