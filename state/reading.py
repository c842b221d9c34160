"""How a reader gets at the database whatever its writer is doing: running, killed, gone, or putting a backup in place.

While `-wal` and `-shm` exist, a read-only mount is enough (they stay when a controller ends, see `database.keep_open`).
After a clean close without them the file is all there is: it is read alone, and the reading counts only if the file is
the same afterwards and still no `-wal` lies beside it, because a writer makes that before it changes the file.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import sleep
from typing import TypeVar

from state.database import as_state_error, connect_reader, damaged, require_current
from state.errors import Unreadable
from state.rows import ForeignRow

T = TypeVar("T")
_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
"""What a writer that starts, ends or recovers makes a reader see for a moment (SQLITE_READONLY_RECOVERY is one)."""

_Facts = tuple[int, int, int, int]


class _Moved(Exception):
    """The file changed while it was read alone."""


class Reading:
    """One read-only connection at a time, opened when needed and again when the database was replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = path.with_name(path.name + "-wal")
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` reads, which may be called several times. Raises Unreadable, TooNew, Damaged.

        `work` makes one statement, or a few between BEGIN and COMMIT, and lets go of the connection.
        """
        error: Exception | None = None
        with self._lock:
            for pause in (*_PAUSES, 0.0):
                try:
                    return self._once(work)
                except sqlite3.Error as problem:
                    self._close()
                    if _code(problem) not in _PASSING:
                        raise as_state_error(problem, self.path) from problem
                    error = problem
                except _Moved as problem:
                    error = problem
                except (ForeignRow, UnicodeDecodeError) as problem:
                    raise damaged(self.path, str(problem)) from problem
                sleep(pause)
        raise Unreadable(f"{self.path} cannot be read now ({error}): is its controller starting? Try again") from error

    def close(self) -> None:
        """Let the database go; the next reading opens it again."""
        with self._lock:
            self._close()

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        facts = self._facts()
        if self._file != facts[:2]:
            self._close()
        try:
            connection = self._connection or self._open(facts)
            return work(connection)
        except sqlite3.Error as error:
            if _code(error) != sqlite3.SQLITE_CANTOPEN or self._log.exists():
                raise
        self._close()
        return self._alone(work, facts)

    def _open(self, facts: _Facts) -> sqlite3.Connection:
        connection = connect_reader(self.path)
        try:
            require_current(connection, self.path)
        except BaseException:
            connection.close()
            raise
        self._connection, self._file = connection, facts[:2]
        return connection

    def _alone(self, work: Callable[[sqlite3.Connection], T], before: _Facts) -> T:
        connection = connect_reader(self.path, immutable=True)
        try:
            require_current(connection, self.path)
            found = work(connection)
        except (sqlite3.Error, ForeignRow, Unreadable):
            if self._log.exists() or self._facts() != before:
                raise _Moved("the file changed while it was read") from None
            raise
        finally:
            connection.close()
        if self._log.exists() or self._facts() != before:
            raise _Moved("the file changed while it was read")
        return found

    def _facts(self) -> _Facts:
        """Which file it is (device, inode), and what changes when it is written."""
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            raise Unreadable(f"there is no state in {self.path.parent} yet: start a controller on it") from None
        except OSError as error:
            raise Unreadable(f"{self.path} cannot be read: {error}") from error
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = self._file = None


def _code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
