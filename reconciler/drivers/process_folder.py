"""What the folder of one process says about it; everything survives there, nothing in the controller's memory.

`started` the fence with the wrapper's identity · `child` the command's · `stdout`, `stderr` (and `.tail`) its output,
secrets already taken out · `copied` how far the log has it · `rc` how it ended · `home` its HOME and working folder.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from definitions.values import Json
from reconciler.drivers.command_result import command_result, last_line
from reconciler.drivers.protocol import LogSink
from reconciler.drivers.wrapper import boot_id, claim, start_time, sync

STREAMS = ("stdout", "stderr")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """A process for ever: numbers are used again, a number with start time and boot is not."""

    pid: int
    start: int | None
    boot: str

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self.start is not None and self.boot == boot_id() and start_time(self.pid) == self.start


class ProcessFolder:
    """The folder at `path`; all methods block shortly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make it, durable in its parent; there already is fine."""
        for folder in (self.path.parents[1], self.path.parent, self.path, self.path / "home"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.path.parents[1], self.path.parent):
            sync(folder)

    @property
    def outcome(self) -> dict[str, Any] | None:
        """`{code, error, dropped}` once the command has ended."""
        return self._read("rc")

    @property
    def started(self) -> bool:
        """Whether the fence is taken."""
        return (self.path / "started").exists()

    @property
    def age(self) -> float:
        """Seconds since the fence was taken, a hint for how long to wait."""
        try:
            return max(0.0, time.time() - (self.path / "started").stat().st_mtime)
        except OSError:
            return 0.0

    @property
    def wrapper(self) -> Identity | None:
        """Who took the fence."""
        return _identity(self._read("started"))

    @property
    def child(self) -> Identity | None:
        """The command itself, once it was started."""
        return _identity(self._read("child"))

    @property
    def forbidden(self) -> bool:
        """Whether the fence was taken so that nothing would ever start."""
        return bool((self._read("started") or {}).get("cancelled"))

    @property
    def forgotten(self) -> bool:
        """Whether it ran and was cleaned up, or a later call of its attempt was made: what only an older database asks."""
        later = (int(each.name) for each in self.path.parent.glob("[0-9]*"))
        return self._cleaned.exists() or any(number > int(self.path.name) for number in later)

    def clean(self) -> None:
        """Remove the folders of all calls of the attempt; an empty file says for ever that there were some."""
        if self.path.parent.exists():
            self._cleaned.touch()
            remove(self.path.parent)

    @property
    def _cleaned(self) -> Path:
        return self.path.parent.with_name(f"{self.path.parent.name}.cleaned")

    def forbid(self) -> bool:
        """Take the fence so that nothing starts any more; False if something has."""
        self.make()
        return claim(self.path, cancelled=True)

    def copy(self, log: LogSink, *, whole: bool) -> None:
        """Bring output that the log does not have yet; `whole`: to the very end, with a note about what was dropped."""
        copied = self._read("copied") or {}
        before = dict(copied)
        for stream in STREAMS:
            copied[stream] = self._copy_stream(stream, int(copied.get(stream, 0)), log, whole=whole)
        if whole and not copied.get("tails"):
            self._copy_tails(log)
            copied["tails"] = True
        if copied != before:
            self._note_copied(copied)

    def result(self, code: int, limit: int) -> tuple[Json, str]:
        """`{exitCode, stdout, stderr, json}` within `limit` bytes as JSON, and what is wrong with its JSON ("": nothing)."""
        return command_result(code, self._head("stdout", limit + 1), self._head("stderr", limit), limit)

    def last_words(self) -> str:
        """The end of stderr, or else of stdout, for a message."""
        return last_line(*(self._bytes(f"{stream}.tail") or self._end(stream) for stream in ("stderr", "stdout")))

    def signal_group(self, number: signal.Signals) -> None:
        """Send `number` to the command's process group if that is still the one it was."""
        child = self.child
        if child is None or child.boot != boot_id() or start_time(child.pid) not in {None, child.start}:
            return
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return

    def _note_copied(self, copied: Mapping[str, Any]) -> None:
        temporary = self.path / "copied.new"
        with suppress(OSError):  # on a full disk the log may get a piece twice; nothing else depends on it
            temporary.write_text(json.dumps(copied))
            temporary.replace(self.path / "copied")

    def _copy_stream(self, stream: str, offset: int, log: LogSink, *, whole: bool) -> int:
        try:
            with (self.path / stream).open("rb") as file:
                file.seek(offset)
                while piece := file.read(_PIECE):
                    log.write(piece, stream)
                    offset += len(piece)
                    if not whole:
                        break
        except FileNotFoundError:
            pass
        return offset

    def _copy_tails(self, log: LogSink) -> None:
        dropped = (self.outcome or {}).get("dropped", {})
        for stream in STREAMS:
            if count := dropped.get(stream):
                log.write(f"\n[{count} bytes of {stream} dropped]\n".encode(), "driver")
            if tail := self._bytes(f"{stream}.tail"):
                log.write(tail, stream)

    def _head(self, name: str, size: int) -> bytes:
        try:
            with (self.path / name).open("rb") as file:
                return file.read(size)
        except FileNotFoundError:
            return b""

    def _end(self, name: str, size: int = 4096) -> bytes:
        try:
            with (self.path / name).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - size))
                return file.read(size)
        except FileNotFoundError:
            return b""

    def _bytes(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return b""

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self.path / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return value if isinstance(value, dict) else None


def _identity(value: dict[str, Any] | None) -> Identity | None:
    return Identity(value["pid"], value["start"], value["boot"]) if value else None


def remove(path: Path) -> None:
    """Take a folder and everything in it away; not there is success."""
    shutil.rmtree(path, ignore_errors=True)


def forget(folder: Path, before: float) -> None:
    """Take away what was noted before the time `before` (seconds since 1970) about attempts that were cleaned up."""
    for mark in folder.glob("*.cleaned"):
        with suppress(OSError):
            if mark.stat().st_mtime < before:
                mark.unlink()


def marked(key: str) -> tuple[int, ...]:
    """The processes whose environment carries `key` as RECONCILER_ATTEMPT_KEY: also those that left the group."""
    wanted = f"RECONCILER_ATTEMPT_KEY={key}".encode()
    found = (
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and wanted in _environment(entry)
    )
    return tuple(sorted(pid for pid in found if start_time(pid) is not None))


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
