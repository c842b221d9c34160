"""A real controller under measurement: `reconciler run` as a process, with its API process, on a repository."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from state.phases import State
from state.reader import Reader
from state.records import TaskRecord
from tests.controllers import Controller
from tests.nursery import Child

_TICKS = os.sysconf("SC_CLK_TCK")
_LIVE = (State.CREATED, State.RUNNING, State.SUSPENDED)
PATIENCE = 180.0


class Measured(Controller):
    """One running controller; the figures are those of its process, not of the API's."""

    reader: Reader

    def _loaded(self, words: Sequence[str]) -> subprocess.Popen[bytes] | Child:
        return self._loading(words, None)  # what a start costs is measured too

    @property
    def cpu_seconds(self) -> float:
        """What its process has used so far, threads included."""
        return cpu_seconds(self.process.pid)

    @property
    def memory(self) -> float:
        """The most that was resident so far, in MB."""
        return self._status("VmHWM") / 1024

    @property
    def memory_now(self) -> float:
        """What is resident, in MB."""
        return self._status("VmRSS") / 1024

    def until_in_force(self, commit: str) -> None:
        """Until the revision `commit` is in force."""
        self.until(lambda: self.revision() == commit, PATIENCE)

    def until_over(self) -> None:
        """Until no task is live any more."""
        self.until(
            lambda: not any(count for (_, state), count in self.reader.counts().items() if state in _LIVE), PATIENCE
        )

    def tasks(self) -> Iterator[TaskRecord]:
        """Every task, page by page."""
        page = self.reader.tasks(limit=500)
        yield from page.items
        while page.next:
            page = self.reader.tasks(limit=500, cursor=page.next)
            yield from page.items

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


def cpu_seconds(process: int) -> float:
    """What the process of this id has used so far, threads included, in steps of a clock tick (10 ms)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def running(
    source: Path, state: Path, *flags: str, api: bool = True, env: Mapping[str, str] | None = None
) -> Iterator[Measured]:
    """A controller that follows `source`, once it has its state folder; ended by SIGTERM."""
    with Measured(source, state, *flags, api=api, env=env) as controller:
        controller.started()
        if api:
            assert controller.api
        controller.reader = Reader(state)
        try:
            yield controller
        finally:
            controller.reader.close()
            if controller.process.poll() is None:
                controller.process.send_signal(signal.SIGTERM)
                controller.wait()
