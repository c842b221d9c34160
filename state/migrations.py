"""The schema, as the sum of the steps that made it; a released step never changes, a new one is added at the end.

Times are INTEGER microseconds since 1970 in UTC, JSON is TEXT, and every table is STRICT.
"""

import sqlite3
from pathlib import Path

from sqlite_utils import Database, Migrations

from state.database import APPLICATION_ID, VERSION, require_ours

MIGRATIONS = Migrations("reconciler")

_FIRST = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE sources (
  name TEXT PRIMARY KEY, location TEXT NOT NULL, ref TEXT NOT NULL, path TEXT NOT NULL,
  "commit" TEXT NOT NULL, author TEXT NOT NULL, email TEXT NOT NULL, subject TEXT NOT NULL,
  committed_at INTEGER, activated_at INTEGER, observed_at INTEGER, conditions TEXT NOT NULL
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE revisions (
  number INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, "commit" TEXT NOT NULL,
  author TEXT NOT NULL, email TEXT NOT NULL, subject TEXT NOT NULL, committed_at INTEGER, activated_at INTEGER
) STRICT""",
    """CREATE TABLE definitions (
  source TEXT NOT NULL, path TEXT NOT NULL, "index" INTEGER NOT NULL, blob TEXT NOT NULL, "commit" TEXT NOT NULL,
  kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, text TEXT NOT NULL,
  accepted INTEGER NOT NULL CHECK (accepted IN (0, 1)), problems TEXT NOT NULL,
  PRIMARY KEY (source, path, "index")
) STRICT""",
    "CREATE INDEX definitions_identity ON definitions (kind, namespace, name)",
    'CREATE INDEX definitions_rejected ON definitions (source, path, "index") WHERE accepted = 0',
    "CREATE TABLE secret_lengths (reference TEXT PRIMARY KEY, length INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE pins (
  kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, digest TEXT PRIMARY KEY, text TEXT NOT NULL,
  "commit" TEXT NOT NULL, path TEXT NOT NULL
) STRICT""",
    """CREATE TABLE pin_uses (
  digest TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (digest, uid)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX pin_uses_task ON pin_uses (uid)",
    """CREATE TABLE tasks (
  uid TEXT NOT NULL UNIQUE, source TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, run INTEGER NOT NULL,
  kind TEXT NOT NULL, target TEXT NOT NULL, origin TEXT NOT NULL, digest TEXT NOT NULL, spec_digest TEXT NOT NULL,
  pins TEXT NOT NULL, params TEXT NOT NULL, created_at INTEGER NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('unadopted', 'created', 'running', 'suspended', 'removed', 'revoking',
    'failed', 'revoked', 'finished')),
  number INTEGER PRIMARY KEY, labels TEXT NOT NULL, annotations TEXT NOT NULL, control TEXT NOT NULL,
  conditions TEXT NOT NULL, delete_policy TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, outputs TEXT,
  started_at INTEGER, finished_at INTEGER, expected_finish INTEGER, deadline INTEGER,
  state TEXT NOT NULL, live INTEGER NOT NULL, due INTEGER NOT NULL, head TEXT NOT NULL DEFAULT '',
  held TEXT NOT NULL, restored INTEGER NOT NULL CHECK (restored IN (0, 1))
) STRICT""",
    "CREATE INDEX tasks_identity ON tasks (name, namespace, run)",
    "CREATE INDEX tasks_created ON tasks (created_at, number)",
    "CREATE INDEX tasks_due ON tasks (due, number)",
    "CREATE INDEX tasks_state_created ON tasks (state, created_at, number)",
    "CREATE INDEX tasks_state_due ON tasks (state, due, number)",
    "CREATE INDEX tasks_namespace_created ON tasks (namespace, created_at, number)",
    "CREATE INDEX tasks_namespace_state ON tasks (namespace, state)",
    "CREATE INDEX tasks_target_created ON tasks (target, created_at, number)",
    "CREATE INDEX tasks_live ON tasks (number, uid) WHERE live = 1",
    "CREATE INDEX tasks_ended ON tasks (namespace, finished_at) WHERE live = 0",
    """CREATE TABLE labels (
  name TEXT NOT NULL, value TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (name, value, number)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX labels_task ON labels (number)",
    """CREATE TABLE steps (
  uid TEXT NOT NULL, path TEXT NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('waiting', 'queued', 'running', 'retrying', 'succeeded', 'skipped', 'failed',
    'lost', 'cancelled')),
  reason TEXT NOT NULL, message TEXT NOT NULL, outputs TEXT, attempt INTEGER NOT NULL, failures INTEGER NOT NULL,
  wake_at INTEGER, started_at INTEGER, finished_at INTEGER, PRIMARY KEY (uid, path)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE attempts (
  uid TEXT NOT NULL, path TEXT NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
  namespace TEXT NOT NULL, driver TEXT NOT NULL, job TEXT NOT NULL, request TEXT NOT NULL, secrets TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('intent', 'prepared', 'started', 'polling', 'cancelling', 'succeeded', 'failed',
    'timed_out', 'cancelled', 'lost')),
  call INTEGER NOT NULL, answered INTEGER NOT NULL, resends INTEGER NOT NULL, handle TEXT, answer TEXT, outputs TEXT,
  code INTEGER, message TEXT NOT NULL, wake_at INTEGER, deadline INTEGER, started_at INTEGER, ended_at INTEGER,
  cleanup INTEGER NOT NULL CHECK (cleanup IN (0, 1)), PRIMARY KEY (uid, path, number)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX attempts_unfinished ON attempts (uid) WHERE ended_at IS NULL",
    "CREATE INDEX attempts_uncleaned ON attempts (uid) WHERE cleanup = 1",
    """CREATE TRIGGER attempts_are_final BEFORE UPDATE ON attempts
WHEN OLD.ended_at IS NOT NULL AND (
  (NEW.uid, NEW.path, NEW.number, NEW.key, NEW.name, NEW.namespace, NEW.driver, NEW.job, NEW.request, NEW.secrets,
   NEW.epoch, NEW.phase, NEW.call, NEW.answered, NEW.resends, NEW.handle, NEW.answer, NEW.outputs, NEW.code,
   NEW.message, NEW.wake_at, NEW.deadline, NEW.started_at, NEW.ended_at)
  IS NOT
  (OLD.uid, OLD.path, OLD.number, OLD.key, OLD.name, OLD.namespace, OLD.driver, OLD.job, OLD.request, OLD.secrets,
   OLD.epoch, OLD.phase, OLD.call, OLD.answered, OLD.resends, OLD.handle, OLD.answer, OLD.outputs, OLD.code,
   OLD.message, OLD.wake_at, OLD.deadline, OLD.started_at, OLD.ended_at))
BEGIN SELECT RAISE(ABORT, 'an ended attempt never changes'); END""",
    """CREATE TABLE events (
  uid TEXT NOT NULL, at INTEGER NOT NULL, subject TEXT NOT NULL, path TEXT NOT NULL, attempt INTEGER NOT NULL,
  before TEXT NOT NULL, after TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, cause TEXT NOT NULL,
  sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL
) STRICT""",
    "CREATE INDEX events_task ON events (uid, sequence)",
    """CREATE TABLE tombstones (
  uid TEXT NOT NULL UNIQUE, namespace TEXT NOT NULL, name TEXT NOT NULL, run INTEGER NOT NULL, "commit" TEXT NOT NULL,
  phase TEXT NOT NULL, last_hash TEXT NOT NULL, at INTEGER NOT NULL, source TEXT NOT NULL,
  number INTEGER PRIMARY KEY, pinned INTEGER NOT NULL DEFAULT 0, retired INTEGER NOT NULL DEFAULT 0
) STRICT""",
    "CREATE INDEX tombstones_identity ON tombstones (name, namespace, run)",
    "CREATE TABLE wakes (uid TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX wakes_at ON wakes (at)",
)


@MIGRATIONS()
def first(database: Database) -> None:
    """The schema of the first release."""
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for statement in _FIRST:
        database.execute(statement)
    database.execute("INSERT INTO meta VALUES ('epoch', '0'), ('sequence', '0')")
    database.execute("PRAGMA user_version = 1")


@MIGRATIONS()
def inputs_of_steps(database: Database) -> None:
    """Lists and sub-workflows: what was kept when a step began."""
    database.execute("ALTER TABLE steps ADD COLUMN inputs TEXT NOT NULL DEFAULT '{}'")
    database.execute("PRAGMA user_version = 2")


_TRIGGERS = (
    """CREATE TABLE triggers (
  uid TEXT PRIMARY KEY, source TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, origin TEXT NOT NULL,
  digest TEXT NOT NULL, schedule TEXT NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('active', 'suspended', 'unadopted', 'removed')),
  since INTEGER NOT NULL, decided INTEGER NOT NULL, seen TEXT NOT NULL, wake_at INTEGER, reason TEXT NOT NULL,
  message TEXT NOT NULL, head TEXT NOT NULL DEFAULT '', anchor TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX triggers_identity ON triggers (namespace, name, source)",
    "CREATE INDEX triggers_wake ON triggers (wake_at) WHERE wake_at IS NOT NULL",
    "ALTER TABLE tasks ADD COLUMN \"trigger\" TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE tasks ADD COLUMN behind TEXT NOT NULL DEFAULT ''",
    """CREATE INDEX tasks_trigger ON tasks (namespace, "trigger", live, number) WHERE "trigger" <> ''""",
)


@MIGRATIONS()
def triggers(database: Database) -> None:
    """Triggers, and the tasks that they make."""
    for statement in _TRIGGERS:
        database.execute(statement)
    database.execute("PRAGMA user_version = 3")


_GROUPS = (
    """ALTER TABLE tasks ADD COLUMN "group" TEXT NOT NULL DEFAULT ''""",
    "ALTER TABLE tasks ADD COLUMN entered INTEGER NOT NULL DEFAULT 0 CHECK (entered IN (0, 1))",
    """ALTER TABLE steps ADD COLUMN "group" TEXT NOT NULL DEFAULT ''""",
    """CREATE INDEX tasks_group ON tasks ("group", entered, number) WHERE "group" <> '' AND live = 1""",
    """CREATE INDEX steps_group ON steps ("group", reason, uid) WHERE "group" <> ''""",
    "CREATE INDEX steps_parked ON steps (uid) WHERE reason = 'QueuedForCapacity'",
    "CREATE INDEX attempts_group ON attempts (job, uid) WHERE ended_at IS NULL",
)


@MIGRATIONS()
def groups(database: Database) -> None:
    """The concurrency groups of workflows, and the lines before them."""
    for statement in _GROUPS:
        database.execute(statement)
    database.execute("PRAGMA user_version = 4")


@MIGRATIONS()
def repins(database: Database) -> None:
    """Runs that continue with other definitions than those that they were begun with."""
    database.execute("ALTER TABLE tasks ADD COLUMN repinned TEXT NOT NULL DEFAULT ''")
    database.execute("PRAGMA user_version = 5")


@MIGRATIONS()
def dismissals(database: Database) -> None:
    """What commits said of steps and did not fit when it was seen."""
    database.execute("ALTER TABLE tasks ADD COLUMN dismissed TEXT NOT NULL DEFAULT '{}'")
    database.execute("PRAGMA user_version = 6")


@MIGRATIONS()
def askings(database: Database) -> None:
    """Who asked for each part of a control."""
    database.execute("ALTER TABLE tasks ADD COLUMN asked TEXT NOT NULL DEFAULT '{}'")
    database.execute("PRAGMA user_version = 7")


@MIGRATIONS()
def places(database: Database) -> None:
    """Tasks that have failed and keep their places in groups, because nobody knows whether all of them has ended."""
    database.execute("""CREATE INDEX tasks_place ON tasks ("group", number) WHERE "group" <> '' AND entered = 1""")
    database.execute("PRAGMA user_version = 8")


@MIGRATIONS()
def losses(database: Database) -> None:
    """Attempts whose end nobody knows, and which another one has followed all the same."""
    database.execute("ALTER TABLE steps ADD COLUMN lost TEXT NOT NULL DEFAULT '[]'")
    database.execute("PRAGMA user_version = 9")


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the database at `path` to this release's schema, in one transaction: a start that is cut short leaves none.

    The library makes its table of migrations and the index on it in two, which a kill once came between.
    Raises TooNew for a database of a newer release and Damaged for a database that is not ours.
    """
    version = require_ours(connection, path)
    if version < VERSION:
        database = Database(connection, execute_plugins=False)
        with database.atomic():
            MIGRATIONS.apply(database)
