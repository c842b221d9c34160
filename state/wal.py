"""What SQLite will not tell about a write-ahead log: that it has to pass over commits which once were whole.

After a crash only the last transaction of a log can be torn, because each one is fsynced before the next begins. SQLite
reads a log up to the first frame whose checksum is wrong and forgets the rest, so one flipped bit in the middle takes
back commits behind which calls have long gone out. The format is described in SQLite's "WAL-mode File Format".
"""

import struct
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path

_HEADER, _FRAME = 32, 24
_MAGIC = 0x377F0682  # the last bit says that checksums are over big-endian words
_WORD = 0xFFFFFFFF
_OWN_ORDER = "<" if sys.byteorder == "little" else ">"


@dataclass(frozen=True, slots=True)
class Log:
    """A write-ahead log: frames that SQLite reads, and commits of the same generation behind the first bad one."""

    frames: int = 0
    lost: int = 0
    headless: bool = False  # the header does not hold, so nothing of it is read

    @property
    def damaged(self) -> bool:
        """More than what a crash leaves behind."""
        return self.headless or self.lost > 1

    @property
    def trouble(self) -> str:
        """What is wrong with a damaged one, for a person."""
        return (
            "its header is damaged" if self.headless else f"{self.lost} commits behind frame {self.frames} are cut off"
        )


def log_of(database: Path) -> Path:
    """Where the write-ahead log of a database lies."""
    return database.with_name(database.name + "-wal")


def read_log(path: Path) -> Log:
    """The write-ahead log at `path`, which nobody may be writing; nothing there is an empty one. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Log()
    if len(data) < _HEADER + _FRAME:
        return Log()
    magic, _, size, _, *salts = struct.unpack_from(">6I", data)
    order = ">" if magic & 1 else "<"
    sums = _checksum((0, 0), data[:_FRAME], order)
    if magic & ~1 != _MAGIC or sums != struct.unpack_from(">2I", data, _FRAME):
        return Log(headless=True)
    return _frames(data, size, tuple(salts), sums, order)


def _frames(data: bytes, size: int, salts: tuple[int, ...], sums: tuple[int, int], order: str) -> Log:
    """Frame by frame: page number, size of the database after a commit (else 0), two salts, two checksums, the page."""
    frames, lost, whole = 0, 0, True
    for at in range(_HEADER, len(data) - _FRAME - size + 1, _FRAME + size):
        _, commit, *stamp = struct.unpack_from(">4I", data, at)
        ours = tuple(stamp) == salts
        if whole and ours:
            sums = _checksum(sums, data[at : at + 8] + data[at + _FRAME : at + _FRAME + size], order)
        whole = whole and ours and sums == struct.unpack_from(">2I", data, at + 16)
        frames += whole
        lost += ours and commit > 0 and not whole
    return Log(frames, lost)


def _checksum(sums: tuple[int, int], data: bytes, order: str) -> tuple[int, int]:
    words = array("I", data)
    if order != _OWN_ORDER:
        words.byteswap()
    first, second = sums
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
