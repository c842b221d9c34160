"""What the next tick is about: who reported, who wakes, whose file changed, who waits for room.

Everything here is derived from the store and may be lost: a start looks at all that is not over. So this is memory,
never state.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from definitions.desired import Complete, Desired, Unavailable
from reconciler.actions import Plan
from reconciler.inbox import News
from reconciler.observed import Limits
from state.changes import Activated, Change
from state.records import Identity, TaskSnapshot, Uid
from state.store import Store

SLICE = 1000
"""Task files compared, and tasks woken, in one tick: a revision that brings more is worked off in several."""
_BREATH = timedelta(seconds=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Agenda:
    """The tasks and files that wait for a tick, and the desired state that they are compared with."""

    def __init__(self, store: Store) -> None:
        self.desired: Desired = Unavailable("NotRead", "the source has not been read yet")
        self.next_wake: datetime | None = None  # None: nothing waits for a time
        self.served = ""  # the namespace that was given room last
        self._store = store
        self._files: deque[Identity] = deque()
        self._activation: Activated | None = None
        self._dirty: OrderedDict[Uid, None] = OrderedDict()
        self._parked: OrderedDict[Uid, None] = OrderedDict()
        self._untried = 0  # of those in line: how many may find room since the last report
        self._quarantined: set[Uid] = set()

    def start(self, now: datetime) -> None:
        """Everything that is not over is looked at once: that is the whole of recovery."""
        self._remember([*self._store.live(), *self._store.unfinished()])
        self._remember(attempt.uid for attempt in self._store.uncleaned())
        self.next_wake = now

    @property
    def pressing(self) -> bool:
        """Another tick would find something to do at once."""
        in_line = self._untried and self._parked
        return bool(self._dirty or in_line or (self._files and isinstance(self.desired, Complete)))

    @property
    def empty(self) -> bool:
        """Nothing is to be compared, woken or let in, now or later."""
        if self.pressing or self._parked:
            return False
        _, wake = self._store.due(_LONG_AGO, 0)  # the one in memory may be of something that has ended since
        return wake is None

    def next(self, news: News, limits: Limits, now: datetime) -> tuple[tuple[Uid, ...], tuple[Identity, ...]]:
        """(the tasks, the identities) of the next tick."""
        if news.desired is not None:
            self.desired = self._with_hold(news.desired)
        self._activation = news.activation or self._activation
        self._files.extend(news.identities)
        if news.reports:
            self._untried = len(self._parked)
        found = dict.fromkeys(report.uid for report in news.reports)
        found.update(dict.fromkeys([*news.tasks, *self._woken(now), *self._next_dirty(), *self._next_in_line(limits)]))
        return tuple(uid for uid in found if uid not in self._quarantined), self._next_files()

    def settle(self, planned: Plan, known: Mapping[Uid, TaskSnapshot], tasks: Iterable[Uid], now: datetime) -> None:
        """After a commit: who waits in line, and when the next one wakes. `known` holds `tasks` as they are now."""
        self._activation = self._activation if self._files else None
        for uid in planned.parked:
            self._parked[uid] = None
        if planned.served:
            self.served, self._untried = planned.served, 0
        self._files.extend(sorted(planned.again))
        touched = dict.fromkeys([*tasks, *(action.uid for action in planned.actions)])
        wakes = [_wake(known[uid], now) for uid in touched if uid in known]
        self.next_wake = min((time for time in (self.next_wake, *wakes) if time), default=None)

    def offer_room(self) -> None:
        """The limits have changed: those who wait in line are to be asked again."""
        self._untried = len(self._parked)

    def again(self, tasks: Iterable[Uid], identities: Iterable[Identity]) -> None:
        """A turn could not be written: the same tasks and files are to be looked at again."""
        self._remember(tasks)
        self._files.extend(identities)

    def quarantine(self, tasks: Iterable[Uid]) -> None:
        """Leave these tasks alone until the next start."""
        self._quarantined.update(tasks)

    def activation(self) -> list[Change]:
        """The revision itself, once all that it asks for is part of this commit or of earlier ones."""
        return [self._activation] if self._activation and not self._files else []

    def _with_hold(self, desired: Desired) -> Desired:
        """What a cold start holds stays held, even if the next revision comes before all its files were compared."""
        holding = isinstance(self.desired, Complete) and self.desired.hold and self._files
        return replace(desired, hold=True) if holding and isinstance(desired, Complete) else desired

    def _remember(self, tasks: Iterable[Uid]) -> None:
        self._dirty.update(dict.fromkeys(tasks))

    def _woken(self, now: datetime) -> list[Uid]:
        if self.next_wake is None or self.next_wake > now:
            return []
        woken, self.next_wake = self._store.due(now, SLICE)
        return woken

    def _next_dirty(self) -> list[Uid]:
        return [self._dirty.popitem(last=False)[0] for _ in range(min(SLICE, len(self._dirty)))]

    def _next_in_line(self, limits: Limits) -> list[Uid]:
        """Some of those that wait for room, when there may be some: not all, or each end would cost them all.

        The rest of the line has its turn as long as nobody found room, so that one crowded group keeps nobody else out.
        """
        most = len(self._parked) if limits.total is None else max(8, 2 * limits.total)
        count = min(most, self._untried, len(self._parked))
        self._untried -= count
        return [self._parked.popitem(last=False)[0] for _ in range(count)]

    def _next_files(self) -> tuple[Identity, ...]:
        if not isinstance(self.desired, Complete):
            return ()
        return tuple(self._files.popleft() for _ in range(min(SLICE, len(self._files))))


def _wake(task: TaskSnapshot, now: datetime) -> datetime | None:
    """When to look at a task again; a time that has passed and changed nothing counts a breath later, not at once."""
    wake = task.wake_at
    return max(wake, now + _BREATH) if wake and wake <= now else wake
