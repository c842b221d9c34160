"""Copies of the database: taken beside a running controller, put back only without one.

A restored database is older than what has run, so it is marked: its controller holds everything unfinished until a
person has looked (`Store.held`). Logs of attempts are plain files and no part of a backup.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from state.database import as_state_error, connect_reader, damaged, require_ours
from state.errors import NotWritable, StateError
from state.folder import StateFolder, sync_folder

_MARK = "INSERT OR REPLACE INTO meta (name, value) VALUES ('held', ?)"


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole database in one file: where it is, its size in bytes, and the last sequence and epoch in it."""

    path: Path
    size: int
    sequence: int
    epoch: int


def backup(state: Path, target: Path) -> Copy:
    """Copy the database of the state folder `state` to the file `target`, also while a controller writes.

    `target` is complete or not there. Raises StateError.
    """
    source = StateFolder(state).database
    if not source.exists():
        raise StateError(f"there is no database in {state}: nothing to back up")
    return _copy(source, target, mark="")


def restore(source: Path, state: Path, *, mark: str = "") -> Copy:
    """Put the backup `source` in the place of the database of the state folder `state`, which no controller may have.

    What was there stays beside it as `state.db.replaced`. Raises Locked, Damaged, TooNew, NotWritable.
    """
    folder = StateFolder(state)
    if not source.exists():
        raise StateError(f"there is no backup {source}")
    folder.prepare()
    folder.lock()
    try:
        part = folder.database.with_name(folder.database.name + ".restored")
        _copy(source, part, mark=mark or f"restored from {source.name}")
        _set_aside(folder.database)
        part.replace(folder.database)
        sync_folder(folder.path)
    except OSError as error:
        raise NotWritable(f"{folder.database} cannot be replaced: {error}") from error
    finally:
        folder.unlock()
    return _facts(folder.database)


def _copy(source: Path, target: Path, *, mark: str) -> Copy:
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with closing(_readable(source)) as old, closing(sqlite3.connect(part, isolation_level=None)) as new:
            version = require_ours(old, source)
            if version == 0:
                raise damaged(source, "this database is empty")
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")
            _require_whole(new, part)
            if mark:
                new.execute(_MARK, (mark,))
        _sync(part)
        part.replace(target)
        sync_folder(target.parent)
    except sqlite3.Error as error:
        raise as_state_error(error, source) from error
    except OSError as error:
        raise NotWritable(f"{target} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return _facts(target)


def _readable(source: Path) -> sqlite3.Connection:
    """A lone file (a backup, perhaps on read-only media) is read as it is; one with a log needs the log too."""
    log = source.with_name(source.name + "-wal")
    return connect_reader(source, immutable=not log.exists())


def _require_whole(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, f"the copy is not whole: {found}")


def _set_aside(database: Path) -> None:
    """The database first: with no database at all, the epoch file alone makes the next controller hold everything."""
    for ending in ("", "-wal"):
        old = database.with_name(database.name + ending)
        if old.exists():
            old.replace(database.with_name(f"{database.name}.replaced{ending}"))
    database.with_name(database.name + "-shm").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _facts(path: Path) -> Copy:
    with closing(connect_reader(path, immutable=True)) as connection:
        found = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    return Copy(path, path.stat().st_size, int(found["sequence"]), int(found["epoch"]))
