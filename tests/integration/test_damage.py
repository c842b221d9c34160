"""What becomes of a state folder whose files lost or changed something: it is refused, or held, and never believed."""

import re
import shutil
import sqlite3
from datetime import timedelta
from typing import Any

import pytest

from state.backup import backup, restore
from state.changes import Held, TaskAdvanced
from state.errors import Damaged, Full, NotWritable
from state.inspection import inspect
from state.phases import Signal, TaskPhase
from state.reader import Reader
from state.store import Store
from state.wal import Log, read_log
from tests.histories import PINS, SEEN, START, admitted, begun, ended, task

ALICE = task("alice")
UID = ALICE.uid
LATER = START + timedelta(minutes=1)
COMMITS = 12


@pytest.fixture
def folder(tmp_path):
    """As a killed controller leaves it: its commits are in the log."""
    store = Store.open(tmp_path / "first")
    for number in range(COMMITS):
        store.commit(begun(task(f"t{number}")), START)
    return killed(store, tmp_path / "state")


def killed(store, copy):
    """The files of an open store in another folder, where nobody shares memory with it."""
    shutil.copytree(store.folder.path, copy, ignore=shutil.ignore_patterns("*-shm"))
    return copy


def flip(file, at):
    with file.open("r+b") as stream:
        stream.seek(at)
        (byte,) = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))


def frame_size(log):
    return 24 + int.from_bytes(log.read_bytes()[8:12], "big")


def test_the_log_of_a_killed_controller_is_whole(folder):
    log = read_log(folder / "state.db-wal")
    assert log.frames > COMMITS
    assert (log.lost, log.damaged) == (0, False)


def test_no_log_is_an_empty_log(tmp_path):
    assert read_log(tmp_path / "state.db-wal") == Log()


def test_frames_of_an_earlier_generation_are_no_loss(folder):
    store = Store.open(folder)
    for number in range(400):
        store.commit(begun(task(f"more{number}")), START)
    log = folder / "state.db-wal"
    assert log.stat().st_size > read_log(log).frames * frame_size(log)
    assert not read_log(log).damaged


@pytest.mark.parametrize("frame", [0, 3, 9])
def test_a_flipped_bit_in_the_log_is_refused_and_changes_nothing(folder, frame):
    log = folder / "state.db-wal"
    flip(log, 32 + frame * frame_size(log) + 100)
    before = log.read_bytes()
    with pytest.raises(Damaged, match=r"commits behind frame \d+ are cut off.*reconciler restore BACKUP --state"):
        Store.open(folder)
    assert log.read_bytes() == before
    assert "the write-ahead log is damaged" in {each.what for each in inspect(folder)}


def test_a_flipped_bit_in_the_head_of_the_log_is_refused(folder):
    flip(folder / "state.db-wal", 17)
    with pytest.raises(Damaged, match="its header is damaged"):
        Store.open(folder)


def test_the_last_transaction_may_be_torn(folder):
    """A power cut does that, before its fsync has returned; then nobody has noted it either."""
    (folder / "sequence").unlink()
    log = folder / "state.db-wal"
    flip(log, 32 + (read_log(log).frames - 1) * frame_size(log) + 100)
    store = Store.open(folder)
    assert (len(store.live()), store.held) == (COMMITS - 1, "")


def test_what_can_be_read_of_a_damaged_log_can_be_backed_up_and_restored(folder, tmp_path):
    log = folder / "state.db-wal"
    flip(log, 32 + (read_log(log).frames // 2) * frame_size(log) + 100)
    backup(folder, tmp_path / "copy.db")
    restore(tmp_path / "copy.db", folder)
    store = Store.open(folder)
    assert 0 < len(store.live()) < COMMITS
    assert store.held == "restored from copy.db"


def test_a_database_that_lost_commits_which_the_folder_knows_of_is_held(folder, tmp_path):
    store = Store.open(folder)
    store.commit(begun(task("one")), START)
    store.commit(begun(task("two")), START)
    folder = killed(store, tmp_path / "killed")
    log = folder / "state.db-wal"
    log.write_bytes(log.read_bytes()[: 32 + (read_log(log).frames - 1) * frame_size(log)])
    again = Store.open(folder)
    assert "the state folder has seen event" in again.held
    again.release()
    again.folder.unlock()
    assert Store.open(folder).held == ""


def test_the_folder_knows_how_far_the_database_came(folder):
    store = Store.open(folder)
    committed = store.commit(begun(task("last")), START)
    assert store.folder.read_sequence() == committed.sequence


def test_a_live_task_whose_history_was_changed_is_not_acted_upon(folder):
    Store.open(folder).close(keep_wal=False)
    with sqlite3.connect(folder / "state.db") as connection:
        connection.execute("UPDATE steps SET phase = 'succeeded' WHERE uid = ?", (task("t3").uid,))
    with pytest.raises(Damaged, match="a phase that no event told"):
        Store.open(folder)


def test_a_flipped_bit_that_makes_a_text_no_text_is_refused_with_the_command_that_helps(folder):
    Store.open(folder).close(keep_wal=False)
    database = folder / "state.db"
    with sqlite3.connect(database) as connection:
        (text,) = connection.execute("SELECT hash FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
    at = database.read_bytes().rfind(text.encode())
    with database.open("r+b") as stream:
        stream.seek(at + 7)
        stream.write(bytes([text.encode()[7] | 0x80]))

    with pytest.raises(Damaged, match=r"decode to UTF-8.*reconciler restore BACKUP --state"):
        Store.open(folder)


def test_the_history_of_a_task_that_is_over_is_for_the_inspection(folder):
    store = Store.open(folder)
    store.commit(ended(task("t3").uid), LATER)
    store.close(keep_wal=False)
    with sqlite3.connect(folder / "state.db") as connection:
        connection.execute("UPDATE tasks SET phase = 'failed' WHERE uid = ?", (task("t3").uid,))
    Store.open(folder).folder.unlock()
    assert [each.what for each in inspect(folder)] == [
        "a phase that no event told",
        "a state that does not follow from the phase or the times of its task",
    ]


ROWS = {
    "an event whose row is gone": """DELETE FROM steps WHERE uid = :uid;
        DELETE FROM attempts WHERE uid = :uid; DELETE FROM wakes WHERE uid = :uid""",
    "an event whose row is gone: demo/t3 run 1 attempt step1 attempt 1 (uid": "DELETE FROM attempts WHERE uid = :uid",
    "a state that does not follow from the phase": "UPDATE tasks SET live = 0 WHERE uid = :uid",
    "a state that does not follow from the phase or": "UPDATE tasks SET state = 'FINISHED' WHERE uid = :uid",
    "a call that does not follow": "UPDATE attempts SET call = 3 WHERE uid = :uid",
    "a wake-up time that its task does not have": "INSERT INTO wakes VALUES (:uid, 77)",
    "meta has no number as its sequence: None": "DELETE FROM meta WHERE name = 'sequence'",
    "meta has no number as its epoch: 'x'": "UPDATE meta SET value = 'x' WHERE name = 'epoch'",
    "meta says that event 5 was the last, and there is event 48": "UPDATE meta SET value = '5' WHERE name = 'sequence'",
}


@pytest.mark.parametrize("what", list(ROWS))
def test_rows_that_are_gone_or_do_not_fit_are_found_by_a_start_and_by_the_inspection(folder, what):
    Store.open(folder).close(keep_wal=False)
    with sqlite3.connect(folder / "state.db") as connection:
        for statement in ROWS[what].split(";"):
            connection.execute(statement.replace(":uid", f"'{task('t3').uid}'"))
    assert [each for each in map(str, inspect(folder)) if what in each]
    with pytest.raises(Damaged, match=re.escape(what)):
        Store.open(folder)


@pytest.mark.parametrize("statement", ["DROP TRIGGER attempts_are_final", "DROP INDEX triggers_identity"])
def test_a_dropped_index_or_trigger_is_for_the_inspection(folder, statement):
    Store.open(folder).close(keep_wal=False)
    with sqlite3.connect(folder / "state.db") as connection:
        connection.execute(statement)
    name = statement.removeprefix("DROP ").partition(" ")
    assert list(map(str, inspect(folder))) == [
        f"the schema is not the one of this release: {name[0].lower()} {name[2]}"
    ]


def test_a_database_that_is_older_than_its_folder_is_found_before_it_is_started(folder, tmp_path):
    backup(folder, tmp_path / "copy.db")
    Store.open(folder).close(keep_wal=False)
    (tmp_path / "copy.db").replace(folder / "state.db")
    assert list(map(str, inspect(folder))) == [
        "the database may be older than what has run: the database is from epoch 1, and the state folder has seen epoch 2"
    ]
    store = Store.open(folder)
    assert store.held
    assert inspect(folder) == []


def test_a_changed_definition_is_never_compiled(folder):
    with sqlite3.connect(folder / "state.db") as connection:
        connection.execute("UPDATE pins SET text = replace(text, 'Job', 'Jab')")
    with pytest.raises(Damaged, match="the pinned Job demo/api was changed"):
        Reader(folder).pins([pin.digest for pin in PINS])
    assert "a pinned definition was changed" in {each.what for each in inspect(folder)}


class _Failing:
    """A connection whose commits fail as SQLite says they do."""

    def __init__(self, connection, code):
        self._connection = connection
        self._code = code

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *arguments):
        if statement == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error
        return self._connection.execute(statement, *arguments)


def _failing(connection, code) -> Any:
    return _Failing(connection, code)


def test_after_a_failed_fsync_nothing_more_is_written(folder):
    store = Store.open(folder)
    whole = store._connection
    store._connection = _failing(whole, sqlite3.SQLITE_IOERR_FSYNC)
    with pytest.raises(NotWritable, match="may or may not be there"):
        store.commit([admitted(ALICE)], START)
    store._connection = whole
    with pytest.raises(NotWritable):
        store.commit([admitted(ALICE)], START)
    size = (folder / "state.db-wal").stat().st_size
    store.close()
    assert (folder / "state.db-wal").stat().st_size == size


def _removed(folder):
    shutil.rmtree(folder)


def _replaced(folder):
    shutil.copy2(folder / "state.db", folder / "other.db")
    (folder / "other.db").replace(folder / "state.db")


def _taken_over(folder):
    folder.rename(folder.with_name("old"))
    Store.open(folder)


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (_removed, "lock"),
        (_replaced, "state.db"),
        (_taken_over, "lock"),
        (lambda folder: (folder / "state.db-wal").unlink(), "state.db-wal"),
        (lambda folder: (folder / "lock").unlink(), "lock"),
    ],
    ids=["removed", "replaced", "taken over", "no log", "no lock"],
)
@pytest.mark.parametrize("changes", [[], [admitted(ALICE)]], ids=["nothing to write", "something"])
def test_a_store_whose_files_are_gone_writes_and_sends_nothing_more(folder, act, what, changes):
    store = Store.open(folder)
    store.commit(begun(task("one")), START)
    act(folder)
    for _ in range(2):
        with pytest.raises(NotWritable, match=rf"/{what} was removed or replaced while this controller was running"):
            store.commit(changes, START)
    store.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE])
def test_a_full_disk_is_waited_out_by_the_same_store(folder, code):
    store = Store.open(folder)
    whole = store._connection
    store._connection = _failing(whole, code)
    with pytest.raises(Full):
        store.commit([admitted(ALICE)], START)
    store._connection = whole
    store.commit([admitted(ALICE)], START)
    assert UID in store.live()


def test_a_held_task_wakes_nobody_and_goes_on_when_a_person_says_so(folder):
    store = Store.open(folder)
    store.commit([*begun(ALICE), TaskAdvanced(UID, None, SEEN, deadline=LATER)], START)
    assert UID in store.undecided()
    store.commit([Held(UID, "restored", SEEN)], START)
    record = store.snapshot([UID]).tasks[UID].record
    assert (record.held, record.phase) == ("restored", TaskPhase.RUNNING)
    assert UID not in store.undecided()
    assert store.due(LATER, 5) == ([], None)
    store.commit([Held(UID, "", SEEN)], START)
    assert store.due(LATER, 5) == ([UID], None)
    said = [(each.reason, each.message) for each in Reader(folder).events(uid=UID).items if each.reason]
    assert said == [("RestoredOlder", "restored"), ("Adopted", "")]


def test_what_succeeded_or_was_revoked_is_not_held(folder):
    store = Store.open(folder)
    store.commit(ended(task("t0").uid), LATER)
    store.commit([TaskAdvanced(task("t1").uid, Signal.FAIL, SEEN)], LATER)
    assert task("t0").uid not in store.undecided()
    assert task("t1").uid in store.undecided()
