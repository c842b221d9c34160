"""Whole tasks from their rows, for the one who writes and for those who read.

Only the latest attempt of a path is part of a task, the others are history. Raises ForeignRow and what SQLite raises.
"""
# ruff: noqa: S608 - only names of our own tables and columns are put into statements; every value is bound

import json
import sqlite3
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from state.records import (
    AttemptRecord,
    Identity,
    StepRecord,
    TaskRecord,
    TaskSnapshot,
    Tombstone,
    TriggerRecord,
    Uid,
)
from state.room import Usage
from state.rows import ATTEMPTS, SETTLED, STEPS, TASKS, TOMBSTONES, TRIGGERS, Row

R = TypeVar("R", StepRecord, AttemptRecord)
Stamp = tuple[str, str, int, int | None, int]
"""(uid, path, number, when it ended, whether its target still holds something): all of an ended attempt that can differ."""

_GIVEN = "uid IN (SELECT value FROM json_each(?))"
_TASKS = f"SELECT head, {TASKS.columns} FROM tasks WHERE {_GIVEN} ORDER BY number"
_STEPS = f"""SELECT a.number, a.ended_at, a.cleanup, {STEPS.selected("s")} FROM steps s
  LEFT JOIN attempts a ON a.uid = s.uid AND a.path = s.path AND a.number = s.attempt WHERE s.{_GIVEN}"""
_ATTEMPTS = f"""SELECT {ATTEMPTS.selected("a")} FROM json_each(?) j JOIN attempts a
  ON a.uid = json_extract(j.value, '$[0]') AND a.path = json_extract(j.value, '$[1]')
  AND a.number = json_extract(j.value, '$[2]')"""
_LATEST = """SELECT t.uid, max(t.run) FROM json_each(?) j
  JOIN tasks t ON t.namespace = json_extract(j.value, '$[0]') AND t.name = json_extract(j.value, '$[1]')
  GROUP BY t.source, t.namespace, t.name"""
_GONE = f"""SELECT {TOMBSTONES.selected("t")} FROM json_each(?) j
  JOIN tombstones t ON t.namespace = json_extract(j.value, '$[0]') AND t.name = json_extract(j.value, '$[1]')
  WHERE t.retired = 1 AND {SETTLED} ORDER BY t.run"""
_TRIGGERS = f"SELECT head, {TRIGGERS.columns} FROM triggers WHERE {_GIVEN}"
_NAMED_TRIGGERS = """SELECT t.uid FROM json_each(?) j
  JOIN triggers t ON t.namespace = json_extract(j.value, '$[0]') AND t.name = json_extract(j.value, '$[1]')"""
_MADE = """SELECT t.uid FROM json_each(?) j
  JOIN tasks t ON t.namespace = json_extract(j.value, '$[0]') AND t."trigger" = json_extract(j.value, '$[1]')
  WHERE t."trigger" <> '' AND t.live = 1 ORDER BY t.number"""
_BUSY = """SELECT namespace, driver, count(*) FROM attempts
  WHERE ended_at IS NULL AND (phase <> 'polling' OR call > answered) GROUP BY namespace, driver"""
_GROUPS = """SELECT job, count(*) FROM (SELECT job FROM attempts WHERE ended_at IS NULL
  UNION ALL SELECT "group" FROM steps WHERE "group" <> '' AND phase = 'lost' AND attempt > 0) GROUP BY job"""
_RUNS = """SELECT "group", count(*) FROM (
  SELECT "group" FROM tasks WHERE "group" <> '' AND entered = 1
  UNION ALL SELECT "group" FROM steps WHERE "group" <> '' AND ((phase = 'running' AND reason <> 'QueuedForGroup')
    OR (phase = 'lost' AND attempt = 0)))
  GROUP BY "group" """


class Loaded(NamedTuple):
    """A task and the hash of its last event."""

    task: TaskSnapshot
    head: str


class Ended:
    """The last `size` ended attempts that were read. Of those nothing changes any more but what their stamp says.

    It belongs to one state folder: another one may have another end of the same attempt.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._records: OrderedDict[Stamp, AttemptRecord] = OrderedDict()

    def get(self, stamp: Stamp) -> AttemptRecord | None:
        """The attempt of this stamp, if it was read lately."""
        if found := self._records.get(stamp):
            self._records.move_to_end(stamp)
        return found

    def keep(self, stamp: Stamp, attempt: AttemptRecord) -> None:
        """Remember it for as long as there is room."""
        self._records[stamp] = attempt
        if len(self._records) > self._size:
            self._records.popitem(last=False)


class LoadedTrigger(NamedTuple):
    """A trigger and the hash of its last event."""

    record: TriggerRecord
    head: str


class Records(NamedTuple):
    """How the rows of a task become records, and the attempts that need not be read again."""

    task: Callable[[Row], TaskRecord]
    step: Callable[[Row], StepRecord]
    ended: Ended


def decoded() -> Records:
    """Every row is read and decoded."""
    return Records(TASKS.record, STEPS.record, Ended(0))


def remembered(size: int) -> Records:
    """Records that are made anew only for rows that are not among the last `size` seen of their kind.

    For whoever reads the same tasks over and over: decoding is most of what a reading costs, and most rows stay.
    """
    return Records(lru_cache(maxsize=size)(TASKS.record), lru_cache(maxsize=size)(STEPS.record), Ended(size))


def load_tasks(
    connection: sqlite3.Connection, uids: Collection[Uid], records: Records | None = None
) -> Iterator[tuple[Uid, Loaded]]:
    """Those of `uids` that there are, in the order of their admission; a plain reading, unless `records` remember."""
    if not uids:
        return
    records, given = records or decoded(), (json.dumps(list(uids)),)
    tasks = [(row[0], records.task(row[1:])) for row in connection.execute(_TASKS, given)]
    rows = connection.execute(_STEPS, given).fetchall()
    steps = _by_task([records.step(row[3:]) for row in rows])
    attempts = _by_task(_attempts(connection, rows, records.ended))
    for head, record in tasks:
        yield record.uid, Loaded(TaskSnapshot(record, steps.get(record.uid, {}), attempts.get(record.uid, {})), head)


def _attempts(connection: sqlite3.Connection, rows: Sequence[Any], ended: Ended) -> Iterator[AttemptRecord]:
    """The latest attempts at some steps, given as `_STEPS` reads them."""
    unknown: dict[tuple[str, str, int], Stamp] = {}
    for number, at, cleanup, uid, path, *_ in rows:
        stamp = (uid, path, number, at, cleanup)
        if known := ended.get(stamp):
            yield known
        elif number is not None:
            unknown[uid, path, number] = stamp
    for attempt in map(ATTEMPTS.record, connection.execute(_ATTEMPTS, (json.dumps(list(unknown)),)) if unknown else ()):
        if attempt.ended:
            ended.keep(unknown[attempt.uid, attempt.path, attempt.number], attempt)
        yield attempt


def latest_runs(connection: sqlite3.Connection, identities: Collection[Identity]) -> list[Uid]:
    """The uid of the latest run of each of `identities` that has rows."""
    return [uid for uid, _ in connection.execute(_LATEST, (json.dumps(list(identities)),))]


def load_gone(
    connection: sqlite3.Connection, identities: Collection[Identity]
) -> dict[Identity, tuple[Tombstone, ...]]:
    """The runs of `identities` that ran and whose rows are gone, oldest first."""
    found: dict[Identity, tuple[Tombstone, ...]] = {}
    for each in map(TOMBSTONES.record, connection.execute(_GONE, (json.dumps(list(identities)),))):
        identity = (each.namespace, each.name)
        found[identity] = (*found.get(identity, ()), each)
    return found


def load_triggers(connection: sqlite3.Connection, uids: Collection[Uid]) -> dict[Uid, LoadedTrigger]:
    """Those of the triggers `uids` that there are."""
    rows = connection.execute(_TRIGGERS, (json.dumps(list(uids)),)) if uids else ()
    found = (LoadedTrigger(TRIGGERS.record(row[1:]), row[0]) for row in rows)
    return {each.record.uid: each for each in found}


def triggers_named(connection: sqlite3.Connection, identities: Collection[Identity]) -> list[Uid]:
    """The triggers that are or were called so, in every source."""
    return [uid for (uid,) in connection.execute(_NAMED_TRIGGERS, (json.dumps(list(identities)),))]


def live_of_triggers(connection: sqlite3.Connection, identities: Collection[Identity]) -> list[Uid]:
    """The tasks that triggers called so have made and that are not over, in the order of their admission."""
    return [uid for (uid,) in connection.execute(_MADE, (json.dumps(list(identities)),))]


def load_usage(connection: sqlite3.Connection) -> Usage:
    """What is going on, counted from the rows."""
    namespaces: dict[str, int] = {}
    drivers: dict[str, int] = {}
    for namespace, driver, count in connection.execute(_BUSY):
        namespaces[namespace] = namespaces.get(namespace, 0) + count
        drivers[driver] = drivers.get(driver, 0) + count
    groups = dict(connection.execute(_GROUPS).fetchall())
    runs = dict(connection.execute(_RUNS).fetchall())
    return Usage(sum(namespaces.values()), namespaces, drivers, groups, runs)


def _by_task(records: Iterable[R]) -> dict[Uid, dict[str, R]]:
    found = defaultdict[Uid, dict[str, R]](dict)
    for each in records:
        found[each.uid][each.path] = each
    return found
