"""What a trigger's file says of times that nobody looked at in time, and of runs that would overlap (I6).

The judge reckons it again from the file that people wrote and from the tasks that live; how the planner finds what is
due is nothing to him.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from definitions.slots import Slots
from state.changes import Admitted, Change, TaskAdvanced
from state.phases import Signal
from state.records import TaskSnapshot, Uid
from tests.simulation.case import Schedule

ON_TIME = timedelta(minutes=1)
"""docs/concepts.md: what is looked at within this is not missed."""
MOST = 100
"""So many missed times fire at the most, and so many tasks of one trigger wait for each other."""
ENDS = frozenset({Signal.SUCCEED, Signal.FAIL, Signal.STOP})
"""With these a run that was just made is over."""
Tasks = Mapping[Uid, TaskSnapshot]


@dataclass(frozen=True, slots=True)
class Policy:
    """What one trigger's file wants, at the moment of a commit."""

    schedule: Schedule
    slots: Slots | None  # none for what does not fire at times
    at: datetime

    @property
    def window(self) -> timedelta | None:
        """How old a time may be that still fires; None if it may have any age."""
        within = timedelta(seconds=self.schedule.within) if self.schedule.within else None
        return ON_TIME if self.schedule.missed == "skip" else within and max(within, ON_TIME)

    @property
    def only_the_latest(self) -> bool:
        return self.schedule.missed == "latest" or self.schedule.overlap == "replace"

    def later(self, slot: datetime) -> list[datetime]:
        """The times between `slot` and now, as far as they matter."""
        return self.slots.upcoming(slot, MOST, self.at) if self.slots else []

    def fires_wrongly(self, slot: datetime) -> str:
        """Why the time `slot` must not fire now; "" if it may."""
        if slot > self.at:
            return f"fires at {self.at}, before its time {slot}"
        if self.window is not None and self.at - slot > self.window:
            return f"fires at {self.at} for {slot}, and no later than {self.window} after its time"
        if self.only_the_latest and self.later(slot):
            return f"fires for {slot}, and there is a later time"
        return ""

    def missed_wrongly(self, slot: datetime) -> str:
        """Why the time `slot` must not be skipped now as one that was missed; "" if it may."""
        too_old = self.window is not None and self.at - slot > self.window
        newer = len(self.later(slot))
        if too_old or newer >= MOST or (self.only_the_latest and newer):
            return ""
        return f"skips {slot} at {self.at} as missed, and it may still fire"


def overlaps_wrongly(schedule: Schedule, before: Tasks, after: Tasks, made: Collection[Uid]) -> Iterator[str]:
    """What is wrong about a slot that fires as long as other tasks of its trigger live; `made` are those of this commit."""
    living = [uid for uid in _living(schedule.name, before) if uid not in made]
    left = [after.get(uid, before[uid]).record for uid in living]
    if schedule.overlap == "skip" and any(record.live for record in left):
        yield f"fires, and {', '.join(record.name for record in left if record.live)} is not over"
    if schedule.overlap == "replace":
        stay = (record for record in left if record.live and record.phase.value != "revoking")
        yield from (f"takes the place of {record.name}, which is {record.phase}" for record in stay)


def skipped_wrongly(schedule: Schedule, reason: str, before: Tasks, after: Tasks, earlier: Iterable[Change]) -> str:
    """Why a slot must not be skipped because of other tasks of its trigger; "" if it may.

    `earlier` are the changes of the commit that come before the skip: a run that they make may be over in `after`.
    """
    living = len({*_living(schedule.name, before), *_living(schedule.name, after), *_begun(schedule.name, earlier)})
    if reason == "Overlap" and not (schedule.overlap == "skip" and living):
        return f"skips a slot, {living} of its tasks live, and it is to {schedule.overlap}"
    if reason == "QueueFull" and not (schedule.overlap == "queue" and living > MOST):
        return f"skips a slot, and only {living} of its tasks wait"
    return ""


def _living(trigger: str, tasks: Tasks) -> Iterator[Uid]:
    return (uid for uid, task in tasks.items() if task.record.trigger == trigger and task.record.live)


def _begun(trigger: str, changes: Iterable[Change]) -> set[Uid]:
    """The tasks of a trigger that `changes` make and do not end."""
    begun: set[Uid] = set()
    for change in changes:
        if isinstance(change, Admitted) and change.task.trigger == trigger:
            begun.add(change.task.uid)
        elif isinstance(change, TaskAdvanced) and change.signal in ENDS:
            begun.discard(change.uid)
    return begun
