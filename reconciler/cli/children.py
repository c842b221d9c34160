"""Child processes of the demonstration: started, listened to, and ended on every way out."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from reconciler.cli.failure import Failure

_GRACE = 12.0
_LOOK_AGAIN = 0.05
Found = TypeVar("Found")


class Child:
    """One `reconciler` command as a process of its own, whose output goes to a file."""

    def __init__(self, output: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.output = output
        self._output = output.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reconciler.cli.app", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it at once, with no chance to do anything (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and end it if it does not within 12 s. Ended already is fine."""
        self._process.terminate()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._output.close()


def wait_for(what: str, look: Callable[[], Found | None], child: Child, seconds: float) -> Found:
    """What `look` finds, asked again and again; raises Failure when `child` ends or the time is over before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        if not child.running():
            raise Failure(f"a process ended before {what}; it said: {_tail(child)}")
        time.sleep(_LOOK_AGAIN)
    raise Failure(f"{what}: not within {seconds:.0f} s; the process says: {_tail(child)}")


def _tail(child: Child) -> str:
    return " | ".join(child.text().splitlines()[-5:]) or "nothing"
