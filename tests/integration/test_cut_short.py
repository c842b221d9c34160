"""A start, a backup and a restore that are killed in the middle (C18, C19): the next one finds all of it or nothing."""

import os
from collections.abc import Callable
from functools import partial
from itertools import chain, count

import pytest

from state import backup as copies
from state import store as stores
from state.backup import backup, restore
from state.database import connect_writer
from state.inspection import inspect
from state.reader import Reader
from state.store import Store
from tests.histories import START, begun, task

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
KILLED = 9
FIRST = 12
"""Statements that are all tried: the library's own are among them."""
EVERY = 4
"""Behind them a statement in so many is tried, to be quick."""
STEPS = ("_require_whole", "_sync", "sync_folder")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def killed(work: Callable[[], object]) -> bool:
    """Do `work` in a process of its own, which may die in it; whether it did."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, KILLED}
    return code == KILLED


def dies(*_: object, **__: object) -> None:
    """What no `finally` hears of."""
    os._exit(KILLED)


def start_killed_at(folder, statement):
    """A start that dies before it carries out the SQL statement with this number."""
    seen = []

    def counted(_text: str) -> None:
        seen.append(1)
        if len(seen) == statement:
            dies()

    def connected(path):
        connection = connect_writer(path)
        connection.set_trace_callback(counted)
        return connection

    setattr(stores, "connect_writer", connected)  # noqa: B010 - the store does not export it
    Store.open(folder)


def committed(folder, *names):
    store = Store.open(folder)
    for name in names:
        store.commit(begun(task(name)), START)
    store.close(keep_wal=False)


def test_a_first_start_may_be_killed_at_any_statement_of_its_migration(tmp_path):
    deaths = 0
    for statement in chain(range(1, FIRST), count(FIRST, EVERY)):
        folder = tmp_path / str(statement)
        if not killed(partial(start_killed_at, folder, statement)):
            break
        committed(folder, "a")
        assert inspect(folder) == []
        assert Reader(folder).tasks().items[0].name == "a"
        deaths += 1

    assert deaths > 50 // EVERY  # the statements of the schema alone


@pytest.mark.parametrize("step", STEPS)
def test_a_backup_that_is_killed_is_the_one_before_or_whole(folder, tmp_path, monkeypatch, step):
    committed(folder, "a")
    before = backup(folder, tmp_path / "copy.db").sequence
    committed(folder, "b")
    monkeypatch.setattr(copies, step, dies)

    assert killed(lambda: backup(folder, tmp_path / "copy.db"))

    monkeypatch.undo()
    found = restore(tmp_path / "copy.db", tmp_path / "restored")
    assert (found.sequence == before) is (step != "sync_folder")
    assert inspect(tmp_path / "restored") == []
    for left in tmp_path.glob("*.part"):
        os.utime(left, (0, 0))
    assert backup(folder, tmp_path / "copy.db").sequence > before
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("step", ["_copy", "_set_aside", "sync_folder"])
def test_a_restore_that_is_killed_leaves_a_database_that_is_whole_or_held(folder, tmp_path, monkeypatch, step):
    committed(folder, "a")
    backup(folder, tmp_path / "copy.db")
    committed(folder, "b")
    monkeypatch.setattr(copies, step, dies)

    assert killed(lambda: restore(tmp_path / "copy.db", folder))

    monkeypatch.undo()
    store = Store.open(folder)
    names = {each.record.name for each in store.snapshot(store.live()).tasks.values()}
    store.close(keep_wal=False)
    assert (names == {"a", "b"}) is not bool(store.held)
    assert inspect(folder) == []
    assert not list(folder.glob("state.db.restored*"))
