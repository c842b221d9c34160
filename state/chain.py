"""The hash chain over the events of one task: whoever edits or drops one has to rewrite all that follow, and the head.

It is computed over the cells of a row, so that checking it needs no more than the rows.
"""

import hashlib
import sqlite3
from collections.abc import Iterator

from state.rows import EVENTS, Cell, Row, to_json

SEQUENCE, HASH = (EVENTS.names.index(each) for each in ("sequence", "hash"))
_SUBJECT, _PATH, _ATTEMPT, _BEFORE, _AFTER = (
    EVENTS.names.index(each) for each in ("subject", "path", "attempt", "before", "after")
)
_EVENTS = f"SELECT {EVENTS.columns} FROM events WHERE uid = ? ORDER BY sequence"  # noqa: S608 - our own names; the uid is bound
_PHASES = """SELECT 'task', '', 0, phase FROM tasks WHERE uid = ?1
  UNION ALL SELECT 'step', path, 0, phase FROM steps WHERE uid = ?1
  UNION ALL SELECT 'attempt', path, number, phase FROM attempts WHERE uid = ?1"""


def link(previous: str, row: Row) -> str:
    """The hash of an event's `row` (all but its last cell, the hash) after an event with the hash `previous`, in hex."""
    return hashlib.sha256(f"{previous}{to_json(row[:HASH])}".encode()).hexdigest()


def breaks(connection: sqlite3.Connection, uid: str) -> Iterator[tuple[str, str]]:
    """(what, where) for everything that does not hold between the events of the task `uid` and its rows.

    Each event follows from the one before it, the last is the one that the task names, the phase of every row is the one
    that its last event told, and whatever an event told of has its row.
    """
    head = ""
    told: dict[tuple[Cell, Cell, Cell], Cell] = {}
    for row in connection.execute(_EVENTS, (uid,)):
        if row[HASH] != link(head, row):
            yield "the history of a task was changed", f"{uid} event {row[SEQUENCE]}"
        head = row[HASH]
        if row[_SUBJECT] == "task" and not row[_BEFORE]:
            told.clear()  # admitted, perhaps anew because its definitions could not be resolved before
        told[row[_SUBJECT], row[_PATH], row[_ATTEMPT] if row[_SUBJECT] == "attempt" else 0] = row[_AFTER]
    if connection.execute("SELECT head FROM tasks WHERE uid = ?", (uid,)).fetchone() != (head,):
        yield "the history of a task does not end where it should", uid
    for subject, path, number, phase in connection.execute(_PHASES, (uid,)):
        untold = phase if subject == "step" and phase == "waiting" else ""
        if told.pop((subject, path, number), untold) != phase:
            yield "a phase that no event told", f"{uid} {subject} {path} {phase}"
    for subject, path, number in told:
        yield "an event whose row is gone", f"{uid} {subject} {path}" + (f" attempt {number}" if number else "")


def trigger_breaks(connection: sqlite3.Connection, uid: str) -> Iterator[tuple[str, str]]:
    """The same for the trigger `uid`, of whose history retention may have let the beginning go."""
    (head,) = connection.execute("SELECT anchor FROM triggers WHERE uid = ?", (uid,)).fetchone()
    for row in connection.execute(_EVENTS, (uid,)):
        if row[HASH] != link(head, row):
            yield "the history of a trigger was changed", f"{uid} event {row[SEQUENCE]}"
        head = row[HASH]
    if connection.execute("SELECT head FROM triggers WHERE uid = ?", (uid,)).fetchone() != (head,):
        yield "the history of a trigger does not end where it should", uid
