"""Whether a database holds together: its pages, its values, its chain of events, and every reference between rows.

A flipped bit in a page is no error to SQLite, but it breaks the chain or a reference, and is found here.
"""
# ruff: noqa: S608 - only names of our own tables and columns are put into statements; every value is bound

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import starmap
from pathlib import Path
from typing import Any

from state.chain import breaks, trigger_breaks
from state.database import connect_reader, require_current
from state.errors import Unreadable
from state.folder import StateFolder
from state.migrations import migrate
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
)
from state.soundness import Seen, counters, named, older, out_of_step, wake_breaks
from state.wal import log_of, read_log

_TABLES: tuple[Table[Any], ...] = (
    *(TASKS, STEPS, ATTEMPTS, EVENTS, PINS, TOMBSTONES),
    *(DEFINITIONS, SOURCES, REVISIONS, TRIGGERS),
)

_SCHEMA = """SELECT type || ' ' || name, CASE type WHEN 'table' THEN '' ELSE sql END FROM sqlite_schema
  WHERE name NOT LIKE 'sqlite_%'"""
"""Of a table only that it is there: the text that SQLite keeps of one which got more columns is not ours."""

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
    folder = StateFolder(state)
    database = folder.database
    if not database.exists():
        raise Unreadable(f"there is no state in {state}")
    seen = Seen(folder.read_epoch(), folder.read_sequence())  # before the database, which goes ahead of them
    alone = not log_of(database).exists()
    with closing(connect_reader(database, immutable=alone)) as connection:
        try:
            require_current(connection, database)
            connection.execute("BEGIN")
            found = [*_counters(connection, seen), *(finding for part in _PARTS for finding in part(connection))]
            return [*_log(database), *(replace(each, where=named(connection, each.where)) for each in found)]
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
        with suppress(ForeignRow):  # told by _values
            yield from starmap(Finding, wake_breaks(connection, [uid]))
    yield from starmap(Finding, out_of_step(connection, over=True))
    for (uid,) in connection.execute("SELECT uid FROM triggers").fetchall():
        yield from starmap(Finding, trigger_breaks(connection, uid))


def _references(connection: sqlite3.Connection) -> Iterator[Finding]:
    for what, statement in _REFERENCES.items():
        for (where,) in connection.execute(statement):
            yield Finding(what, str(where))


def _counters(connection: sqlite3.Connection, seen: Seen) -> Iterator[Finding]:
    """A database that is marked as older is known to be: its controller holds everything."""
    try:
        found = counters(connection)
    except ForeignRow as error:
        yield Finding("a value that nobody wrote", str(error))
        return
    marked = connection.execute("SELECT 1 FROM meta WHERE name = 'held' AND value <> ''").fetchone()
    if not marked and (why := older(found, seen)):
        yield Finding("the database may be older than what has run", why)


def _schema(connection: sqlite3.Connection) -> Iterator[Finding]:
    """An index or a trigger that somebody dropped or made anew: some of them keep rows from being written twice."""
    found = dict(connection.execute(_SCHEMA).fetchall())
    for name, text in _expected_schema().items():
        if found.get(name) != text:
            yield Finding("the schema is not the one of this release", name)


@lru_cache(maxsize=1)
def _expected_schema() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path(":memory:"))
        return dict(connection.execute(_SCHEMA).fetchall())


_PARTS: tuple[Callable[[sqlite3.Connection], Iterator[Finding]], ...] = (
    _pages,
    _schema,
    _values,
    _histories,
    _pins,
    _references,
)
