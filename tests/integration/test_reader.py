import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from threading import Event as Flag
from threading import Thread

import pytest

from state.backup import backup, restore
from state.changes import Activated, AttemptAdvanced, Intended, Retired, StepAdvanced, TaskAdvanced
from state.errors import Damaged, Unreadable
from state.pages import BadCursor, TaskFilter
from state.phases import AttemptPhase, Signal, State, TaskPhase
from state.reader import Reader
from state.records import DefinitionRecord
from state.store import Store
from tests.histories import COMMIT, PINS, SEEN, SOURCE, START, activated, admitted, attempt, begun, ended, task

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


@pytest.fixture
def reader(folder):
    opened = Reader(folder)
    yield opened
    opened.close()


def names(page):
    return [each.name for each in page.items]


@pytest.fixture
def many(store):
    """Seven tasks, one a second, the later ones due earlier; every third in another namespace, the first two running."""
    for number in range(7):
        at = START + timedelta(seconds=number)
        due = START + timedelta(hours=10 - number) if number else None
        namespace = "other" if number % 3 == 2 else "demo"
        record = task(f"t{number}", namespace=namespace, created_at=at, expected_finish=due)
        store.commit(begun(record) if number < 2 else [admitted(record)], at)
    return store


def all_pages(read, **options):
    """Every item of a list, through its cursors."""
    page = read(limit=2, **options)
    items = list(page.items)
    while page.next:
        page = read(limit=2, cursor=page.next, **options)
        items += page.items
    return [each.name for each in items]


def test_tasks_come_newest_first_page_by_page(many, reader):
    assert all_pages(reader.tasks) == ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]


def test_tasks_come_by_what_is_due_first_and_those_without_a_time_last(many, reader):
    assert all_pages(reader.tasks, sort="due") == ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]
    assert reader.tasks(sort="due", limit=1).items[0].expected_finish == START + timedelta(hours=4)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (TaskFilter(namespace="other"), ["t5", "t2"]),
        (TaskFilter(state=State.RUNNING), ["t1", "t0"]),
        (TaskFilter(labels={"app": "grade", "who": "t3"}), ["t3"]),
        (TaskFilter(labels={"app": "other"}), []),
        (TaskFilter(workflow="grade", namespace="demo", state=State.CREATED), ["t6", "t4", "t3"]),
        (TaskFilter(workflow="unknown"), []),
        (TaskFilter(name="t4"), ["t4"]),
    ],
)
@pytest.mark.parametrize("sort", ["created", "due"])
def test_tasks_are_filtered(many, reader, wanted, expected, sort):
    assert names(reader.tasks(wanted, sort=sort)) == expected


def test_a_page_stays_right_while_tasks_come(many, reader):
    first = reader.tasks(limit=3)
    many.commit([admitted(task("new", created_at=LATER))], LATER)
    assert names(reader.tasks(limit=3, cursor=first.next)) == ["t3", "t2", "t1"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "%%%", "bm9wZQ", "WzEsMl0AAA", "W10", "WyJhIiwxXQ", "WzFlOTk5LDFd", "[" * 5000]
)
def test_a_cursor_from_elsewhere_is_refused(many, reader, cursor):
    with pytest.raises(BadCursor):
        reader.tasks(cursor=cursor)


def test_a_limit_is_bounded(many, reader):
    assert len(reader.tasks(limit=10_000).items) == 7
    assert reader.tasks(limit=-1).items == ()


def test_the_latest_run_of_a_task_is_read_whole_and_others_by_their_number(store, reader):
    store.commit([*begun(ALICE), *ended(UID)], START)
    second = task("alice", run=2)
    after = store.commit(begun(second), LATER).snapshot
    assert reader.task("demo", "alice") == after.tasks[second.uid]
    assert reader.task("demo", "alice", 1).record.phase is TaskPhase.FINISHED
    assert reader.task("demo", "alice", 3) is None
    assert reader.task("demo", "nobody") is None
    assert reader.snapshot(second.uid) == after.tasks[second.uid]
    assert reader.numbered(1).uid == UID
    assert reader.numbered(99) is None


def test_attempts_are_read_with_their_history(store, reader):
    fail = AttemptAdvanced(UID, "step1", Signal.FAIL, SEEN, code=500)
    store.commit([*begun(ALICE), fail, Intended(attempt(UID, number=2), SEEN)], START)
    store.commit([Intended(attempt(UID, "step2.0"), SEEN)], LATER)
    store.commit([AttemptAdvanced(UID, "step1", Signal.START, SEEN)], LATER)
    assert [(each.path, each.number, each.code) for each in reader.attempts(UID).items] == [
        ("step1", 1, 500),
        ("step1", 2, None),
        ("step2.0", 1, None),
    ]
    first = reader.attempts(UID, limit=1)
    assert reader.attempts(UID, limit=1, cursor=first.next).items[0].number == 2
    assert [each.number for each in reader.attempts(UID, path="step1").items] == [1, 2]
    assert reader.attempt(UID, "step1").number == 2
    assert reader.attempt(UID, "step1", 1).phase is AttemptPhase.FAILED
    assert reader.attempt(UID).path == "step1"
    assert reader.attempt(UID, "step9") is None


def test_events_are_followed_by_their_sequence(store, reader):
    store.commit(begun(ALICE), START)
    seen = reader.sequence()
    assert [each.sequence for each in reader.events(limit=2).items] == [1, 2]
    bob = task("bob")
    store.commit([admitted(bob)], LATER)
    (event,) = reader.events(seen).items
    assert (event.uid, event.after, event.cause, event.at) == (bob.uid, "created", COMMIT, LATER)
    assert len(reader.events(uid=UID).items) == 4
    page = reader.events(uid=UID, limit=3)
    assert [each.subject for each in reader.events(uid=UID, cursor=page.next).items] == ["attempt"]


def test_definitions_revisions_sources_and_pins_are_read(store, reader):
    store.commit([admitted(ALICE), activated("one", "a", "b")], START)
    bad = DefinitionRecord("bad.yaml", 0, "b", "two", "", "", "", "", "", accepted=False, problems=({"code": "E-X"},))
    store.commit([Activated(replace(SOURCE, commit="two"), (bad,), ())], LATER)
    assert names(reader.definitions()) == ["a", "b", ""]
    assert names(reader.definitions(accepted=True, kind="Job", namespace="demo")) == ["a", "b"]
    (rejected,) = reader.definitions(accepted=False).items
    assert (rejected.path, rejected.problems, rejected.source) == ("bad.yaml", ({"code": "E-X"},), "main")
    assert reader.definition_counts() == {("Job", True): 2, ("", False): 1}
    assert all_pages(reader.definitions) == ["a", "b", ""]
    assert [each.commit for each in reader.revisions().items] == ["two", "one"]
    assert [each.commit for each in reader.revisions(source="main", cursor=reader.revisions(limit=1).next).items] == [
        "one"
    ]
    assert [each.commit for each in reader.sources()] == ["two"]
    assert reader.pins([PINS[0].digest, "unknown"]) == {PINS[0].digest: PINS[0]}
    assert reader.secret_lengths() == {"db/password": 12}


def test_the_same_revision_read_again_is_one_revision(store, reader):
    store.commit([activated("one", "a")], START)
    store.commit([activated("one", "b")], LATER)
    store.commit([activated("two")], LATER)
    store.commit([activated("one")], LATER)
    assert [each.commit for each in reader.revisions().items] == ["one", "two", "one"]


def test_counts_tell_how_much_there_is(many, reader):
    assert reader.counts() == {("demo", State.RUNNING): 2, ("demo", State.CREATED): 3, ("other", State.CREATED): 2}
    poll = AttemptAdvanced(task("t0").uid, "step1", Signal.POLL, SEEN, answered=1, wake_at=LATER)
    many.commit([poll], START)
    queue = reader.queue(LATER + timedelta(seconds=1))
    assert queue.attempts == {("http", AttemptPhase.POLLING): 1, ("http", AttemptPhase.INTENT): 1}
    assert (queue.waiting, queue.overdue, queue.next_wake) == (1, 1, LATER)


def test_a_retired_run_is_told_as_gone(store, reader):
    store.commit([*begun(ALICE), *ended(UID)], START)
    store.commit([Retired(UID, COMMIT)], LATER)
    assert reader.task("demo", "alice") is None
    assert [(each.run, each.phase, each.number) for each in reader.gone("demo", "alice")] == [
        (1, TaskPhase.FINISHED, 1)
    ]
    assert reader.gone("demo", "bob") == ()


def test_facts_say_which_start_it_is(store, reader):
    facts = reader.facts()
    assert (facts.epoch, facts.controller, facts.held) == (store.epoch, store.controller, "")


def test_a_reader_cannot_write(store, reader):
    with pytest.raises(Unreadable, match="attempt to write a readonly database"):
        reader._rows("DELETE FROM tasks")


def test_without_a_state_there_is_a_clear_answer(folder, reader):
    with pytest.raises(Unreadable, match="there is no state in"):
        reader.sequence()
    store = Store.open(folder)
    assert reader.sequence() == 0
    store.close(keep_wal=False)


def test_a_file_that_is_no_database_is_damaged(folder, reader):
    folder.mkdir()
    (folder / "state.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(Damaged):
        reader.sequence()


def test_after_a_clean_close_the_lone_file_is_read(folder, store, reader):
    store.commit(begun(ALICE), START)
    store.close(keep_wal=False)
    assert not (folder / "state.db-wal").exists()
    assert reader.task("demo", "alice").record.phase is TaskPhase.RUNNING


def test_a_reader_sees_the_backup_that_was_put_in_place(folder, store, reader, tmp_path):
    store.commit([admitted(ALICE)], START)
    backup(folder, tmp_path / "copy.db")
    store.commit([TaskAdvanced(UID, Signal.START, SEEN)], START)
    assert reader.task("demo", "alice").record.phase is TaskPhase.RUNNING
    store.close()
    restore(tmp_path / "copy.db", folder)
    assert reader.task("demo", "alice").record.phase is TaskPhase.CREATED
    assert reader.facts().held == "restored from copy.db"


def test_readers_and_the_writer_do_not_disturb_each_other(folder, store):
    store.commit([admitted(ALICE)], START)
    over, problems, counts = Flag(), [], []

    def look():
        mine, last, count = Reader(folder), 0, 0
        while not over.is_set():
            try:
                sequence, whole = mine.sequence(), mine.snapshot(UID)
                assert sequence >= last
                assert whole.record.message in {"", whole.record.params["name"], str(whole.record.outputs)}
                last, count = sequence, count + 1
            except Exception as problem:
                problems.append(problem)
                return
        counts.append(count)

    readers = [Thread(target=look) for _ in range(3)]
    for each in readers:
        each.start()
    for number in range(150):
        store.commit([TaskAdvanced(UID, None, SEEN, message=str(number), outputs=number)], START)
        if number % 50 == 0:
            store.checkpoint(above=0)
    over.set()
    for each in readers:
        each.join()
    assert problems == []
    assert min(counts) > 0


def test_nothing_of_a_commit_is_seen_before_all_of_it(store, reader):
    store.commit(begun(ALICE), START)
    before, seen = reader.snapshot(UID), []

    store._connection.set_trace_callback(lambda _: seen.append((reader.snapshot(UID), reader.events(uid=UID))))
    store.commit(ended(UID, outputs={"age": 20}), LATER)
    store._connection.set_trace_callback(None)

    assert len(seen) > 5
    assert {(task.record.phase, task.steps["step1"].phase, task.attempts["step1"].phase) for task, _ in seen} == {
        (before.record.phase, before.steps["step1"].phase, before.attempts["step1"].phase)
    }
    assert {len(page.items) for _, page in seen} == {4}
    assert reader.snapshot(UID).record.phase is TaskPhase.FINISHED


def test_a_task_is_read_as_of_one_commit(store, reader):
    store.commit(begun(ALICE), START)
    reader.snapshot(UID)
    said = []

    def write(_statement):
        said.append("x")
        text = "".join(said)
        everywhere = (TaskAdvanced(UID, None, SEEN, message=text), StepAdvanced(UID, "step1", None, SEEN, message=text))
        store.commit([*everywhere, AttemptAdvanced(UID, "step1", None, SEEN, message=text)], START)

    reader._reading._connection.set_trace_callback(write)  # before each of its statements
    seen = reader.snapshot(UID)
    reader._reading._connection.set_trace_callback(None)

    assert len(said) >= 3
    assert len({seen.record.message, seen.steps["step1"].message, seen.attempts["step1"].message}) == 1


WRITER = """
import os, sys
from pathlib import Path
from state.store import Store
from tests.histories import START, begun, task
store = Store.open(Path(sys.argv[1]))
store.commit(begun(task("alice")), START)
print("written", flush=True)
if sys.argv[2] == "close":
    store.close()
elif sys.argv[2] == "raise":
    raise SystemExit(1)
else:
    sys.stdin.read()
"""


def written(folder, how):
    """A controller in a process of its own that wrote one task and is gone: closed, raised, or killed."""
    command = [sys.executable, "-c", WRITER, str(folder), how]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.getcwd())
    assert writer.stdout.readline() == b"written\n"
    if how == "kill":
        writer.send_signal(signal.SIGKILL)
    writer.communicate()


@pytest.mark.parametrize("how", ["close", "raise", "kill"])
def test_a_controller_that_is_gone_leaves_what_readers_need(folder, reader, how):
    written(folder, how)
    assert (folder / "state.db-wal").exists()
    assert (folder / "state.db-shm").exists()
    assert reader.task("demo", "alice").record.phase is TaskPhase.RUNNING


LOOK = """
import sys
from pathlib import Path
from state.reader import Reader
reader = Reader(Path(sys.argv[1]))
for _ in range(50):
    print(reader.sequence(), reader.task("demo", "alice").record.phase, len(reader.tasks().items))
try:
    (Path(sys.argv[1]) / "file").write_text("")
except OSError as error:
    print(error.strerror)
"""


def read_only(folder, *before):
    """What a reader in another mount namespace sees, where the state folder is mounted read-only."""
    mounts = f'mount --bind "{folder}" "{folder}" && mount -o remount,ro,bind "{folder}" && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mounts, "sh", sys.executable, "-c", LOOK, str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=os.getcwd())
    if found.returncode and ("unshare" in found.stderr or "mount:" in found.stderr):
        pytest.skip(f"a read-only mount needs the right to mount: {found.stderr.strip()}")
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


@pytest.mark.parametrize("how", ["close", "raise", "kill"])
def test_a_read_only_mount_is_enough_without_a_writer(folder, how):
    written(folder, how)
    lines = read_only(folder)
    assert lines[-1] == "Read-only file system"
    assert set(lines[:-1]) == {"4 running 1"}


def test_a_read_only_mount_is_enough_beside_a_writer(folder, store):
    store.commit(begun(ALICE), START)
    assert set(read_only(folder)[:-1]) == {"4 running 1"}


def test_a_read_only_mount_is_enough_for_a_lone_file(folder, store):
    store.commit(begun(ALICE), START)
    store.close(keep_wal=False)
    assert set(read_only(folder)[:-1]) == {"4 running 1"}


def test_the_api_needs_no_migrations_to_read(folder, store):
    program = f"import sys; from state.reader import Reader; from pathlib import Path; Reader(Path({str(folder)!r})).sequence()"
    listed = f"{program}; print([name for name in sys.modules if name.startswith(('sqlite_utils', 'click'))])"
    found = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert found.stdout == "[]\n"
