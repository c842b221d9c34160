"""Copies of the database: taken beside a running controller, put back only without one.

A restored database is older than what has run, so it is marked: its controller holds everything unfinished until a
person has looked (`Store.held`). Logs of attempts are plain files and no part of a backup.
"""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from itertools import chain, count
from pathlib import Path

from state.database import as_state_error, connect_reader, damaged, require_ours
from state.errors import Damaged, NotWritable, StateError
from state.folder import StateFolder, sync_folder
from state.rows import ForeignRow
from state.soundness import counters
from state.wal import log_of

_ABANDONED = 3600.0
"""Seconds after which nobody writes any more to an unfinished copy that has not changed."""
_OF_WRITING = {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE),
    *(sqlite3.SQLITE_IOERR_DELETE, sqlite3.SQLITE_IOERR_DIR_FSYNC),
}
"""What can only be about the copy, because the database that is copied is never written."""
_MARK = "INSERT OR REPLACE INTO meta (name, value) VALUES ('held', ?)"


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole database in one file: where it is, its size in bytes, and the last sequence and epoch in it.

    `replaced` is where a restore keeps what was there before; None if nothing was.
    """

    path: Path
    size: int
    sequence: int
    epoch: int
    replaced: Path | None = None


def backup(state: Path, target: Path) -> Copy:
    """Copy the database of the state folder `state` to the file `target`, also while a controller writes.

    `target` is complete or not there. It lies outside the state folder, and what it replaces is a plain file. Raises
    StateError.
    """
    source = StateFolder(state).database
    if not source.exists():
        raise StateError(f"there is no database in {state}: nothing to back up")
    _require_target(target, state)
    _copy(source, target, mark="")
    return _facts(target)


def restore(source: Path, state: Path, *, mark: str = "") -> Copy:
    """Put the backup `source` in the place of the database of the state folder `state`, which no controller may have.

    What was there stays beside it as `state.db.replaced`, or with a number behind it where that is taken. Raises
    Locked, Damaged, TooNew, NotWritable.
    """
    folder = StateFolder(state)
    if not source.exists():
        raise StateError(f"there is no backup {source}")
    if not source.is_file():
        raise StateError(f"{source} is no file: name the file that `reconciler backup` has made")
    folder.prepare()
    folder.lock()
    try:
        folder.sweep()
        with _no_remedy(source, state):
            _copy(source, folder.draft, mark=mark or f"restored from {source.name}")
        kept = _set_aside(folder.database)
        folder.draft.replace(folder.database)
        sync_folder(folder.path)
    except OSError as error:
        raise NotWritable(f"{folder.database} cannot be replaced: {error}") from error
    finally:
        folder.unlock()
    return _facts(folder.database, kept)


def _require_target(target: Path, state: Path) -> None:
    """Nothing but a plain file is replaced, and nothing in the state folder, by whatever name it is reached."""
    try:
        parent = target.parent.resolve(strict=True)
        ours = state.stat()
        inside = any(os.path.samestat(ours, each.stat()) for each in (parent, *parent.parents))
        kind = target.lstat().st_mode if os.path.lexists(target) else stat.S_IFREG
    except OSError as error:
        raise NotWritable(f"{target} cannot be written: {error}") from error
    if stat.S_ISDIR(kind):
        raise NotWritable(f"{target} is a folder: name a file in it")
    if inside:
        raise NotWritable(f"{target} lies in the state folder {state}, where a backup would replace what is in use")
    if not stat.S_ISREG(kind):
        raise NotWritable(f"{target} is no plain file, and a backup would replace it: name another")


@contextmanager
def _no_remedy(source: Path, state: Path) -> Iterator[None]:
    """To restore a backup is no remedy where it is the backup that is damaged."""
    try:
        yield
    except Damaged as error:
        raise Damaged(
            f"{source} is no backup that can be restored: {error.what}. Nothing in {state} was changed"
        ) from error


def _copy(source: Path, target: Path, *, mark: str) -> None:
    part = _new_part(target)
    try:
        with closing(_readable(source)) as old, closing(sqlite3.connect(part, isolation_level=None)) as new:
            version = require_ours(old, source)
            if version == 0:
                raise damaged(source, "this database is empty")
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")
            _require_whole(new, source)
            if mark:
                new.execute(_MARK, (mark,))
        _sync(part)
        part.replace(target)
        sync_folder(target.parent)
    except sqlite3.Error as error:
        at_fault = target if getattr(error, "sqlite_errorcode", 0) in _OF_WRITING else source
        raise as_state_error(error, at_fault) from error
    except OSError as error:
        raise NotWritable(f"{target} cannot be written: {error}") from error
    finally:
        for each in part.parent.glob(f"{escape(part.name)}*"):  # SQLite keeps the journal of what a full disk cut off
            each.unlink(missing_ok=True)


def _new_part(target: Path) -> Path:
    """A file of its own beside `target`: two copies to one place do not write into each other.

    What copies that were killed have left there long ago goes, by the clock of that file system.
    """
    part = target.with_name(f"{target.name}.{os.urandom(4).hex()}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except OSError as error:
        raise NotWritable(f"{target} cannot be written: {error}") from error
    now = part.stat().st_mtime
    for old in target.parent.glob(f"{escape(target.name)}.*.part*"):
        with suppress(OSError):  # another copy has become whole meanwhile
            if now - old.stat().st_mtime > _ABANDONED:
                old.unlink()
    return part


def _readable(source: Path) -> sqlite3.Connection:
    """A lone file (a backup, perhaps on read-only media) is read as it is; one with a log needs the log too."""
    return connect_reader(source, immutable=not log_of(source).exists())


def _require_whole(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, f"the copy is not whole: {found}")
    try:
        counters(connection)
    except ForeignRow as error:
        raise damaged(path, str(error)) from error


def _set_aside(database: Path) -> Path | None:
    """Where what was there is now. The database goes first: with none at all, the epoch file alone makes the next
    controller hold everything.
    """
    place = _free_place(database)
    kept = False
    for old, new in ((database, place), (log_of(database), log_of(place))):
        if old.exists():
            old.replace(new)
            kept = True
    database.with_name(database.name + "-shm").unlink(missing_ok=True)
    return place if kept else None


def _free_place(database: Path) -> Path:
    """Beside the database, where neither a file nor its log was set aside before: it may be the only one there is."""
    names = chain([""], (f".{number}" for number in count(2)))
    places = (database.with_name(f"{database.name}.replaced{name}") for name in names)
    return next(place for place in places if not (place.exists() or log_of(place).exists()))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _facts(path: Path, replaced: Path | None = None) -> Copy:
    with closing(connect_reader(path, immutable=True)) as connection:
        found = counters(connection)
    return Copy(path, path.stat().st_size, found.sequence, found.epoch, replaced)
