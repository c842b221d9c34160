"""Runs one command beside the controller and outlives it: `python -I -S wrapper.py FOLDER`, the order on stdin.

Expected flow: read the order, claim the folder (the fence: whoever links `started` first runs the command, nobody else
ever), start the command in a session of its own, pump its output into files of bounded size with the secrets taken
out, write `rc` by rename. Guarantee: `rc` is on disk if and only if the command ended; the command ran at the most
one time for this folder, whoever crashes. On a full disk what was said and how it ended wait here for room. Only the standard library is there, and one module of this package.
"""

import base64
import errno
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

# Isolated mode leaves this package out of the path; at its end it can hide nothing of the standard library.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from reconciler.secrets.redaction import RedactedStream, Redactor  # after the path is set

_CHUNK = 65536
_TAIL = 256 << 10
_LINGER = 1.0  # seconds that output of left-over children is waited for after the command ended
_NOT_CLAIMED = 4
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PAUSE = 0.5  # seconds between two looks at a full disk


class Output:
    """One stream on disk: its beginning in a file, its end in memory until the command has ended."""

    def __init__(self, path: Path, head: int, redactor: Redactor) -> None:
        self._path = path
        self._room = head
        self._stream = RedactedStream(redactor)
        self._waiting = bytearray()  # what belongs into the file and found no room there yet
        self._tail = bytearray()
        self.dropped = 0

    def take(self, chunk: bytes) -> None:
        """Keep what may be shown of `chunk`."""
        self._keep(self._stream.take(chunk))
        with suppress(OSError):  # a full disk must not end the command: `save` says so in the end
            self._write()

    def end(self) -> None:
        """Keep what was held back, as nothing more comes."""
        self._keep(self._stream.finish())

    def save(self) -> None:
        """Put on disk what is not there yet; may be repeated after OSError, which it raises."""
        self._write()
        if self._tail:
            self._path.with_suffix(".tail").write_bytes(self._tail)

    def _keep(self, data: bytes) -> None:
        head, rest = data[: self._room], data[self._room :]
        self._room -= len(head)
        self._waiting += head
        self._tail += rest
        if (surplus := len(self._tail) - _TAIL) > 0:
            del self._tail[:surplus]
            self.dropped += surplus

    def _write(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            while self._waiting:
                del self._waiting[: file.write(self._waiting)]


def main(folder: Path) -> int:
    """Run what stdin orders in `folder`; the exit code says whether it was ours to run."""
    order = json.loads(sys.stdin.buffer.read())  # an order cut short by a crash ends here: nothing was started
    if not claim(folder):
        return _NOT_CLAIMED
    try:
        child = _start(folder, order)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        _record(folder, {"code": 127 if missing else 126, "error": _complaint(error, order), "dropped": {}})
        return 0
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(child.pid, signal.SIGTERM))
    with suppress(OSError):  # without this mark a cancel finds the command by its environment
        write_atomically(folder / "child", {"pid": child.pid, "start": start_time(child.pid), "boot": boot_id()})
    dropped = _pump(folder, child, order)
    signal.signal(signal.SIGTERM, _ignore)  # the command is over: all that is left is to write it down
    _record(folder, {"code": child.returncode, "error": "", "dropped": dropped})
    return 0


def claim(folder: Path, *, cancelled: bool = False) -> bool:
    """Make `started`, durable before anything happens; False if somebody else has. Called by the driver to forbid a start."""
    own = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": boot_id(), "cancelled": cancelled}
    temporary = folder / f"started.{os.getpid()}.{time.monotonic_ns()}"
    _write(temporary, own)
    try:
        os.link(temporary, folder / "started")
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
        sync(folder)
    return True


def start_time(pid: int) -> int | None:
    """When the process was started, in clock ticks since boot (field 22 of /proc/PID/stat); None if it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def boot_id() -> str:
    """What tells one boot of this machine from the next, so that a process number means something."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write_atomically(path: Path, value: Mapping[str, Any]) -> None:
    """`path` holds `value` as JSON, whole or not at all, durable on return."""
    temporary = path.with_name(f"{path.name}.new")
    _write(temporary, value)
    temporary.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _start(folder: Path, order: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        order["command"],
        env=order["env"],
        cwd=order["workdir"] or folder / "home",
        stdin=subprocess.PIPE if order["stdin"] is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        bufsize=0,
    )


def _pump(folder: Path, child: subprocess.Popen[bytes], order: Mapping[str, Any]) -> dict[str, int]:
    """Move output until the command has ended and its pipes are closed; how many bytes of each stream were dropped."""
    redactor = _redactor(order)
    outputs = {name: Output(folder / name, order["head"], redactor) for name in ("stdout", "stderr")}
    with selectors.DefaultSelector() as selector:
        for name, output in outputs.items():
            pipe: IO[bytes] = getattr(child, name)
            selector.register(pipe, selectors.EVENT_READ, output.take)
        feed = _feed(child, order["stdin"], selector)
        _move(child, selector, feed)
    child.wait()
    for output in outputs.values():
        output.end()
        _once_there_is_room(output.save)
    return {name: output.dropped for name, output in outputs.items()}


def _feed(child: subprocess.Popen[bytes], text: str | None, selector: selectors.BaseSelector) -> memoryview:
    """The bytes for the command's stdin, whose pipe then waits for room like the others wait for output."""
    if child.stdin is None or text is None:
        return memoryview(b"")
    os.set_blocking(child.stdin.fileno(), False)
    selector.register(child.stdin, selectors.EVENT_WRITE, None)
    return memoryview(text.encode())


def _move(child: subprocess.Popen[bytes], selector: selectors.BaseSelector, feed: memoryview) -> None:
    ended: float | None = None
    while selector.get_map():
        if ended is None and child.poll() is not None:
            ended = time.monotonic()
        if ended is not None and time.monotonic() - ended > _LINGER:
            return
        for key, _ in selector.select(0.05):
            if key.data is None:
                feed = _give(child, selector, feed)
            elif chunk := os.read(key.fd, _CHUNK):
                key.data(chunk)
            else:
                selector.unregister(key.fileobj)


def _give(child: subprocess.Popen[bytes], selector: selectors.BaseSelector, feed: memoryview) -> memoryview:
    assert child.stdin is not None
    try:
        feed = feed[os.write(child.stdin.fileno(), feed[:_CHUNK]) :] if feed else feed
    except OSError:  # it does not read what it is given: its own affair
        feed = memoryview(b"")
    if not feed:
        selector.unregister(child.stdin)
        child.stdin.close()
    return feed


def _complaint(error: Exception, order: Mapping[str, Any]) -> str:
    """Why the command could not be started, with the file that the system named, which may be the working folder."""
    name = getattr(error, "filename", None) or order["command"][0]
    text = f"{getattr(error, 'strerror', None) or error}: {name}"
    return _redactor(order).text(text)


def _redactor(order: Mapping[str, Any]) -> Redactor:
    return Redactor(base64.b64decode(form) for form in order["forms"])


def _record(folder: Path, outcome: Mapping[str, Any]) -> None:
    _once_there_is_room(lambda: write_atomically(folder / "rc", outcome))


def _once_there_is_room(save: Callable[[], None]) -> None:
    """`save()`, again and again while the disk is full. Raises OSError for whatever else is wrong with it."""
    while True:
        try:
            return save()
        except OSError as error:
            if error.errno not in _FULL:
                raise
        time.sleep(_PAUSE)


def _write(path: Path, value: Mapping[str, Any]) -> None:
    with path.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """A handler and not SIG_IGN, which the command would inherit."""


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, _ignore)
    os.umask(0o077)
    sys.exit(main(Path(sys.argv[1])))
