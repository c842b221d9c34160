"""Rule 5: no revision takes away many tasks, or everything, unless its commit says how many it means."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from definitions.revision import ALLOW_PRUNE
from state.changes import Activated, Change, TaskAdvanced
from state.phases import Signal, TaskPhase
from state.records import TaskSnapshot
from tests.simulation.source import Repository


@dataclass(frozen=True, slots=True)
class Removals:
    """The revision in force: its commit, how many files it has, the tasks that lived when it came, and lost their file."""

    commit: str = ""
    files: int = 0
    live: int = 0
    gone: int = 0

    def after(self, change: Change, tasks: Collection[TaskSnapshot], repository: Repository) -> "Removals":
        """What it is after a change; `tasks` are as they were before the commit that holds it."""
        if isinstance(change, Activated):
            live = sum(_has_a_file(task) for task in tasks)
            return Removals(change.source.commit, len(repository.commits[change.source.commit].files), live)
        removed = isinstance(change, TaskAdvanced) and change.signal in _TAKES and change.reason == "Removed"
        return replace(self, gone=self.gone + 1) if removed else self

    def wrong(self, before: "Removals", repository: Repository) -> str:
        """Why it may not have come so far; "" if it may. `before` is what was in force."""
        if not self.commit:
            return ""
        said = repository.commits[self.commit].trailers
        allowed = next((int(value) for name, value in said if name == ALLOW_PRUNE), None)
        if before.files and not self.files and allowed is None:
            return f"{self.commit[:12]} is empty and in force"
        if self.gone > max(5, 0.2 * self.live) and (allowed is None or allowed < self.gone):
            return f"{self.commit[:12]} takes away {self.gone} of {self.live} live tasks, and {allowed} were confirmed"
        return ""


_TAKES = frozenset({Signal.REMOVE, Signal.REVOKE})


def _has_a_file(task: TaskSnapshot) -> bool:
    record = task.record
    return record.live and not record.trigger and record.phase is not TaskPhase.REMOVED
