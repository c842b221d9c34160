"""Whole tasks from their rows, for the one who writes and for those who read.

Only the latest attempt of a path is part of a task, the others are history. Raises ForeignRow and what SQLite raises.
"""
# ruff: noqa: S608 - only names of our own tables and columns are put into statements; every value is bound

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, TypeVar

from state.records import AttemptRecord, Identity, StepRecord, TaskRecord, TaskSnapshot, Tombstone, Uid, Usage
from state.rows import ATTEMPTS, STEPS, TASKS, TOMBSTONES, Row

R = TypeVar("R", StepRecord, AttemptRecord)

_GIVEN = "uid IN (SELECT value FROM json_each(?))"
_TASKS = f"SELECT head, {TASKS.columns} FROM tasks WHERE {_GIVEN} ORDER BY number"
_STEPS = f"SELECT {STEPS.columns} FROM steps WHERE {_GIVEN}"
_ATTEMPTS = f"""SELECT {ATTEMPTS.selected("a")} FROM steps s
  JOIN attempts a ON a.uid = s.uid AND a.path = s.path AND a.number = s.attempt WHERE s.{_GIVEN}"""
_LATEST = """SELECT t.uid, max(t.run) FROM json_each(?) j
  JOIN tasks t ON t.namespace = json_extract(j.value, '$[0]') AND t.name = json_extract(j.value, '$[1]')
  GROUP BY t.source, t.namespace, t.name"""
_GONE = f"""SELECT {TOMBSTONES.selected("t")} FROM json_each(?) j
  JOIN tombstones t ON t.namespace = json_extract(j.value, '$[0]') AND t.name = json_extract(j.value, '$[1]')
  WHERE t.retired = 1 AND t.pinned = 1 ORDER BY t.run"""
_BUSY = """SELECT namespace, driver, count(*) FROM attempts
  WHERE ended_at IS NULL AND (phase <> 'polling' OR call > answered) GROUP BY namespace, driver"""
_GROUPS = "SELECT job, count(*) FROM attempts WHERE ended_at IS NULL GROUP BY job"


class Loaded(NamedTuple):
    """A task and the hash of its last event."""

    task: TaskSnapshot
    head: str


class Records(NamedTuple):
    """How the rows of a task become records."""

    task: Callable[[Row], TaskRecord]
    step: Callable[[Row], StepRecord]
    attempt: Callable[[Row], AttemptRecord]


DECODED = Records(TASKS.record, STEPS.record, ATTEMPTS.record)


def remembered(size: int) -> Records:
    """Records that are made anew only for rows that are not among the last `size` seen of their kind.

    For whoever reads the same tasks over and over: decoding is most of what a reading costs, and most rows stay.
    """
    return Records(
        lru_cache(maxsize=size)(TASKS.record),
        lru_cache(maxsize=size)(STEPS.record),
        lru_cache(maxsize=size)(ATTEMPTS.record),
    )


def load_tasks(
    connection: sqlite3.Connection, uids: Collection[Uid], records: Records = DECODED
) -> Iterator[tuple[Uid, Loaded]]:
    """Those of `uids` that there are, in the order of their admission."""
    if not uids:
        return
    given = (json.dumps(list(uids)),)
    tasks = [(row[0], records.task(row[1:])) for row in connection.execute(_TASKS, given)]
    steps = _by_task(map(records.step, connection.execute(_STEPS, given)))
    attempts = _by_task(map(records.attempt, connection.execute(_ATTEMPTS, given)))
    for head, record in tasks:
        yield record.uid, Loaded(TaskSnapshot(record, steps.get(record.uid, {}), attempts.get(record.uid, {})), head)


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


def load_usage(connection: sqlite3.Connection) -> Usage:
    """What is going on, counted from the rows."""
    namespaces: dict[str, int] = {}
    drivers: dict[str, int] = {}
    for namespace, driver, count in connection.execute(_BUSY):
        namespaces[namespace] = namespaces.get(namespace, 0) + count
        drivers[driver] = drivers.get(driver, 0) + count
    groups = dict(connection.execute(_GROUPS).fetchall())
    return Usage(sum(namespaces.values()), namespaces, drivers, groups)


def _by_task(records: Iterable[R]) -> dict[Uid, dict[str, R]]:
    found: dict[Uid, dict[str, R]] = {}
    for each in records:
        found.setdefault(each.uid, {})[each.path] = each
    return found
