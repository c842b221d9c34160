"""Who stands in line for a concurrency group or for room, and who is before them: questions to the rows, never memory.

A group is used by two kinds of things that are counted apart: workflows, which have their place from their begin to
their end, and attempts. Whoever is suspended or held stands in no line.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from state.database import translated
from state.records import StepRecord, TaskRecord, TaskSnapshot, Uid
from state.room import QUEUED_FOR_CAPACITY, QUEUED_FOR_GROUP, Holder, Line

SHOWN = 4
"""So many holders of a group are named at the most."""
_WAITS = frozenset({QUEUED_FOR_GROUP, QUEUED_FOR_CAPACITY})

_FIRST_TASKS = """SELECT uid FROM tasks WHERE "group" = ? AND "group" <> '' AND live = 1 AND entered = 0
  AND phase = 'created' AND held = '' AND behind = '' ORDER BY number LIMIT ?"""
_FIRST_STEPS = """SELECT DISTINCT t.uid FROM steps s JOIN tasks t ON t.uid = s.uid
  WHERE s."group" = ? AND s."group" <> '' AND s.reason = 'QueuedForGroup' AND t.phase IN ('created', 'running') AND t.held = ''
  ORDER BY t.number LIMIT ?"""
_RIVALS = """SELECT uid FROM tasks WHERE "group" IN (SELECT value FROM json_each(:groups)) AND "group" <> '' AND live = 1
  UNION SELECT uid FROM tasks WHERE "group" IN (SELECT value FROM json_each(:groups)) AND "group" <> '' AND entered = 1
  UNION SELECT uid FROM attempts WHERE job IN (SELECT value FROM json_each(:groups)) AND ended_at IS NULL
  UNION SELECT uid FROM steps WHERE "group" IN (SELECT value FROM json_each(:groups)) AND "group" <> ''"""
_HOLDERS = """SELECT t.namespace || '/' || t.name, t.phase, coalesce(s.path, ''), coalesce(s.attempt, 0) FROM tasks t
  LEFT JOIN steps s ON s.uid = t.uid AND s.path = (SELECT min(path) FROM steps
    WHERE uid = t.uid AND phase = 'lost' AND "group" <> '' AND attempt > 0)
  WHERE t.uid IN (SELECT uid FROM tasks WHERE "group" = :group AND "group" <> '' AND entered = 1
  UNION SELECT uid FROM attempts WHERE job = :group AND ended_at IS NULL
  UNION SELECT uid FROM steps WHERE "group" = :group AND "group" <> '' AND reason <> 'QueuedForGroup')
  ORDER BY t.number LIMIT :most"""
_TASKS_AHEAD = """SELECT count(*) FROM tasks WHERE "group" = ? AND "group" <> '' AND live = 1 AND entered = 0
  AND phase = 'created' AND held = '' AND behind = '' AND number < ?"""
_STEPS_AHEAD = """SELECT s."group", count(*) FROM steps s JOIN tasks t ON t.uid = s.uid
  WHERE s."group" IN (SELECT value FROM json_each(?)) AND s."group" <> '' AND s.reason = 'QueuedForGroup'
  AND t.phase IN ('created', 'running') AND t.held = '' AND t.number < ? GROUP BY s."group" """
_PARKED_AHEAD = """SELECT count(*) FROM steps s CROSS JOIN tasks t ON t.uid = s.uid
  WHERE s.reason = 'QueuedForCapacity' AND t.namespace = ? AND t.phase IN ('created', 'running') AND t.held = '' AND t.number < ?"""


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one database, as its only writer asks for them."""

    connection: sqlite3.Connection
    database: Path

    def first(self, groups: Iterable[str], most: int) -> list[Uid]:
        """The tasks that are next in each of `groups`, or have a step that is: up to `most` of either, oldest first."""
        found: dict[Uid, None] = {}
        with translated(self.database):
            for group in groups:
                for statement in (_FIRST_TASKS, _FIRST_STEPS):
                    found.update(dict.fromkeys(uid for (uid,) in self.connection.execute(statement, (group, most))))
        return list(found)

    def rivals(self, groups: Collection[str]) -> list[Uid]:
        """The tasks that have a place in one of `groups` or stand in line for it, themselves or by a step."""
        if not groups:
            return []
        with translated(self.database):
            return [uid for (uid,) in self.connection.execute(_RIVALS, {"groups": json.dumps(sorted(groups))})]


def waits_in_line(task: TaskSnapshot) -> bool:
    """Whether the task or one of its steps stands in line."""
    return task.record.in_line or any(row.reason in _WAITS for row in task.steps.values())


def lines(connection: sqlite3.Connection, task: TaskSnapshot) -> dict[str, Line]:
    """What stands before the task (path "") and before each of its steps that stands in line; empty for most tasks."""
    record, found = task.record, dict[str, Line]()
    if record.in_line and record.reason == QUEUED_FOR_GROUP:
        ((ahead,),) = connection.execute(_TASKS_AHEAD, (record.group, record.number))
        found[""] = Line(ahead, _holders(connection, record.group))
    waiting = sorted((row for row in task.steps.values() if row.reason in _WAITS), key=_place)
    if waiting:
        before = _before(connection, record, waiting)
        holders = {group: _holders(connection, group) for group in {row.group for row in waiting} - {""}}
        for row in waiting:
            found[row.path] = Line(before[row.group], holders.get(row.group, ()))
            before[row.group] += 1
    return found


def _before(connection: sqlite3.Connection, record: TaskRecord, waiting: Iterable[StepRecord]) -> dict[str, int]:
    """How many steps of older tasks wait, by group; by "" for room in the namespace of the task."""
    before = dict.fromkeys(chain([""], (row.group for row in waiting)), 0)
    ((before[""],),) = connection.execute(_PARKED_AHEAD, (record.namespace, record.number))
    before.update(connection.execute(_STEPS_AHEAD, (json.dumps(sorted(before)), record.number)).fetchall())
    return before


def _holders(connection: sqlite3.Connection, group: str) -> tuple[Holder, ...]:
    return tuple(Holder(*row) for row in connection.execute(_HOLDERS, {"group": group, "most": SHOWN}))


def _place(row: StepRecord) -> list[tuple[int, str]]:
    """The order of paths in which the second item comes before the tenth."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in row.path.split(".")]
