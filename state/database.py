"""How SQLite is opened and what its errors mean here: the pragmas of a writer and of a reader, and one translation.

A writer is durable before anything else (WAL with `synchronous=FULL`); a reader can never write, not even by accident.
"""

import ctypes
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from state.errors import Damaged, Full, NotWritable, StateError, TooNew, Unreadable
from state.rows import ForeignRow
from state.wal import log_of, read_log

APPLICATION_ID = 0x52434E4C  # "RCNL": tells our database from any other SQLite file
VERSION = 9
"""The `user_version` that this release writes: the number of its migrations (a test)."""

FIXED_WAL_RESET = (3, 51, 3)
CHECKPOINT_ABOVE = 64 * 1024 * 1024

_FULL = {sqlite3.SQLITE_FULL}
_NO_ROOM = {sqlite3.SQLITE_IOERR_SHMSIZE}  # the shared index of the log cannot grow
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_ALSO_DAMAGED = ("Could not decode to UTF-8", "unsupported file format")
"""What is said of a flipped bit without a code of its own: in a text, and in the head of the file."""
_NOT_WRITABLE = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_AUTH,
}


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one writing connection. It outlives the interpreter unless it is closed by hand (see `keep_open`)."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5, cached_statements=256)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cell_size_check=ON", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def connect_reader(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection that can only read; `immutable` reads the file alone, without WAL, shared memory or locks."""
    mode = "mode=ro&immutable=1" if immutable else "mode=ro"
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=0.2)
    for pragma in ("query_only=ON", "trusted_schema=OFF", "wal_autocheckpoint=0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def keep_open(connection: sqlite3.Connection) -> None:
    """Take a reference that nothing returns, so that the end of the interpreter does not close `connection`.

    Closing the last connection removes `-wal` and `-shm`, and a reader on a read-only mount cannot do without them.
    Python 3.11 has no way to set SQLITE_FCNTL_PERSIST_WAL; the kernel frees memory, files and locks at exit.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def sqlite_notes(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> tuple[str, ...]:
    """What an operator should know about this SQLite library; empty for one without a known problem."""
    if version >= FIXED_WAL_RESET:
        return ()
    found, fixed = (".".join(map(str, each)) for each in (version, FIXED_WAL_RESET))
    note = (
        f"SQLite {found} has the WAL-reset bug that {fixed} fixes: harmless with one writing process, "
        "so never open the database for writing beside a running controller"
    )
    return (note,)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into the StateError that says what to do; everything else passes."""
    try:
        yield
    except sqlite3.Error as error:
        raise as_state_error(error, path) from error
    except (ForeignRow, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from error


def as_state_error(error: sqlite3.Error, path: Path) -> StateError:
    """The StateError for what SQLite said about the database at `path`."""
    extended = getattr(error, "sqlite_errorcode", 0) or 0
    code = extended & 0xFF
    if code in _FULL or extended in _NO_ROOM:
        return Full(f"no space for {path} ({error}); nothing was written, free some space")
    if code == sqlite3.SQLITE_IOERR:
        return NotWritable(
            f"the disk under {path} failed ({error}): this controller ends, because what it wrote last may or may not be "
            "there; check the disk and the kernel's log, then start again"
        )
    if code in _NOT_WRITABLE:
        return NotWritable(f"{path} cannot be written ({error}); check the permissions and the mount of its folder")
    if code in _DAMAGED or any(text in str(error) for text in _ALSO_DAMAGED):
        return damaged(path, str(error))
    return StateError(f"{path}: {error}")


def damaged(path: Path, what: str) -> Damaged:
    """The error for a database that does not hold together, with the command that replaces it."""
    return Damaged(
        f"{path}: {what}. Keep the file, and put a backup in its place: reconciler restore BACKUP --state {path.parent}",
        what,
    )


def require_ours(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of the database at `path`, 0 for an empty one; raises TooNew or Damaged."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if tables and application != APPLICATION_ID:
        raise damaged(path, "this is a database of another program")
    if version > VERSION:
        raise TooNew(
            f"{path} has schema {version}, and this release knows {VERSION}: run the release that wrote it, "
            "or restore a backup from before the upgrade"
        )
    return int(version)


def require_current(connection: sqlite3.Connection, path: Path) -> None:
    """Raise Unreadable for a database of an older release: only its controller brings it to this one's schema."""
    version = require_ours(connection, path)
    if version != VERSION:
        raise Unreadable(f"{path} has schema {version}, this release reads {VERSION}: start its controller first")


def require_whole_log(database: Path) -> None:
    """Raise Damaged for a log that SQLite would read in part only, and write on; ask before it is opened."""
    log = read_log(log_of(database))
    if log.damaged:
        raise damaged(database, f"the write-ahead log cannot be trusted: {log.trouble}")
