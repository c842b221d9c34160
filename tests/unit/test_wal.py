"""The sums of a write-ahead log as SQLite's "WAL-mode File Format" describes them, one word after the other."""

import struct
from itertools import pairwise

import pytest

from state.wal import Log, read_log

PAGE = 512
SALTS = (7, 0xFFFFFFFE)
ORDERS = {"<": 0x377F0682, ">": 0x377F0683}


def sums(before, data, order):
    first, second = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def page(number):
    """Bytes whose words are as large as they get, but for a few."""
    return bytes([0xFF, number % 256, 0xFF, 0xFF]) * (PAGE // 4)


def log_of(frames, order):
    """A log of `frames` commits of one page each."""
    head = struct.pack(">6I", ORDERS[order], 3007000, PAGE, 0, *SALTS)
    before = sums((0, 0), head, order)
    parts = [head + struct.pack(">2I", *before)]
    for number in range(1, frames + 1):
        place = struct.pack(">2I", number, number)
        before = sums(before, place + page(number), order)
        parts.append(place + struct.pack(">4I", *SALTS, *before) + page(number))
    return b"".join(parts)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("frames", [1, 2, 255, 256, 257, 600])
def test_a_whole_log_is_whole_in_either_order_of_bytes(tmp_path, order, frames):
    file = tmp_path / "state.db-wal"
    file.write_bytes(log_of(frames, order))

    assert read_log(file) == Log(frames)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("frame", [1, 17, 256, 257, 300])
@pytest.mark.parametrize("at", [0, 5, 9, 16, 23, 24, 24 + PAGE - 1])
def test_a_flipped_bit_ends_the_log_in_front_of_its_frame(tmp_path, order, frame, at):
    data = bytearray(log_of(300, order))
    data[32 + (frame - 1) * (24 + PAGE) + at] ^= 1
    file = tmp_path / "state.db-wal"
    file.write_bytes(data)

    found = read_log(file)

    assert found.frames == frame - 1
    assert found.lost in {300 - frame, 301 - frame}  # the frame itself counts unless it lost its salts


def test_half_a_frame_at_the_end_is_not_there(tmp_path):
    file = tmp_path / "state.db-wal"
    whole = log_of(3, "<")

    for end in range(len(whole) - PAGE - 23, len(whole)):
        file.write_bytes(whole[:end])
        assert read_log(file) == Log(2)


def test_two_frames_that_stand_in_each_others_place_are_found(tmp_path):
    data, size = log_of(4, "<"), 24 + PAGE
    frames = [data[start:end] for start, end in pairwise(range(32, len(data) + 1, size))]
    file = tmp_path / "state.db-wal"
    file.write_bytes(data[:32] + frames[0] + frames[2] + frames[1] + frames[3])

    assert read_log(file) == Log(1, lost=3)
