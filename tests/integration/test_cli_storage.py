"""backup, restore and check-state as commands: what they say, and how they end."""

import json
import sqlite3

import pytest

from state.database import VERSION
from state.store import Store
from tests.controllers import command
from tests.histories import START, begun, task


@pytest.fixture
def state(tmp_path):
    store = Store.open(tmp_path / "state")
    store.commit([*begun(task("alice")), *begun(task("bob"))], START)
    store.close(keep_wal=False)
    return tmp_path / "state"


def test_a_backup_and_the_way_back(state, tmp_path):
    copy = tmp_path / "copy.db"

    backed_up = command("backup", copy, "--state", state, "-o", "json")
    restored = command("restore", copy, "--state", state)

    assert json.loads(backed_up.stdout) == {
        "file": str(copy),
        "bytes": copy.stat().st_size,
        "sequence": 8,
        "epoch": 1,
    }
    assert "up to event 8 of start 1" in restored.stdout
    assert "reconciler adopt --all --dry-run" in restored.stdout
    assert (state / "state.db.replaced").exists()
    assert Store.open(state).held == "restored from copy.db"


def test_a_sound_state_is_said_to_be_sound(state):
    said, told = command("check-state", "--state", state), command("check-state", "--state", state, "-o", "json")

    assert (said.returncode, said.stdout) == (0, "sound: pages, values, references and event chains hold\n")
    assert (told.returncode, json.loads(told.stdout)) == (0, {"sound": True, "findings": []})


def test_what_does_not_hold_is_named_and_is_exit_code_1(state):
    with sqlite3.connect(state / "state.db") as connection:
        connection.execute("UPDATE events SET message = 'nothing happened' WHERE sequence = 3")

    said, told = command("check-state", "--state", state), command("check-state", "--state", state, "-o", "json")

    uid = task("alice").uid
    assert said.returncode == told.returncode == 1
    where = f"demo/alice run 1 event 3 (uid {uid})"
    assert said.stdout.splitlines()[0] == f"the history of a task was changed: {where}"
    assert f"1 finding: keep the files, and put a backup back: reconciler restore BACKUP --state {state}" in said.stdout
    assert json.loads(told.stdout)["findings"][0] == {
        "what": "the history of a task was changed",
        "where": where,
    }


def test_a_database_of_an_older_release_is_not_damaged_but_waits_for_its_controller(state, tmp_path):
    with sqlite3.connect(state / "state.db") as connection:
        connection.execute("PRAGMA user_version = 1")
    copy = tmp_path / "copy.db"

    checked = command("check-state", "--state", state)
    copied = [command("backup", copy, "--state", state), command("restore", copy, "--state", state)]
    listed = command("adopt", "--all", "--dry-run", "--state", state)

    said = f"error: {state}/state.db has schema 1, this release reads {VERSION}: start its controller first\n"
    assert [(each.returncode, each.stderr) for each in (checked, listed)] == [(1, said)] * 2
    assert [each.returncode for each in copied] == [0, 0], copied


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("backup", "copy.db", "--state", "nowhere"), "there is no database in nowhere"),
        (("restore", "missing.db"), "there is no backup missing.db"),
        (("check-state", "--state", "nowhere"), "there is no state in nowhere"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)

    done = command(*words)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"error: {said}")


def test_nothing_is_restored_under_a_running_controller(state, tmp_path):
    command("backup", tmp_path / "copy.db", "--state", state)
    running = Store.open(state)

    done = command("restore", tmp_path / "copy.db", "--state", state)

    assert done.returncode == 1
    assert "another controller (process" in done.stderr
    running.close()
