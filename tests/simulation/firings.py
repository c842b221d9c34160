"""I6: each slot of a trigger is one run or lies within one recorded skip, and none is decided twice.

The judge follows every decision from the one before it: between the two there is no slot but the one that is decided.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from definitions.slots import Slots, slot_name, slots_of
from state.changes import Admitted, Change
from state.records import TriggerRecord, Uid
from state.triggers import Fired, Skipped, TriggerAdopted, TriggerSeen

BEGINNINGS = frozenset({"Introduced", "Rescheduled", "ClockBack"})


@dataclass
class Firings:
    """What was ever decided about the triggers of a case, as far as the database remembers it."""

    rows: dict[Uid, TriggerRecord] = field(default_factory=dict)
    decided: dict[Uid, datetime] = field(default_factory=dict)
    fired: set[tuple[Uid, str]] = field(default_factory=set)

    def copy(self) -> "Firings":
        """The same, to be put back with a backup."""
        return Firings(dict(self.rows), dict(self.decided), set(self.fired))

    def wrong(self, changes: Iterable[Change], at: datetime) -> Iterator[str]:
        """What of a commit breaks I6, in words."""
        changes = list(changes)
        made = {change.task.name for change in changes if isinstance(change, Admitted)}
        for change in changes:
            match change:
                case TriggerSeen():
                    yield from self._seen(change)
                case Fired():
                    yield from self._fired(change, made)
                case Skipped():
                    yield from self._skipped(change)
                case TriggerAdopted():
                    self.decided[change.uid] = at

    def _seen(self, change: TriggerSeen) -> Iterator[str]:
        record = change.record
        before = self.decided.get(record.uid)
        slots = self._slots(record.uid) if record.uid in self.rows else None
        if before and slots and change.reason not in BEGINNINGS:
            between = slots.next(before) if record.decided > before else None
            if between and between <= record.decided:
                yield f"I6 {record.name}: {slot_name(between)} was passed over ({change.reason})"
        self.rows[record.uid], self.decided[record.uid] = record, record.decided

    def _fired(self, change: Fired, made: set[str]) -> Iterator[str]:
        name = self.rows[change.uid].name
        if (change.uid, change.slot) in self.fired:
            yield f"I6 {name} fires a second time at {change.slot}"
        if change.task not in made or change.task != f"{name}-{change.slot}":
            yield f"I6 {name} fires at {change.slot} without its task"
        if slots := self._slots(change.uid):
            due = slots.next(self.decided[change.uid])
            if due is None or slot_name(due) != change.slot or change.decided != due:
                yield f"I6 {name} fires at {change.slot} and {due} was due"
        self.fired.add((change.uid, change.slot))
        self.decided[change.uid] = change.decided

    def _skipped(self, change: Skipped) -> Iterator[str]:
        name, slots = self.rows[change.uid].name, self._slots(change.uid)
        if slots:
            due = slots.next(self.decided[change.uid])
            if due is None or slot_name(due) != change.slot or change.decided < due:
                yield f"I6 {name} skips {change.slot} and {due} was due"
        if not change.reason:
            yield f"I6 {name} skips {change.slot} without a reason"
        self.decided[change.uid] = change.decided

    def _slots(self, uid: Uid) -> Slots | None:
        schedule = self.rows[uid].schedule
        if schedule in {"onCommit", "onChange"}:
            return None
        cron, _, zone = schedule.rpartition(" ")
        return slots_of(cron, zone)
