"""What everybody else reads: pages and records through a handle that cannot write.

Every answer is one statement, or one short transaction, over what is committed; none stays open while an answer
travels. `sequence` grows with every commit and is the signal that something changed.
"""
# ruff: noqa: S608 - only names of our own tables and columns are put into statements; every value is bound

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from state.database import damaged
from state.folder import StateFolder
from state.lines import lines, waits_in_line
from state.loading import latest_runs, load_gone, load_tasks, load_usage, remembered
from state.pages import LIMIT, Clause, Page, TaskFilter, after, paged, task_clauses, where
from state.phases import AttemptPhase, State, TaskPhase, TriggerPhase
from state.reading import Reading
from state.records import (
    AttemptRecord,
    DefinitionRecord,
    Event,
    Identity,
    Pin,
    RevisionRecord,
    SourceRecord,
    TaskRecord,
    TaskSnapshot,
    Tombstone,
    TriggerRecord,
    Uid,
)
from state.room import Usage
from state.rows import (
    ATTEMPTS,
    DEFINITIONS,
    EVENTS,
    PINS,
    REVISIONS,
    SOURCES,
    TASKS,
    TRIGGERS,
    Cell,
    from_microseconds,
    to_microseconds,
)

_DEFINITION_PLACE = ("source", "path", '"index"')
_REMEMBERED = 2048
_TRIGGER_PLACE = ("namespace", "name", "source")


@dataclass(frozen=True, slots=True)
class Queue:
    """How much is under way: unfinished attempts by driver and phase, and the wake-up times.

    `overdue` wake-ups should have been served by the time asked about; `next_wake` is the earliest of all.
    """

    attempts: dict[tuple[str, AttemptPhase], int]
    waiting: int
    overdue: int
    next_wake: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database says of itself: starts so far, the controller's name, and why it is held ("" normally)."""

    epoch: int
    controller: str
    held: str
    sequence: int


class Reader:
    """The state folder `path`, read. Safe for several threads; raises Unreadable, TooNew, Damaged."""

    def __init__(self, path: Path) -> None:
        self.folder = StateFolder(path)
        self._reading = Reading(self.folder.database)
        self._records = remembered(_REMEMBERED)

    def close(self) -> None:
        """Let the database go."""
        self._reading.close()

    def sequence(self) -> int:
        """The number of the last commit's last event: grows with every commit, also with one that told no event."""
        return int(self._rows("SELECT value FROM meta WHERE name = 'sequence'")[0][0])

    def facts(self) -> Facts:
        """What the database says of itself."""
        found = dict(self._rows("SELECT name, value FROM meta"))
        return Facts(int(found["epoch"]), found["controller"], found.get("held", ""), int(found["sequence"]))

    def tasks(
        self,
        wanted: TaskFilter | None = None,
        *,
        sort: Literal["created", "due"] = "created",
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[TaskRecord]:
        """Tasks, the newest first or the one due first; of one identity every run that has rows. Raises BadCursor."""
        column, descending = ("created_at", True) if sort == "created" else ("due", False)
        down = " DESC" if descending else ""
        clauses = task_clauses(wanted or TaskFilter()) + after(
            (column, "number"), cursor, (int, int), descending=descending
        )
        order = f"{column}{down}, number{down}"
        rows = self._page(f"{column}, number, {TASKS.columns} FROM tasks", clauses, order, limit)
        return paged(rows, _bounded(limit), self._records.task, 2)

    def task(self, namespace: str, name: str, run: int | None = None) -> TaskSnapshot | None:
        """One task whole, by default its latest run, with what stands before it where it stands in line."""

        def work(connection: sqlite3.Connection) -> TaskSnapshot | None:
            with _moment(connection):
                uids = (
                    latest_runs(connection, [(namespace, name)])
                    if run is None
                    else _of_run(connection, namespace, name, run)
                )
                found = next((loaded.task for _, loaded in load_tasks(connection, uids, self._records)), None)
                return _placed(connection, found) if found else None

        return self._reading.read(work)

    def snapshots(self, uids: Collection[Uid], *, placed: bool = False) -> dict[Uid, TaskSnapshot]:
        """Those of `uids` that have rows, in that order, whole and as of one moment; `placed`: with what stands before
        those that stand in line.
        """

        def work(connection: sqlite3.Connection) -> dict[Uid, TaskSnapshot]:
            with _moment(connection):
                found = {uid: loaded.task for uid, loaded in load_tasks(connection, uids, self._records)}
                known = (uid for uid in uids if uid in found)
                return {uid: _placed(connection, found[uid]) if placed else found[uid] for uid in known}

        return self._reading.read(work)

    def usage(self) -> Usage:
        """How much is going on."""
        return self._reading.read(load_usage)

    def snapshot(self, uid: Uid) -> TaskSnapshot | None:
        """One task whole, by its uid."""
        return self.snapshots([uid]).get(uid)

    def held_back(self) -> list[TaskRecord]:
        """The tasks that wait for `reconciler adopt`: not adopted, or held; the oldest first."""
        statement = f"SELECT {TASKS.columns} FROM tasks WHERE phase = ? OR held <> '' ORDER BY number"
        return [TASKS.record(row) for row in self._rows(statement, TaskPhase.UNADOPTED.value)]

    def numbered(self, number: int) -> TaskRecord | None:
        """The task with the integer alias `number`."""
        rows = self._rows(f"SELECT {TASKS.columns} FROM tasks WHERE number = ?", number)
        return next(map(TASKS.record, rows), None)

    def gone(self, namespace: str, name: str) -> tuple[Tombstone, ...]:
        """The runs of an identity that ran and whose rows retention let go, oldest first."""
        identity = (namespace, name)
        return self._reading.read(lambda connection: load_gone(connection, [identity])).get(identity, ())

    def attempts(
        self, uid: Uid, *, path: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[AttemptRecord]:
        """All attempts of a task, or of one path of it, by path and number."""
        clauses: list[Clause] = [("uid = ?", (uid,)), *([("path = ?", (path,))] if path is not None else [])]
        clauses += after(("path", "number"), cursor, (str, int))
        rows = self._page(f"path, number, {ATTEMPTS.columns} FROM attempts", clauses, "path, number", limit)
        return paged(rows, _bounded(limit), ATTEMPTS.record, 2)

    def attempt(self, uid: Uid, path: str | None = None, number: int | None = None) -> AttemptRecord | None:
        """One attempt; without `number` the latest of the path, without `path` the one that began last."""
        given: list[tuple[str, Cell]] = [("uid", uid), ("path", path), ("number", number)]
        chosen: list[Clause] = [(f"{column} = ?", (value,)) for column, value in given if value is not None]
        order = "started_at IS NULL, started_at DESC, path, number DESC" if path is None else "number DESC"
        rows = self._page(f"{ATTEMPTS.columns} FROM attempts", chosen, order, 0)
        return next(map(ATTEMPTS.record, rows), None)

    def pins(self, digests: Collection[str]) -> dict[str, Pin]:
        """The pinned definitions with these digests. Raises Damaged for one that is not what it was."""
        statement = f"SELECT {PINS.columns} FROM pins WHERE digest IN (SELECT value FROM json_each(?))"
        pins = {pin.digest: pin for pin in map(PINS.record, self._rows(statement, json.dumps(list(digests))))}
        for pin in pins.values():
            if not pin.intact:
                raise damaged(self.folder.database, f"the pinned {pin.kind} {pin.namespace}/{pin.name} was changed")
        return pins

    def sources(self) -> list[SourceRecord]:
        """Every source that was ever read here, by name."""
        return [SOURCES.record(row) for row in self._rows(f"SELECT {SOURCES.columns} FROM sources ORDER BY name")]

    def definitions(
        self,
        *,
        kind: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        accepted: bool | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[DefinitionRecord]:
        """What the active revisions say, by source, path and place in the file, rejected documents included."""
        given: list[tuple[str, Cell]] = [
            ("kind", kind),
            ("namespace", namespace),
            ("name", name),
            ("accepted", accepted),
        ]
        clauses: list[Clause] = [(f"{column} = ?", (value,)) for column, value in given if value is not None]
        clauses += after(_DEFINITION_PLACE, cursor, (str, str, int))
        place = ", ".join(_DEFINITION_PLACE)
        rows = self._page(f"{place}, {DEFINITIONS.columns} FROM definitions", clauses, place, limit)
        return paged(rows, _bounded(limit), DEFINITIONS.record, 3)

    def revisions(
        self, *, source: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[RevisionRecord]:
        """The revisions that were in force, the latest first."""
        clauses: list[Clause] = [("source = ?", (source,))] if source is not None else []
        clauses += after(("number",), cursor, (int,), descending=True)
        rows = self._page(f"number, {REVISIONS.columns} FROM revisions", clauses, "number DESC", limit)
        return paged(rows, _bounded(limit), REVISIONS.record, 1)

    def triggers(
        self, *, namespace: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[TriggerRecord]:
        """The triggers that are in force, by namespace, name and source."""
        clauses: list[Clause] = [("phase <> ?", (TriggerPhase.REMOVED.value,))]
        clauses += [("namespace = ?", (namespace,))] if namespace is not None else []
        clauses += after(_TRIGGER_PLACE, cursor, (str, str, str))
        place = ", ".join(_TRIGGER_PLACE)
        rows = self._page(f"{place}, {TRIGGERS.columns} FROM triggers", clauses, place, limit)
        return paged(rows, _bounded(limit), TRIGGERS.record, 3)

    def trigger(self, namespace: str, name: str) -> TriggerRecord | None:
        """One trigger, also one whose file is gone; of several sources the one that is in force."""
        statement = f"""SELECT {TRIGGERS.columns} FROM triggers WHERE namespace = ? AND name = ?
          ORDER BY phase = ?, source LIMIT 1"""
        rows = self._rows(statement, namespace, name, TriggerPhase.REMOVED.value)
        return next(map(TRIGGERS.record, rows), None)

    def held_triggers(self) -> list[TriggerRecord]:
        """The triggers that wait for `reconciler adopt`."""
        statement = f"SELECT {TRIGGERS.columns} FROM triggers WHERE phase = ? ORDER BY namespace, name"
        return [TRIGGERS.record(row) for row in self._rows(statement, TriggerPhase.UNADOPTED.value)]

    def firings(self, trigger: Uid, limit: int) -> list[Event]:
        """The last decisions of a trigger, fired or skipped, the latest first."""
        statement = f"""SELECT {EVENTS.columns} FROM events WHERE uid = ? AND path <> ''
          ORDER BY sequence DESC LIMIT ?"""
        return [EVENTS.record(row) for row in self._rows(statement, trigger, limit)]

    def made(self, namespace: str, trigger: str) -> TaskRecord | None:
        """The task that a trigger made last."""
        statement = f"""SELECT {TASKS.columns} FROM tasks WHERE namespace = ? AND "trigger" = ? AND "trigger" <> ''
          ORDER BY number DESC LIMIT 1"""
        return next(map(TASKS.record, self._rows(statement, namespace, trigger)), None)

    def trigger_names(self, uids: Collection[Uid]) -> dict[Uid, Identity]:
        """Namespace and name of those of `uids` that are triggers."""
        statement = "SELECT uid, namespace, name FROM triggers WHERE uid IN (SELECT value FROM json_each(?))"
        return {uid: (namespace, name) for uid, namespace, name in self._rows(statement, json.dumps(list(uids)))}

    def events(
        self, after_sequence: int = 0, *, uid: Uid | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Event]:
        """State changes with a higher sequence than `after_sequence`, in their order, of all tasks or of one."""
        clauses: list[Clause] = [
            ("sequence > ?", (after_sequence,)),
            *([("uid = ?", (uid,))] if uid is not None else []),
        ]
        clauses += after(("sequence",), cursor, (int,))
        rows = self._page(f"sequence, {EVENTS.columns} FROM events", clauses, "sequence", limit)
        return paged(rows, _bounded(limit), EVENTS.record, 1)

    def counts(self) -> dict[tuple[str, State], int]:
        """How many tasks each namespace has in each public state."""
        rows = self._rows("SELECT namespace, state, count(*) FROM tasks GROUP BY namespace, state")
        return {(namespace, State(state)): count for namespace, state, count in rows}

    def definition_counts(self) -> dict[tuple[str, bool], int]:
        """How many documents of each kind are accepted (True) and rejected (False)."""
        rows = self._rows("SELECT kind, accepted, count(*) FROM definitions GROUP BY kind, accepted")
        return {(kind, bool(accepted)): count for kind, accepted, count in rows}

    def queue(self, now: datetime) -> Queue:
        """How much is under way and overdue at `now`."""

        def work(connection: sqlite3.Connection) -> Queue:
            with _moment(connection):
                open_ = connection.execute(
                    "SELECT driver, phase, count(*) FROM attempts WHERE ended_at IS NULL GROUP BY driver, phase"
                ).fetchall()
                ((waiting, overdue, first),) = connection.execute(
                    "SELECT count(*), count(*) FILTER (WHERE at < ?), min(at) FROM wakes", (to_microseconds(now),)
                )
            phases = {(driver, AttemptPhase(phase)): count for driver, phase, count in open_}
            return Queue(phases, waiting, overdue, None if first is None else from_microseconds(first))

        return self._reading.read(work)

    def secret_lengths(self) -> dict[str, int]:
        """The length in characters of each secret that a definition refers to, as recorded when it became active."""
        return dict(self._rows("SELECT reference, length FROM secret_lengths"))

    def _page(self, what: str, clauses: list[Clause], order: str, limit: int) -> list[Any]:
        """One row more than `limit`, which tells whether there is another page."""
        condition, cells = where(clauses)
        return self._rows(f"SELECT {what}{condition} ORDER BY {order} LIMIT ?", *cells, _bounded(limit) + 1)

    def _rows(self, statement: str, *cells: Cell) -> list[Any]:
        return self._reading.read(lambda connection: connection.execute(statement, cells).fetchall())


def _placed(connection: sqlite3.Connection, task: TaskSnapshot) -> TaskSnapshot:
    """The same with what stands before it where it stands in line."""
    return replace(task, lines=lines(connection, task)) if waits_in_line(task) else task


def _bounded(limit: int) -> int:
    return max(0, min(limit, LIMIT))


def _of_run(connection: sqlite3.Connection, namespace: str, name: str, run: int) -> list[Uid]:
    found = "SELECT uid FROM tasks WHERE namespace = ? AND name = ? AND run = ?"
    return [uid for (uid,) in connection.execute(found, (namespace, name, run))]


@contextmanager
def _moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Several statements over the same commit."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")
