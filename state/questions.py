"""What the loop asks of the store before it decides: what is due, what lives, what is known of files and triggers.

Every answer is one statement over what is committed. The store is the only one that answers, because it is the only
one that writes: nobody else may be between a question and the decision that follows.
"""
# ruff: noqa: S608 - only names of our own tables and columns are put into statements; every value is bound

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from state.database import translated
from state.folder import StateFolder
from state.phases import TaskPhase, TriggerPhase
from state.records import AttemptRecord, DefinitionRecord, Identity, SourceRecord, TriggerRecord, Uid
from state.rows import ATTEMPTS, DEFINITIONS, SETTLED, SOURCES, TRIGGERS, from_microseconds, to_microseconds

_IDLE = """NOT EXISTS (SELECT 1 FROM attempts a WHERE a.uid = t.uid AND (a.ended_at IS NULL OR a.cleanup = 1))
  AND NOT EXISTS (SELECT 1 FROM steps s WHERE s.uid = t.uid AND s.phase = 'lost' AND s."group" <> '')"""
_FINISHED = f"SELECT uid FROM tasks t WHERE live = 0 AND finished_at < ? AND {_IDLE} ORDER BY finished_at LIMIT ?"
_SURPLUS = f"""SELECT uid FROM (SELECT uid, finished_at,
    row_number() OVER (PARTITION BY namespace ORDER BY finished_at DESC, number DESC) AS place
  FROM tasks WHERE live = 0) t WHERE place > ? AND {_IDLE} ORDER BY finished_at LIMIT ?"""
_KNOWN = f"""SELECT namespace, name, uid, run, digest, live, phase = ?, "trigger" <> '' FROM tasks
  UNION ALL SELECT namespace, name, uid, run, '', 0, 0, 0 FROM tombstones WHERE retired = 1 AND {SETTLED}
  ORDER BY run"""
_DUE_TRIGGERS = "SELECT namespace, name, wake_at FROM triggers WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT ?"
_TRIGGERS = f"SELECT {TRIGGERS.columns} FROM triggers WHERE source = ? AND phase <> ?"
_FIRING = """SELECT DISTINCT namespace, "trigger" FROM tasks WHERE "trigger" <> '' AND live = 1"""


class Latest(NamedTuple):
    """The latest run of an identity. `digest` is "" for a run whose rows are gone."""

    uid: Uid
    run: int
    digest: str
    live: bool
    removed: bool
    fired: bool = False  # a trigger made it, so that it needs no file


class Questions:
    """Asked of one writable database; `Store` is the only one there is."""

    folder: StateFolder
    _connection: sqlite3.Connection

    def due(self, now: datetime, limit: int) -> tuple[list[Uid], datetime | None]:
        """Up to `limit` tasks whose wake-up time has come, earliest first, and when the next one after them is due."""
        rows = self._rows("SELECT uid, at FROM wakes ORDER BY at LIMIT ?", limit + 1)
        ready = [uid for uid, at in rows[:limit] if at <= to_microseconds(now)]
        rest = rows[len(ready) :]
        return ready, from_microseconds(rest[0][1]) if rest else None

    def sleeping(self, now: datetime) -> list[Uid]:
        """The tasks whose wake-up time has not come, in no order."""
        return self._column("SELECT uid FROM wakes WHERE at > ?", to_microseconds(now))

    def live(self) -> list[Uid]:
        """The tasks that are not over, in the order of their admission."""
        return self._column("SELECT uid FROM tasks WHERE live = 1 ORDER BY number")

    def strangers(self, uids: Iterable[Uid]) -> list[Uid]:
        """Those of `uids` that have no rows: runs that retention let go."""
        known = set(self._column("SELECT uid FROM tasks"))
        return [uid for uid in uids if uid not in known]

    def unresolved(self) -> list[Identity]:
        """The tasks that wait for a definition which was rejected when their file came."""
        return [
            (row[0], row[1]) for row in self._rows("SELECT namespace, name FROM tasks WHERE live = 1 AND pins = '[]'")
        ]

    def undecided(self) -> list[Uid]:
        """The tasks that have neither succeeded nor been revoked and are not held, in the order of their admission."""
        return self._column(
            "SELECT uid FROM tasks WHERE phase NOT IN ('finished', 'revoked') AND held = '' ORDER BY number"
        )

    def unfinished(self) -> list[Uid]:
        """The tasks that have an attempt without an end, in no order."""
        return self._column("SELECT DISTINCT uid FROM attempts WHERE ended_at IS NULL")

    def uncleaned(self) -> list[AttemptRecord]:
        """Ended attempts of which the target still holds something, older ones of a path included."""
        rows = self._rows(f"SELECT {ATTEMPTS.columns} FROM attempts WHERE cleanup = 1 AND ended_at IS NOT NULL")
        with translated(self.folder.database):
            return [ATTEMPTS.record(row) for row in rows]

    def identities(self) -> dict[Identity, Latest]:
        """The latest run of every identity that there ever was."""
        found: dict[Identity, Latest] = {}
        for namespace, name, uid, run, digest, live, removed, fired in self._rows(_KNOWN, TaskPhase.REMOVED.value):
            found[namespace, name] = Latest(uid, run, digest, bool(live), bool(removed), bool(fired))
        return found

    def definitions(self, source: str) -> list[DefinitionRecord]:
        """What the active revision of `source` says, by path."""
        statement = f'SELECT {DEFINITIONS.columns} FROM definitions WHERE source = ? ORDER BY path, "index"'
        with translated(self.folder.database):
            return [DEFINITIONS.record(row) for row in self._connection.execute(statement, (source,))]

    def source(self, name: str) -> SourceRecord | None:
        """How the source `name` stood when it was last written."""
        with translated(self.folder.database):
            rows = self._connection.execute(f"SELECT {SOURCES.columns} FROM sources WHERE name = ?", (name,))
            return next((SOURCES.record(row) for row in rows), None)

    def finished_before(self, time: datetime, limit: int = 500) -> list[Uid]:
        """Tasks that ended before `time`, have nothing left at a target and keep no place in a group, oldest first."""
        return self._column(_FINISHED, to_microseconds(time), limit)

    def surplus(self, per_namespace: int, limit: int = 500) -> list[Uid]:
        """Ended tasks beyond the newest `per_namespace` of each namespace, oldest first."""
        return self._column(_SURPLUS, per_namespace, limit)

    def due_triggers(self, now: datetime, limit: int) -> tuple[list[Identity], datetime | None]:
        """Up to `limit` triggers whose next time has come, earliest first, and when the next one after them is due."""
        rows = self._rows(_DUE_TRIGGERS, limit + 1)
        ready = [(namespace, name) for namespace, name, at in rows[:limit] if at <= to_microseconds(now)]
        rest = rows[len(ready) :]
        return ready, from_microseconds(rest[0][2]) if rest else None

    def triggers(self, source: str) -> dict[Identity, TriggerRecord]:
        """The triggers of `source` that are in force or were when it was last read."""
        found = self._rows(_TRIGGERS, source, TriggerPhase.REMOVED.value)
        with translated(self.folder.database):
            return {record.identity: record for record in map(TRIGGERS.record, found)}

    def early_triggers(self, time: datetime) -> list[Identity]:
        """The triggers about whose times after `time` something has been decided: a clock was ahead."""
        statement = "SELECT namespace, name FROM triggers WHERE decided > ? AND phase <> ?"
        rows = self._rows(statement, to_microseconds(time), TriggerPhase.REMOVED.value)
        return [(namespace, name) for namespace, name in rows]

    def firing(self) -> list[Identity]:
        """The triggers, in force or not, that have made a task which is not over."""
        return [(row[0], row[1]) for row in self._rows(_FIRING)]

    def _column(self, statement: str, *parameters: object) -> list[Uid]:
        return [row[0] for row in self._rows(statement, *parameters)]

    def _rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with translated(self.folder.database):
            return self._connection.execute(statement, parameters).fetchall()
