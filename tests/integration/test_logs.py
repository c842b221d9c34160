import os
import re
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.drivers.protocol import LogSink
from state.logs import Limits, Logs
from state.records import Uid

UID = Uid("0123456789abcdef0123456789abcdef")
SMALL = Limits(head=100, piece=10, pieces=3)


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path / "logs")


@pytest.fixture
def small(tmp_path):
    return Logs(tmp_path / "logs", SMALL)


def shown(log):
    return log.read(0, log.size)


def test_what_is_written_can_be_read_whole_and_in_parts(logs):
    log: LogSink = logs.log(UID, "step1", 1)
    log.write(b"hello ")
    log.write("世界\n".encode(), "stderr")
    reader = logs.log(UID, "step1", 1)
    assert shown(reader).decode() == "hello 世界\n"
    assert reader.read(6, 3).decode() == "世"
    assert reader.read(100, 10) == b""
    assert (reader.size, reader.written, reader.dropped) == (13, 13, 0)


def test_what_the_driver_says_is_marked(logs):
    log = logs.log(UID, "step1", 1)
    log.write(b"sent GET\nanswered 200", "driver")
    assert shown(log) == b"[driver] sent GET\n[driver] answered 200\n"


def test_a_log_that_nobody_wrote_is_empty(logs):
    log = logs.log(UID, "step1", 1)
    assert (log.size, log.read(), log.part(0).data) == (0, b"", b"")


def test_logs_of_other_steps_and_attempts_are_others(logs):
    for path, number in (("step1", 1), ("step1", 2), ("step1.api", 1)):
        logs.log(UID, path, number).write(f"{path} {number}".encode())
    assert shown(logs.log(UID, "step1", 2)) == b"step1 2"
    assert shown(logs.log(UID, "step1.api", 1)) == b"step1.api 1"


def test_head_and_tail_stay_and_a_line_counts_what_went(small):
    log = small.log(UID, "step1", 1)
    for number in range(50):
        log.write(f"line {number:4}\n".encode())
    text = shown(log).decode()
    assert text.startswith("line    0\n")
    assert text.endswith("line   49\n")
    kept = log.written - log.dropped
    assert log.dropped > 0
    assert kept <= SMALL.head + SMALL.piece * SMALL.pieces
    assert f"{log.dropped:>20,} bytes of output were dropped here" in text
    assert log.size == len(text.encode())


@given(
    writes=st.lists(st.binary(min_size=1, max_size=45), max_size=30),
    start=st.integers(0, 400),
    length=st.integers(0, 300),
)
def test_a_range_is_that_range_of_the_whole(writes, start, length, tmp_path_factory):
    log = Logs(tmp_path_factory.mktemp("logs"), SMALL).log(UID, "step1", 1)
    for data in writes:
        log.write(data)
    output, whole = b"".join(writes), shown(log)
    assert log.read(start, length) == whole[start : start + length]
    assert log.written == len(output)
    assert whole[: SMALL.head] == output[: SMALL.head]
    if log.dropped:
        assert output.endswith(whole[-SMALL.piece * (SMALL.pieces - 1) :])
    else:
        assert whole == output


@given(writes=st.lists(st.binary(min_size=1, max_size=25), max_size=40), look=st.integers(1, 7))
def test_a_follower_never_loses_its_place(writes, look, tmp_path_factory):
    logs = Logs(tmp_path_factory.mktemp("logs"), SMALL)
    log, reader = logs.log(UID, "step1", 1), logs.log(UID, "step1", 1)
    output, place = b"", 0
    for number, data in enumerate(writes):
        log.write(data)
        output += data
        while number % look == 0 and (part := reader.part(place)).data:
            skipped = b"bytes of output were dropped here" in part.data
            assert skipped or part.data == output[place : part.end]
            place = part.end
    assert place <= log.written == len(output)


def test_a_writer_that_comes_back_goes_on_where_it_stopped(small):
    for number in range(40):
        small.log(UID, "step1", 1).write(f"line {number:4}\n".encode())
    again = small.log(UID, "step1", 1)
    assert again.written == 400
    assert shown(again).endswith(b"line   39\n")


WRITER = """
import sys
from pathlib import Path
from state.logs import Limits, Logs
log = Logs(Path(sys.argv[1]), Limits(100, 10, 3)).log("0123456789abcdef", "step1", 1)
number = 0
while True:
    log.write(f"line {number:4}\\n".encode())
    number += 1
    if number == 200:
        print("writing", flush=True)
"""


def test_a_killed_writer_leaves_a_readable_log(small):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(small.folder)], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert writer.stdout.readline() == b"writing\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    log = small.log(Uid("0123456789abcdef"), "step1", 1)
    assert shown(log).startswith(b"line    0\n")
    log.write(b"and on\n")
    assert shown(log).endswith(b"and on\n")


def test_a_log_that_cannot_be_written_is_no_error_of_the_work(tmp_path):
    (tmp_path / "logs").write_text("a file, not a folder")
    log = Logs(tmp_path / "logs").log(UID, "step1", 1)
    log.write(b"lost")
    log.write(b"lost too")
    assert "could not be written" in log.failure


@pytest.mark.parametrize("uid", ["..", "../../etc", "", "/etc", "ABCDEF0123456789", "0123456789abcdeg"])
def test_only_a_uid_names_a_folder(logs, uid):
    with pytest.raises(ValueError, match="not the uid of a task"):
        logs.log(Uid(uid), "step1", 1)


@pytest.mark.parametrize("path", ["../../../etc/passwd", "a/b", "上线", "x" * 5000, "\ud800"])
def test_no_text_of_a_definition_becomes_a_file_name(logs, path):
    log = logs.log(UID, path, 1)
    log.write(b"output")
    assert shown(log) == b"output"
    (found,) = [each for each in logs.folder.rglob("*") if each.is_file()]
    folder, name = found.relative_to(logs.folder).parts
    assert folder == UID
    assert re.fullmatch(r"[0-9a-f]{32}-1", name)


def test_logs_go_with_their_task(logs):
    logs.log(UID, "step1", 1).write(b"output")
    assert list(logs.uids()) == [UID]
    logs.remove(UID)
    logs.remove(UID)
    assert list(logs.uids()) == []


def test_a_log_is_private(logs):
    logs.log(UID, "step1", 1).write(b"output")
    assert {each.stat().st_mode & 0o077 for each in logs.folder.rglob("*")} == {0}


def test_thousands_of_logs_hold_no_file_open(logs):
    before = len(os.listdir("/proc/self/fd"))
    held = [logs.log(UID, "step1", number) for number in range(300)]
    for log in held:
        log.write(b"output")
    assert len(os.listdir("/proc/self/fd")) == before
