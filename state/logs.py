"""The output of attempts, as files beside the database: bounded, append-only, readable while it is written.

The first bytes stay and so do the last ones; what lies between goes, and a line says how much. A log is one file, and
once that is full a folder beside it with pieces of one size of which the oldest are removed: so nothing is ever
rewritten, a crash costs at most the bytes in flight, and the many short logs cost no folder each. File names come from
uid, digest and number, never from the text of a definition.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from state.records import Uid

HEAD = 5 * 1024 * 1024
PIECE = 1024 * 1024
PIECES = 5
"""At most 5 MiB of head and 5 pieces: 10 MiB of any attempt."""

_UID = re.compile(r"[0-9a-f]{8,64}")
_MARKER = "\n[... {:>20,} bytes of output were dropped here ...]\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of the head, bytes of a piece, and how many pieces stay."""

    head: int = HEAD
    piece: int = PIECE
    pieces: int = PIECES


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a log, and the place in the whole output where the next ones begin."""

    data: bytes
    end: int


class Logs:
    """All logs of one state folder, found by uid, step path and attempt number."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.folder = folder
        self._limits = limits or Limits()

    def log(self, uid: Uid, path: str, number: int) -> "AttemptLog":
        """The log of one attempt, whether there is output yet or not; raises ValueError for what is not a uid."""
        digest = hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()[:32]
        return AttemptLog(self._of(uid) / f"{digest}-{int(number)}", self._limits)

    def remove(self, uid: Uid) -> None:
        """Let all logs of a task go; none is fine."""
        shutil.rmtree(self._of(uid), ignore_errors=True)

    def uids(self) -> Iterator[Uid]:
        """The tasks that have logs, in no order."""
        with suppress(FileNotFoundError):
            for each in self.folder.iterdir():
                if _UID.fullmatch(each.name):
                    yield Uid(each.name)

    def _of(self, uid: Uid) -> Path:
        if not _UID.fullmatch(uid):
            raise ValueError(f"{uid!r} is not the uid of a task")
        return self.folder / uid


class AttemptLog:
    """One log. A LogSink for the one process that writes it, and a reader for everybody.

    There are two ways to count: `part` counts in the whole output, dropped bytes included, so that a follower never
    loses its place; `size` and `read` count in what is there to be shown. Up to 10 MiB they are the same.
    """

    def __init__(self, head: Path, limits: Limits) -> None:
        self._head = head
        self._pieces = head.with_name(f"{head.name}.more")
        self._limits = limits
        self._written: int | None = None
        self.failure = ""

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Append; what `driver` says gets a prefix. Never raises: the first failure is kept and ends the log."""
        if self.failure or not data:
            return
        try:
            self._append(_said(data) if stream == "driver" else data)
        except OSError as error:
            self.failure = f"the log could not be written: {error}"

    @property
    def written(self) -> int:
        """Bytes of output so far, dropped ones included."""
        stretches = self._stretches()
        return stretches[-1].end if stretches else 0

    @property
    def dropped(self) -> int:
        """Bytes of output that are gone."""
        return sum(hole.end - hole.start for hole in _holes(self._stretches()))

    @property
    def size(self) -> int:
        """Bytes that there are to be shown: what was kept, and the line about what was not."""
        stretches = self._stretches()
        kept = sum(each.end - each.start for each in stretches)
        return kept + sum(len(_marker(hole)) for hole in _holes(stretches))

    def read(self, start: int = 0, length: int | None = None) -> bytes:
        """Up to `length` bytes of what there is to be shown, from `start` on."""
        found, position = [], 0
        end = self.size if length is None else start + length
        for each in _with_holes(self._stretches()):
            size = len(_marker(each)) if each.file is None else each.end - each.start
            first, last = max(start - position, 0), min(end - position, size)
            if first < last:
                found.append(_marker(each)[first:last] if each.file is None else _read(each.file, first, last - first))
            position += size
        return b"".join(found)

    def part(self, start: int = 0, length: int = 65536) -> Part:
        """Up to `length` bytes of output from `start` of the whole output on, or the line about a hole there."""
        for each in _with_holes(self._stretches()):
            if start < each.end and each.file is None:
                return Part(_marker(each), each.end)
            if start < each.end and each.file is not None:
                first = start - each.start
                data = _read(each.file, first, min(length, each.end - start))
                return Part(data, start + len(data))
        return Part(b"", start)

    def _append(self, data: bytes) -> None:
        if self._written is None:
            self._written = self.written
        view = memoryview(data)
        while view:
            file, room = self._place(self._written)
            count = _write(file, view[:room])
            self._written += count
            view = view[count:]
            if count == room:
                self._forget()

    def _place(self, written: int) -> tuple[Path, int]:
        """The file that the next byte goes to, and how many fit."""
        if written < self._limits.head:
            return self._head, self._limits.head - written
        number, within = divmod(written - self._limits.head, self._limits.piece)
        return self._pieces / f"{number:012d}", self._limits.piece - within

    def _forget(self) -> None:
        """Remove the oldest pieces, so that with the next one there are not too many."""
        with suppress(FileNotFoundError):  # the head is full, and there is no piece yet
            pieces = sorted(self._pieces.iterdir())
            for each in pieces[: max(0, len(pieces) - self._limits.pieces + 1)]:
                each.unlink(missing_ok=True)

    def _stretches(self) -> list["_Stretch"]:
        """What is on disk, in its order."""
        found = []
        with suppress(FileNotFoundError):
            found.append(_Stretch(0, self._head.stat().st_size, self._head))
        with suppress(FileNotFoundError), os.scandir(self._pieces) as entries:
            for each in entries:
                start = self._limits.head + int(each.name) * self._limits.piece
                with suppress(FileNotFoundError):
                    found.append(_Stretch(start, start + each.stat().st_size, Path(each.path)))
        return sorted((each for each in found if each.end > each.start), key=lambda each: each.start)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Bytes `start` to `end` of the output: in a file, or dropped."""

    start: int
    end: int
    file: Path | None = None


def _with_holes(stretches: list[_Stretch]) -> Iterator[_Stretch]:
    end = 0
    for each in stretches:
        if each.start > end:
            yield _Stretch(end, each.start)
        yield each
        end = each.end


def _holes(stretches: list[_Stretch]) -> list[_Stretch]:
    return [each for each in _with_holes(stretches) if each.file is None]


def _marker(hole: _Stretch) -> bytes:
    return _MARKER.format(hole.end - hole.start).encode()


def _said(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(b"[driver] " + line for line in lines) + (b"" if data.endswith(b"\n") else b"\n")


def _write(path: Path, data: memoryview) -> int:
    """Open for each write: thousands of attempts may have a log, and few of them say something at the same time."""
    try:
        handle = _open(path)
    except FileNotFoundError:  # the first log of a task, or the first piece of a log
        for folder in reversed(path.parents[:3]):
            folder.mkdir(mode=0o700, exist_ok=True)
        handle = _open(path)
    try:
        return os.write(handle, data)
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _read(path: Path, start: int, length: int) -> bytes:
    """A piece that was removed since it was listed has no bytes left to give."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)
    except FileNotFoundError:
        return b""
