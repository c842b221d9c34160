"""The statements of one commit: what `apply` made of some changes, and what a revision brought, as rows.

Everything here runs inside the transaction of the store, and nothing here decides anything.
"""
# ruff: noqa: S608 - only names of our own tables and columns are put into statements; every value is bound

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from state.chain import HASH, SEQUENCE, link
from state.changes import Activated, Admitted, Cleaned, Repinned, SourceReported
from state.errors import AlreadyRan
from state.fold import Applied
from state.loading import Loaded, LoadedTrigger
from state.records import SourceRecord, TaskRecord, TaskSnapshot, Tombstone, Uid
from state.rows import (
    ATTEMPTS,
    DEFINITIONS,
    EVENTS,
    PINS,
    SETTLED,
    SOURCES,
    STEPS,
    TASKS,
    TOMBSTONES,
    TRIGGERS,
    Cell,
    ForeignRow,
    to_microseconds,
)

_LABEL = "INSERT INTO labels (name, value, number) VALUES (?, ?, ?)"
_PIN = PINS.insert.replace("INSERT INTO", "INSERT OR IGNORE INTO", 1)
_PIN_USE = "INSERT OR IGNORE INTO pin_uses (digest, uid) VALUES (?, ?)"
_REPIN = "UPDATE tasks SET pins = ?, params = ?, repinned = ? WHERE uid = ?"
_USED_PINS = "SELECT digest FROM pin_uses WHERE uid = ?"
_UNUSED_PINS = """DELETE FROM pins WHERE digest IN (SELECT value FROM json_each(?))
  AND NOT EXISTS (SELECT 1 FROM pin_uses WHERE pin_uses.digest = pins.digest)"""
_STANDS = "UPDATE tombstones SET pinned = ?, retired = ? WHERE uid = ?"
_RAN = f"SELECT 1 FROM tombstones WHERE uid = ? AND {SETTLED}"
_ROWS_OF_A_TASK = ("steps", "attempts", "pin_uses", "wakes", "tasks")
_WAKE = "INSERT INTO wakes (uid, at) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET at = excluded.at"
_LAST_REVISION = 'SELECT "commit" FROM revisions WHERE source = ? ORDER BY number DESC LIMIT 1'
_REVISION = """INSERT INTO revisions (source, "commit", author, email, subject, committed_at, activated_at)
  SELECT name, "commit", author, email, subject, committed_at, activated_at FROM sources WHERE name = ?"""
_OLD_FIRING = """SELECT sequence, hash FROM events
  WHERE sequence <= (SELECT sequence FROM events WHERE uid = ? ORDER BY sequence DESC LIMIT 1 OFFSET ?)
    AND uid = ? AND at < ? ORDER BY sequence DESC LIMIT 1"""
_LENGTH = """INSERT INTO secret_lengths (reference, length) VALUES (?, ?)
  ON CONFLICT (reference) DO UPDATE SET length = excluded.length"""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one commit writes: the tasks as they were, the changes that have effects of their own, and the outcome."""

    before: Mapping[Uid, Loaded]
    admitted: Mapping[Uid, Admitted]
    cleaned: Sequence[Cleaned]
    repinned: Sequence[Repinned]
    applied: Applied
    at: datetime
    triggers: Mapping[Uid, LoadedTrigger]  # as they were

    def known(self, uid: Uid) -> TaskSnapshot | None:
        """The task as its rows stand when steps and attempts are written."""
        return None if uid in self.admitted or uid not in self.before else self.before[uid].task


def write_turn(connection: sqlite3.Connection, turn: Turn, sequence: int) -> dict[Uid, str]:
    """Write everything that concerns tasks, the events numbered from `sequence` + 1; returns the last hash of each task."""
    for change in turn.admitted.values():
        _admit(connection, change, turn)
    _write_tasks(connection, turn)
    for repin in turn.repinned:
        _repin(connection, repin, turn)
    _write_steps(connection, turn)
    _write_attempts(connection, turn)
    decided = [turn.applied.snapshot.triggers[uid] for uid in turn.applied.triggers]
    _write(connection, TRIGGERS.upsert, [TRIGGERS.row(each) for each in decided])
    heads = _write_events(connection, turn, sequence)
    _write_wakes(connection, turn)
    for uid in turn.applied.retired:
        _retire(connection, uid, turn)
    return heads


def write_source(connection: sqlite3.Connection, change: Activated | SourceReported) -> None:
    """Write how a source stands and, for a new revision, what its files say."""
    connection.execute(SOURCES.upsert, SOURCES.row(change.source))
    if isinstance(change, Activated):
        _write_definitions(connection, change)
        _write_revision(connection, change.source)
        connection.executemany(_LENGTH, change.secret_lengths.items())


def forget_firings(connection: sqlite3.Connection, before: int, keep: int) -> None:
    """Let go what triggers did before `before` (microseconds), but for the last `keep` events of each.

    What is left of a chain begins at the hash of the last event that went.
    """
    for (uid,) in connection.execute("SELECT uid FROM triggers").fetchall():
        row = connection.execute(_OLD_FIRING, (uid, keep, uid, before)).fetchone()
        if row:
            sequence, last = row
            connection.execute("DELETE FROM events WHERE uid = ? AND sequence <= ?", (uid, sequence))
            connection.execute("UPDATE triggers SET anchor = ? WHERE uid = ?", (last, uid))


def _admit(connection: sqlite3.Connection, change: Admitted, turn: Turn) -> None:
    uid = change.task.uid
    if connection.execute(_RAN, (uid,)).fetchone():
        raise AlreadyRan(f"{change.task.namespace}/{change.task.name} run {change.task.run} ran before: {uid}")
    for table in _ROWS_OF_A_TASK if uid in turn.before else ():
        connection.execute(f"DELETE FROM {table} WHERE uid = ?", (uid,))
    connection.execute("DELETE FROM labels WHERE number = ?", (change.task.number,))
    connection.executemany(_PIN, map(PINS.row, change.pins))
    connection.executemany(_PIN_USE, ((digest, uid) for digest in change.task.pins))
    task = turn.applied.snapshot.tasks[uid].record
    connection.execute(TASKS.insert, TASKS.row(task))
    connection.executemany(_LABEL, ((name, value, task.number) for name, value in task.labels.items()))
    _bury(connection, task, "", turn.at)


def _bury(connection: sqlite3.Connection, task: TaskRecord, head: str, at: datetime, *, retired: bool = False) -> None:
    """A tombstone stands from the admission on; retirement only writes its last line."""
    stone = Tombstone(
        *(task.uid, task.namespace, task.name, task.run, task.origin.commit, task.phase, head, at),
        *(task.source, task.number),
    )
    connection.execute(TOMBSTONES.upsert, TOMBSTONES.row(stone))
    connection.execute(_STANDS, (bool(task.pins), retired, task.uid))


def _write_tasks(connection: sqlite3.Connection, turn: Turn) -> None:
    touched = [turn.applied.snapshot.tasks[uid] for uid in turn.applied.tasks if turn.known(uid)]
    _update(connection, TASKS.update, [TASKS.changes(task.record) for task in touched])


def _repin(connection: sqlite3.Connection, change: Repinned, turn: Turn) -> None:
    """What the run was begun with stays beside it."""
    row = dict(zip(TASKS.names, TASKS.row(turn.applied.snapshot.tasks[change.uid].record), strict=False))
    connection.executemany(_PIN, map(PINS.row, change.pins))
    connection.executemany(_PIN_USE, ((pin.digest, change.uid) for pin in change.pins))
    connection.execute(_REPIN, (row["pins"], row["params"], row["repinned"], change.uid))


def _write_steps(connection: sqlite3.Connection, turn: Turn) -> None:
    new, old = [], []
    for uid, path in turn.applied.steps:
        known, step = turn.known(uid), turn.applied.snapshot.tasks[uid].steps[path]
        if known and path in known.steps:
            old.append(STEPS.changes(step))
        else:
            new.append(STEPS.row(step))
    _write(connection, STEPS.insert, new)
    _update(connection, STEPS.update, old)


def _write_attempts(connection: sqlite3.Connection, turn: Turn) -> None:
    new, old = [], []
    for attempt in turn.applied.attempts:
        known = turn.known(attempt.uid)
        before = known.attempts.get(attempt.path) if known else None
        if before and before.number == attempt.number:
            old.append(ATTEMPTS.changes(attempt))
        else:
            new.append(ATTEMPTS.row(attempt))
    _write(connection, ATTEMPTS.insert, new)
    _update(connection, ATTEMPTS.update, old)
    cleaned = [(each.uid, each.path, each.number) for each in turn.cleaned]
    _write(connection, "UPDATE attempts SET cleanup = 0 WHERE uid = ? AND path = ? AND number = ?", cleaned)


def _write_events(connection: sqlite3.Connection, turn: Turn, sequence: int) -> dict[Uid, str]:
    heads = {uid: loaded.head for uid, loaded in turn.before.items()}
    heads |= {uid: loaded.head for uid, loaded in turn.triggers.items()}
    rows = []
    for number, event in enumerate(turn.applied.events, sequence + 1):
        row = EVENTS.row(event)
        row[SEQUENCE] = number
        heads[event.uid] = row[HASH] = link(heads.get(event.uid, ""), row)
        rows.append(row)
    _write(connection, EVENTS.insert, rows)
    told = {event.uid for event in turn.applied.events} - turn.applied.retired
    for table, uids in (("tasks", told - turn.applied.triggers), ("triggers", told & turn.applied.triggers)):
        _write(connection, f"UPDATE {table} SET head = ? WHERE uid = ?", [(heads[uid], uid) for uid in uids])
    return heads


def _write_wakes(connection: sqlite3.Connection, turn: Turn) -> None:
    for uid, task in turn.applied.snapshot.tasks.items():
        known = turn.known(uid)
        before, after = known.wake_at if known else None, task.wake_at
        if after is None and before is not None:
            connection.execute("DELETE FROM wakes WHERE uid = ?", (uid,))
        elif after is not None and after != before:
            connection.execute(_WAKE, (uid, to_microseconds(after)))


def _retire(connection: sqlite3.Connection, uid: Uid, turn: Turn) -> None:
    task, head = turn.before[uid].task.record, turn.before[uid].head
    _bury(connection, task, head, turn.at, retired=True)
    connection.execute("DELETE FROM labels WHERE number = ?", (task.number,))
    pins = [digest for (digest,) in connection.execute(_USED_PINS, (uid,))]
    for table in ("events", *_ROWS_OF_A_TASK):
        connection.execute(f"DELETE FROM {table} WHERE uid = ?", (uid,))
    connection.execute(_UNUSED_PINS, (json.dumps(pins),))


def _write_definitions(connection: sqlite3.Connection, change: Activated) -> None:
    name = change.source.name
    gone = [(name, path, index) for path, index in change.removed]
    connection.executemany('DELETE FROM definitions WHERE source = ? AND path = ? AND "index" = ?', gone)
    rows = (DEFINITIONS.row(replace(each, source=name)) for each in change.definitions)
    connection.executemany(DEFINITIONS.upsert, rows)


def _write_revision(connection: sqlite3.Connection, source: SourceRecord) -> None:
    """One row for each time that a commit comes into force; not for the same one read again."""
    last = connection.execute(_LAST_REVISION, (source.name,)).fetchone()
    if not last or last[0] != source.commit:
        connection.execute(_REVISION, (source.name,))


def _write(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Cell]]) -> None:
    """Most commits have nothing to say to most tables, and also an empty statement takes its time."""
    if rows:
        connection.executemany(statement, rows)


def _update(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Cell]]) -> None:
    if rows and connection.executemany(statement, rows).rowcount != len(rows):
        raise ForeignRow(f"a row is gone: {statement}")
