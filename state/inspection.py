"""Whether a database holds together: its pages, its values, its chain of events, and every reference between rows.

A flipped bit in a page is no error to SQLite, but it breaks the chain or a reference, and is found here.
"""
# ruff: noqa: S608 - only names of our own tables and columns are put into statements; every value is bound

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from state.chain import SEQUENCE, UID, breaks
from state.database import connect_reader, require_ours
from state.errors import Unreadable
from state.folder import StateFolder
from state.loading import load_tasks
from state.records import Uid
from state.rows import (
    ATTEMPTS,
    DEFINITIONS,
    EVENTS,
    PINS,
    REVISIONS,
    SOURCES,
    STEPS,
    TASKS,
    TOMBSTONES,
    ForeignRow,
    Table,
    to_microseconds,
)

_TABLES: tuple[Table[Any], ...] = (TASKS, STEPS, ATTEMPTS, EVENTS, PINS, TOMBSTONES, DEFINITIONS, SOURCES, REVISIONS)

_REFERENCES = {
    "a step without its task": "SELECT uid || ' ' || path FROM steps WHERE uid NOT IN (SELECT uid FROM tasks)",
    "an attempt without its step": """SELECT uid || ' ' || path || ' ' || number FROM attempts a
        WHERE NOT EXISTS (SELECT 1 FROM steps s WHERE s.uid = a.uid AND s.path = a.path AND s.attempt >= a.number)""",
    "a step without its attempt": """SELECT uid || ' ' || path FROM steps s WHERE attempt > 0
        AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.uid = s.uid AND a.path = s.path AND a.number = s.attempt)""",
    "an unfinished attempt that another followed": """SELECT a.uid || ' ' || a.path || ' ' || a.number FROM attempts a
        JOIN steps s ON s.uid = a.uid AND s.path = a.path WHERE a.ended_at IS NULL AND a.number < s.attempt""",
    "an event without its task": "SELECT sequence FROM events WHERE uid NOT IN (SELECT uid FROM tasks)",
    "a wake-up without its task": "SELECT uid FROM wakes WHERE uid NOT IN (SELECT uid FROM tasks)",
    "a label without its task": "SELECT name FROM labels WHERE number NOT IN (SELECT number FROM tasks)",
    "a task without its tombstone": "SELECT uid FROM tasks WHERE uid NOT IN (SELECT uid FROM tombstones WHERE retired = 0)",
    "a tombstone without its task": """SELECT uid FROM tombstones
        WHERE retired = 0 AND uid NOT IN (SELECT uid FROM tasks)""",
    "a pin that a task needs is missing": """SELECT uid || ' ' || digest FROM pin_uses
        WHERE digest NOT IN (SELECT digest FROM pins)""",
    "a pin that no task needs": "SELECT digest FROM pins WHERE digest NOT IN (SELECT digest FROM pin_uses)",
}

_LAST_WORDS = """SELECT subject, path, attempt, after FROM events WHERE uid = ? ORDER BY sequence"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold: what, and of which row."""

    what: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.where}" if self.where else self.what


def inspect(state: Path) -> list[Finding]:
    """Everything that is wrong with the database of the state folder `state`; reads all of it, writes nothing.

    Right beside a running controller too, as of one moment. Raises Unreadable, TooNew, Damaged.
    """
    database = StateFolder(state).database
    if not database.exists():
        raise Unreadable(f"there is no state in {state}")
    alone = not database.with_name(database.name + "-wal").exists()
    with closing(connect_reader(database, immutable=alone)) as connection:
        try:
            require_ours(connection, database)
            connection.execute("BEGIN")
            return [finding for part in _PARTS for finding in part(connection)]
        except sqlite3.DatabaseError as error:
            return [Finding("the file is damaged", str(error))]


def _pages(connection: sqlite3.Connection) -> Iterator[Finding]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield Finding("the file is damaged", line)


def _values(connection: sqlite3.Connection) -> Iterator[Finding]:
    for table in _TABLES:
        for row in connection.execute(f"SELECT {table.columns} FROM {table.name}"):
            try:
                table.record(row)
            except ForeignRow as error:
                yield Finding("a value that nobody wrote", str(error))


def _chain(connection: sqlite3.Connection) -> Iterator[Finding]:
    heads: dict[Uid, str] = {}
    for row in breaks(connection.execute(f"SELECT {EVENTS.columns} FROM events ORDER BY sequence"), heads):
        yield Finding("the history of a task was changed", f"{row[UID]} event {row[SEQUENCE]}")
    for uid, head in connection.execute("SELECT uid, head FROM tasks"):
        if heads.get(uid, "") != head:
            yield Finding("the history of a task does not end where it should", uid)


def _references(connection: sqlite3.Connection) -> Iterator[Finding]:
    for what, statement in _REFERENCES.items():
        for (where,) in connection.execute(statement):
            yield Finding(what, str(where))


def _phases(connection: sqlite3.Connection) -> Iterator[Finding]:
    """The phase of every row is the one that its last event told."""
    for (uid,) in connection.execute("SELECT uid FROM tasks").fetchall():
        told: dict[tuple[str, str, int], str] = {}
        for subject, path, attempt, after in connection.execute(_LAST_WORDS, (uid,)):
            told[subject, path, attempt if subject == "attempt" else 0] = after
        for key, phase in _current(connection, uid):
            if told.get(key, phase if key[0] == "step" and phase == "waiting" else "") != phase:
                yield Finding("a phase that no event told", f"{uid} {key[0]} {key[1]} {phase}")


def _current(connection: sqlite3.Connection, uid: str) -> Iterator[tuple[tuple[str, str, int], str]]:
    for (phase,) in connection.execute("SELECT phase FROM tasks WHERE uid = ?", (uid,)):
        yield ("task", "", 0), phase
    for path, phase in connection.execute("SELECT path, phase FROM steps WHERE uid = ?", (uid,)):
        yield ("step", path, 0), phase
    for path, number, phase in connection.execute("SELECT path, number, phase FROM attempts WHERE uid = ?", (uid,)):
        yield ("attempt", path, number), phase


def _wakes(connection: sqlite3.Connection) -> Iterator[Finding]:
    stored = dict(connection.execute("SELECT uid, at FROM wakes"))
    for (uid,) in connection.execute("SELECT uid FROM tasks").fetchall():
        try:
            ((_, loaded),) = load_tasks(connection, [uid])
        except ForeignRow:
            continue  # told by _values
        due = loaded.task.wake_at
        if stored.get(uid) != (to_microseconds(due) if due else None):
            yield Finding("a wake-up time that its task does not have", uid)


_PARTS: tuple[Callable[[sqlite3.Connection], Iterator[Finding]], ...] = (
    _pages,
    _values,
    _chain,
    _references,
    _phases,
    _wakes,
)
