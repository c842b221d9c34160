"""Whether a database holds together: its pages, its values, its chain of events, and every reference between rows.

A flipped bit in a page is no error to SQLite, but it breaks the chain or a reference, and is found here.
"""
# ruff: noqa: S608 - only names of our own tables and columns are put into statements; every value is bound

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any

from state.chain import breaks, trigger_breaks
from state.database import connect_reader, require_ours
from state.errors import Unreadable
from state.folder import StateFolder
from state.loading import load_tasks
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
    TRIGGERS,
    ForeignRow,
    Table,
    to_microseconds,
)
from state.wal import log_of, read_log

_TABLES: tuple[Table[Any], ...] = (
    *(TASKS, STEPS, ATTEMPTS, EVENTS, PINS, TOMBSTONES),
    *(DEFINITIONS, SOURCES, REVISIONS, TRIGGERS),
)

_REFERENCES = {
    "a step without its task": "SELECT uid || ' ' || path FROM steps WHERE uid NOT IN (SELECT uid FROM tasks)",
    "an attempt without its step": """SELECT uid || ' ' || path || ' ' || number FROM attempts a
        WHERE NOT EXISTS (SELECT 1 FROM steps s WHERE s.uid = a.uid AND s.path = a.path AND s.attempt >= a.number)""",
    "a step without its attempt": """SELECT uid || ' ' || path FROM steps s WHERE attempt > 0
        AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.uid = s.uid AND a.path = s.path AND a.number = s.attempt)""",
    "an unfinished attempt that another followed": """SELECT a.uid || ' ' || a.path || ' ' || a.number FROM attempts a
        JOIN steps s ON s.uid = a.uid AND s.path = a.path WHERE a.ended_at IS NULL AND a.number < s.attempt""",
    "an event without its task": """SELECT sequence FROM events
        WHERE uid NOT IN (SELECT uid FROM tasks UNION ALL SELECT uid FROM triggers)""",
    "a wake-up without its task": "SELECT uid FROM wakes WHERE uid NOT IN (SELECT uid FROM tasks)",
    "a label without its task": "SELECT name FROM labels WHERE number NOT IN (SELECT number FROM tasks)",
    "a task without its tombstone": "SELECT uid FROM tasks WHERE uid NOT IN (SELECT uid FROM tombstones WHERE retired = 0)",
    "a tombstone without its task": """SELECT uid FROM tombstones
        WHERE retired = 0 AND uid NOT IN (SELECT uid FROM tasks)""",
    "a pin that a task needs is missing": """SELECT uid || ' ' || digest FROM pin_uses
        WHERE digest NOT IN (SELECT digest FROM pins)""",
    "a pin that no task needs": "SELECT digest FROM pins WHERE digest NOT IN (SELECT digest FROM pin_uses)",
}


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
    alone = not log_of(database).exists()
    with closing(connect_reader(database, immutable=alone)) as connection:
        try:
            require_ours(connection, database)
            connection.execute("BEGIN")
            return [*_log(database), *(finding for part in _PARTS for finding in part(connection))]
        except (sqlite3.DatabaseError, UnicodeDecodeError, ForeignRow) as error:
            return [Finding("the file is damaged", str(error))]


def _log(database: Path) -> Iterator[Finding]:
    """Read twice where it looks torn: a controller that begins the log anew while it is read makes it look so."""
    if read_log(log_of(database)).damaged and (log := read_log(log_of(database))).damaged:
        yield Finding("the write-ahead log is damaged", log.trouble)


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


def _pins(connection: sqlite3.Connection) -> Iterator[Finding]:
    for row in connection.execute(f"SELECT {PINS.columns} FROM pins"):
        pin = PINS.record(row)
        if not pin.intact:
            yield Finding("a pinned definition was changed", f"{pin.kind} {pin.namespace}/{pin.name} {pin.digest}")


def _histories(connection: sqlite3.Connection) -> Iterator[Finding]:
    for (uid,) in connection.execute("SELECT uid FROM tasks").fetchall():
        yield from starmap(Finding, breaks(connection, uid))
    for (uid,) in connection.execute("SELECT uid FROM triggers").fetchall():
        yield from starmap(Finding, trigger_breaks(connection, uid))


def _references(connection: sqlite3.Connection) -> Iterator[Finding]:
    for what, statement in _REFERENCES.items():
        for (where,) in connection.execute(statement):
            yield Finding(what, str(where))


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
    _histories,
    _pins,
    _references,
    _wakes,
)
