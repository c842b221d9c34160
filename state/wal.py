"""What SQLite will not tell about a write-ahead log: that it has to pass over commits which once were whole.

After a crash only the last transaction of a log can be torn, because each one is fsynced before the next begins. SQLite
reads a log up to the first frame whose checksum is wrong and forgets the rest, so one flipped bit in the middle takes
back commits behind which calls have long gone out. The format is described in SQLite's "WAL-mode File Format".
"""

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_HEADER, _FRAME = 32, 24
_MAGIC = 0x377F0682  # the last bit says that checksums are over big-endian words
_WORD = 0xFFFFFFFF
_LANE = 64
_SIDE_BY_SIDE = 256
"""So many frames are checked at a time: a megabyte."""
_ROUNDS = 16
"""So many additions leave a sum of words within its lane."""
Sums = tuple[int, ...]
"""The two sums that stand behind a header and a frame, over all that comes before."""


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
    sums = struct.unpack_from(">2I", data, _FRAME)
    if magic & ~1 != _MAGIC or size % 8 or [*_sums(data[:_FRAME], _FRAME, [(0, 0)], order)] != [sums]:
        return Log(headless=True)
    return _frames(data, size, tuple(salts), sums, order)


def _frames(data: bytes, size: int, salts: Sums, sums: Sums, order: str) -> Log:
    """Frame by frame: page number, size of the database after a commit (else 0), two salts, two sums, the page."""
    frames, lost, whole = 0, 0, True
    step = _FRAME + size
    for begin in range(_HEADER, len(data) - step + 1, _SIDE_BY_SIDE * step):
        block = data[begin : begin + _SIDE_BY_SIDE * step]
        heads = [struct.unpack_from(">6I", block, at) for at in range(0, len(block) - step + 1, step)]
        told = [sums, *(head[4:] for head in heads)]
        for head, (_, said), found in zip(heads, pairwise(told), _sums(block, step, told[:-1], order), strict=True):
            ours = head[2:4] == salts
            whole = whole and ours and found == said
            frames += whole
            lost += ours and head[1] > 0 and not whole
        sums = told[-1]
    return Log(frames, lost)


def _sums(block: bytes, step: int, before: list[Sums], order: str) -> Iterator[Sums]:
    """The sums behind each of the frames of `block`, every `step` bytes, when those in front of them are `before`.

    As each frame says what the sums behind it are, no frame has to wait for the one before: the same word of all of
    them is added at a time, each in a lane of one number, in a tenth of the time that one after the other takes.
    """
    count, wide = len(before), step // 4
    words, column = array("I", block[: count * step]), array("I", bytes(8 * count))
    if order == ">":
        words.byteswap()  # so that the bytes of each word lie as in a little-endian number
    first, second = (sum(each[place] << _LANE * at for at, each in enumerate(before)) for place in (0, 1))
    mask = sum(_WORD << _LANE * at for at in range(count))
    covered = [*range(2), *range(_FRAME // 4, wide)] if wide > _FRAME // 4 else range(wide)
    for number, place in enumerate(covered):
        column[::2] = words[place::wide]
        first, second = second, int.from_bytes(column.tobytes(), "little") + first + second
        if number % _ROUNDS == 0:
            first, second = first & mask, second & mask
    for at in range(count):
        yield first >> _LANE * at & _WORD, second >> _LANE * at & _WORD
