"""How usage changes while attempts, steps and tasks move: the arithmetic of limits, beside the changes that cause it."""

from state.records import AttemptRecord, StepRecord, TaskRecord, TaskSnapshot
from state.room import Usage


class Meter:
    """Counts usage while things move, and gives it back as a value."""

    def __init__(self, usage: Usage) -> None:
        self._start = usage
        self._busy = usage.busy
        self._namespaces: dict[str, int] | None = None
        self._drivers: dict[str, int] = {}
        self._groups: dict[str, int] | None = None
        self._runs: dict[str, int] | None = None

    def move(self, before: AttemptRecord | None, after: AttemptRecord) -> None:
        """An attempt went from `before` (None, or the ended one that it follows) to `after`."""
        busy = after.busy - (before.busy if before else False)
        unfinished = (not after.ended) - (not before.ended if before else False)
        if not busy and not unfinished:
            return
        if self._namespaces is None:
            self._namespaces, self._drivers = dict(self._start.namespaces), dict(self._start.drivers)
        self._busy += busy
        _count(self._namespaces, after.namespace, busy)
        _count(self._drivers, after.driver, busy)
        if unfinished:
            self._count_attempt(after.job, unfinished)

    def move_task(self, before: TaskRecord, after: TaskRecord) -> None:
        """A task went from `before` to `after`."""
        if after.entered != before.entered:
            self._count_run(after.group, after.entered - before.entered)

    def move_step(self, before: StepRecord | None, after: StepRecord) -> None:
        """A step went from `before` (None: it had no row) to `after`."""
        if before and before.holds:
            self._count_run(before.group, -1)
        if after.holds:
            self._count_run(after.group, 1)
        if before and before.keeps:
            self._count_attempt(before.group, -1)
        if after.keeps:
            self._count_attempt(after.group, 1)

    def forget(self, task: TaskSnapshot) -> None:
        """The rows of a task go, with whatever places they had in groups."""
        places = [row.group for row in task.steps.values() if row.holds]
        for group in [*places, *([task.record.group] if task.record.entered else [])]:
            self._count_run(group, -1)
        for row in task.steps.values():
            if row.keeps:
                self._count_attempt(row.group, -1)

    def usage(self) -> Usage:
        start = self._start
        groups = start.groups if self._groups is None else self._groups
        runs = start.runs if self._runs is None else self._runs
        if self._namespaces is None:
            return Usage(start.busy, start.namespaces, start.drivers, groups, runs)
        return Usage(self._busy, self._namespaces, self._drivers, groups, runs)

    def _count_attempt(self, group: str, by: int) -> None:
        if self._groups is None:
            self._groups = dict(self._start.groups)
        _count(self._groups, group, by)

    def _count_run(self, group: str, by: int) -> None:
        if self._runs is None:
            self._runs = dict(self._start.runs)
        _count(self._runs, group, by)


def _count(counts: dict[str, int], key: str, by: int) -> None:
    counts[key] = counts.get(key, 0) + by
    if not counts[key]:
        del counts[key]
