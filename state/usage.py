"""How usage changes while attempts move: the arithmetic of limits, beside the changes that cause it."""

from state.records import AttemptRecord, Usage


class Meter:
    """Counts usage while attempts move, and gives it back as a value."""

    def __init__(self, usage: Usage) -> None:
        self._start = usage
        self._busy = usage.busy
        self._namespaces: dict[str, int] | None = None
        self._drivers: dict[str, int] = {}
        self._groups: dict[str, int] = {}

    def move(self, before: AttemptRecord | None, after: AttemptRecord) -> None:
        """An attempt went from `before` (None, or the ended one that it follows) to `after`."""
        busy = after.busy - (before.busy if before else False)
        unfinished = (not after.ended) - (not before.ended if before else False)
        if not busy and not unfinished:
            return
        if self._namespaces is None:
            self._namespaces, self._drivers = dict(self._start.namespaces), dict(self._start.drivers)
            self._groups = dict(self._start.groups)
        self._busy += busy
        _count(self._namespaces, after.namespace, busy)
        _count(self._drivers, after.driver, busy)
        _count(self._groups, after.job, unfinished)

    def usage(self) -> Usage:
        if self._namespaces is None:
            return self._start
        return Usage(self._busy, self._namespaces, self._drivers, self._groups)


def _count(counts: dict[str, int], key: str, by: int) -> None:
    counts[key] = counts.get(key, 0) + by
    if not counts[key]:
        del counts[key]
