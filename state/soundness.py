"""What has to hold in the rows before anything is done because of them: a start asks it of what is not over.

`check-state` asks it of everything. A row that follows from others is compared with them, not believed.
"""
# ruff: noqa: S608 - only names of our own are put into statements; every value is bound

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from state.chain import breaks
from state.loading import load_tasks
from state.phases import LIVE_TASKS, PUBLIC, TaskPhase
from state.records import Uid
from state.rows import NEVER, ForeignRow, to_microseconds

_AT_A_TIME = 500
"""Tasks in memory."""
Break = tuple[str, str]
"""(what does not hold, where)"""

_FOLLOWING = ", ".join(f"('{each.value}', '{PUBLIC[each].value}', {int(each in LIVE_TASKS)})" for each in TaskPhase)
_OPEN = ", ".join(f"'{each.value}'" for each in LIVE_TASKS)
_OUT_OF_STEP = f"""SELECT uid FROM tasks
  WHERE ((phase, state, live) NOT IN (VALUES {_FOLLOWING}) OR due <> coalesce(expected_finish, deadline, {NEVER}))
    AND (? OR live = 1 OR phase IN ({_OPEN}))"""
_CALLS = """SELECT uid || ' ' || path || ' attempt ' || number FROM attempts
  WHERE call NOT BETWEEN max(answered, 1) AND answered + 1 AND (? OR ended_at IS NULL)"""
_WAKES = "SELECT uid, at FROM wakes WHERE uid IN (SELECT value FROM json_each(?))"
_NAME = """SELECT namespace || '/' || name || ' run ' || run FROM tasks WHERE uid = ?1
  UNION ALL SELECT namespace || '/' || name || ' run ' || run FROM tombstones WHERE uid = ?1
  UNION ALL SELECT namespace || '/' || name FROM triggers WHERE uid = ?1"""


class Counters(NamedTuple):
    """What a database says of itself: the start of a controller and the event that were its last."""

    epoch: int
    sequence: int


class Seen(NamedTuple):
    """The same as its folder has seen it; no epoch where the file of that is spoiled."""

    epoch: int | None
    sequence: int


def counters(connection: sqlite3.Connection) -> Counters:
    """They are numbers, and no event comes after the last; raises ForeignRow."""
    found = dict(connection.execute("SELECT name, value FROM meta"))
    for name in Counters._fields:
        value = str(found.get(name, ""))
        if not (value.isascii() and value.isdigit()):
            raise ForeignRow(f"meta has no number as its {name}: {found.get(name)!r}")
    known = Counters(int(found["epoch"]), int(found["sequence"]))
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
    if last > known.sequence:
        raise ForeignRow(f"meta says that event {known.sequence} was the last, and there is event {last}")
    return known


def older(found: Counters, seen: Seen) -> str:
    """Why a database may be older than what has run, by what its folder has `seen`; "" if it is not."""
    if seen.epoch is None:
        return "the file `epoch` of the state folder holds no number, so nobody can tell how old the database is"
    if seen.epoch > found.epoch:
        return f"the database is from epoch {found.epoch}, and the state folder has seen epoch {seen.epoch}"
    if seen.sequence > found.sequence:
        return f"the database ends with event {found.sequence}, and the state folder has seen event {seen.sequence}"
    return ""


def unsound(connection: sqlite3.Connection, uids: Sequence[Uid]) -> Iterator[Break]:
    """Everything that does not hold of these tasks, which are not over, and whatever else would be taken for over."""
    for uid in uids:
        yield from breaks(connection, uid)
    for first in range(0, len(uids), _AT_A_TIME):
        yield from wake_breaks(connection, uids[first : first + _AT_A_TIME])
    yield from out_of_step(connection, over=False)


def out_of_step(connection: sqlite3.Connection, *, over: bool) -> Iterator[Break]:
    """Values that do not follow from others as they should; also of what is `over`, or not."""
    for (where,) in connection.execute(_OUT_OF_STEP, (over,)):
        yield "a state that does not follow from the phase or the times of its task", where
    for (where,) in connection.execute(_CALLS, (over,)):
        yield "a call that does not follow from the one that was answered", where


def wake_breaks(connection: sqlite3.Connection, uids: Collection[Uid]) -> Iterator[Break]:
    """A task sleeps for ever without its time, because nobody looks at it before. Raises ForeignRow."""
    stored = dict(connection.execute(_WAKES, (json.dumps(list(uids)),)))
    for uid, loaded in load_tasks(connection, uids):
        due = loaded.task.wake_at
        if stored.get(uid) != (to_microseconds(due) if due else None):
            yield "a wake-up time that its task does not have", uid


def named(connection: sqlite3.Connection, where: str) -> str:
    """The place of a break in words of a person: the task for its uid, which comes behind."""
    uid, _, rest = where.partition(" ")
    row = connection.execute(_NAME, (uid,)).fetchone()
    return f"{' '.join(filter(None, (row[0], rest)))} (uid {uid})" if row else where
