"""The state folder: what lies where in it, who has it, and whether its file system can be trusted.

The lock is a `flock`, so the kernel frees it however its owner dies. The epoch file says, outside the database, which
start of a controller was the last, so that a database put back from an older copy is recognised; the file `sequence`
says how far the database had come, so that one which lost its last commits is recognised too.
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import sleep

from state.errors import Locked, NotWritable, Unsuitable
from state.wal import log_of

_UNSUITABLE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "fuse"})
_MOUNTS = Path("/proc/self/mountinfo")
_WAIT_STEP = 0.1
_DIGITS = 20
"""So long are the numbers that are written here at the most."""
_PATIENCE = 3
"""Tries before Locked: a backup or a check that is just ending may hold the lock for a moment."""


class StateFolder:
    """The paths of one state folder, and the lock on it while this process is its controller."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "state.db"
        self.logs = path / "logs"
        self.requests = path / "requests"
        self.draft = path / "state.db.restored"  # of a database that is to be put in place
        self._lock: int | None = None
        self._note: int | None = None
        self._used: list[tuple[Path, os.stat_result]] = []

    def prepare(self) -> None:
        """Make the folders, private to their owner; raises NotWritable, Unsuitable."""
        try:
            for each in (self.path, self.logs, self.requests):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise NotWritable(f"the state folder {self.path} cannot be made: {error}") from error
        require_suitable(self.path)

    def lock(self, wait: float | None = None, pause: Callable[[float], None] = sleep) -> None:
        """Become the only controller of this folder; waits up to `wait` seconds (None: only for an ending command).

        Raises Locked, whose text names the process that has it, and NotWritable.
        """
        tries = _PATIENCE if wait is None else _PATIENCE + wait / _WAIT_STEP
        handle = _open(self.path / "lock")
        while not _locked(handle):
            tries -= 1
            if not tries > 0:
                owner = os.pread(handle, 64, 0).decode(errors="replace").strip() or "unknown"
                os.close(handle)
                raise Locked(
                    f"another controller (process {owner}) has the state folder {self.path}: "
                    "stop it, use another --state, or wait for it with --wait"
                )
            pause(_WAIT_STEP)
        self._lock = handle
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)

    @property
    def locked(self) -> bool:
        """Whether this process is the controller of the folder."""
        return self._lock is not None

    def sweep(self) -> None:
        """Remove what restores that were killed have left; only who has the lock may."""
        with suppress(OSError):
            for draft in self.path.glob(f"{self.draft.name}*"):
                draft.unlink()

    def know_files(self) -> None:
        """From here on the database, its log and the lock are these files and no others: see `require_same_files`."""
        if self._lock is not None:
            self._used = [(self.path / "lock", os.fstat(self._lock))]
            self._used += [(path, path.stat()) for path in (self.database, log_of(self.database))]

    def require_same_files(self) -> None:
        """Raise NotWritable if one of them was removed or replaced.

        Whoever holds it open would write on where nobody looks, and the lock of a new folder is not ours. It costs
        three calls of the kernel, some microseconds.
        """
        for path, used in self._used:
            try:
                same = os.path.samestat(path.stat(), used)
            except OSError:
                same = False
            if not same:
                raise NotWritable(
                    f"{path} was removed or replaced while this controller was running: it ends, because nobody would "
                    "find what it writes. See what has been there last: put a backup back (reconciler restore BACKUP "
                    f"--state {self.path}), or start anew with --adopt hold, so that nothing is begun a second time"
                )

    def unlock(self) -> None:
        """Let another controller have the folder; safe to call again."""
        for handle in (self._note, self._lock):
            if handle is not None:
                os.close(handle)
        self._note = self._lock = None

    def read_epoch(self) -> int | None:
        """The highest epoch that a controller of this folder has had; 0 if there was none.

        None where the file is no number any more: it is only ever replaced whole, so something else has spoiled it.
        """
        return _number_in(self.path / "epoch")

    def write_epoch(self, epoch: int) -> None:
        """Remember `epoch` outside the database, durably."""
        write_durably(self.path / "epoch", f"{epoch}\n".encode())

    def read_sequence(self) -> int:
        """An event sequence that the database of this folder has reached; 0 if nothing is known: a power cut does that."""
        return _number_in(self.path / "sequence") or 0

    def note_sequence(self, sequence: int) -> None:
        """Remember, outside the database and without a promise, that its commits up to `sequence` are durable.

        It costs one small write and no fsync. After a power cut it may be an earlier one, never a later one; that only
        makes it harder to recognise an older database.
        """
        with suppress(OSError):
            if self._note is None:
                self._note = os.open(self.path / "sequence", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._note, f"{sequence:020}\n".encode(), 0)

    def free_bytes(self) -> int:
        """What the file system has left for this user, in bytes."""
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize


def require_suitable(path: Path) -> None:
    """Raise Unsuitable if `path` lies on a network or user-space file system, where locks and fsync are not reliable."""
    kind = file_system(path)
    if kind in _UNSUITABLE or kind.startswith("fuse."):
        raise Unsuitable(
            f"{path} is on a {kind} file system, where SQLite is not safe: use a local disk or a block volume"
        )


def file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system that holds `path`, "" where the kernel does not say."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    found, kind = "", ""
    where = f"{path.resolve()}/"
    for line in lines:
        before, _, after = line.partition(" - ")
        point = _unescaped(before.split(" ")[4]).rstrip("/") + "/"
        if where.startswith(point) and len(point) >= len(found):
            found, kind = point, after.split(" ")[0]
    return kind


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file `path` by `data`: after this call, and also after a power cut, it is the old or the new one."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise NotWritable(f"{path} cannot be written: {error}") from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _number_in(path: Path) -> int | None:
    """The number that the file `path` holds; 0 if there is no such file, None if it holds something else."""
    try:
        data = path.read_bytes().strip()
    except FileNotFoundError:
        return 0
    except OSError:
        return None
    return int(data) if data.isdigit() and len(data) <= _DIGITS else None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NotWritable(f"the state folder {path.parent} cannot be written: {error}") from error


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unescaped(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
