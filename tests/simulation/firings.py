"""I6: each slot of a trigger is one run or lies within one recorded skip, and none is decided twice.

The judge follows every decision from the one before it: between the two there is no slot but the one that is decided,
and that one has a reason, comes at its time, and is not put off.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from definitions.slots import Slots, slot_name, slots_of
from state.changes import Admitted, Change
from state.phases import TriggerPhase
from state.records import TriggerRecord, Uid
from state.triggers import ALREADY_RAN, Fired, Skipped, TriggerAdopted, TriggerSeen
from tests.simulation.case import Schedule
from tests.simulation.policies import Policy, Tasks, overlaps_wrongly, skipped_wrongly

BEGINNINGS = frozenset({"Introduced", "Rescheduled", "ClockBack"})
STANDING = {"Suspended": TriggerPhase.SUSPENDED, "Unadopted": TriggerPhase.UNADOPTED}
PATIENCE = 30.0
"""Seconds in which a controller that reads its source decides about a time that has come."""


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds the decisions of one commit: the files of triggers by name, the tasks before and after, and when."""

    schedules: Mapping[str, Schedule]
    before: Tasks
    after: Tasks
    at: datetime


@dataclass
class Firings:
    """What was ever decided about the triggers of a case, as far as the database remembers it."""

    rows: dict[Uid, TriggerRecord] = field(default_factory=dict)
    decided: dict[Uid, datetime] = field(default_factory=dict)
    fired: set[tuple[Uid, str]] = field(default_factory=set)
    put_off: dict[Uid, tuple[int, datetime, float]] = field(default_factory=dict)  # by whom, which time, since when

    def copy(self) -> "Firings":
        """The same, to be put back with a backup."""
        return Firings(dict(self.rows), dict(self.decided), set(self.fired))

    def wrong(self, changes: Iterable[Change], around: Around) -> Iterator[str]:
        """What of a commit breaks I6, in words."""
        changes = list(changes)
        made = {change.task.name: change.task.uid for change in changes if isinstance(change, Admitted)}
        for place, change in enumerate(changes):
            match change:
                case TriggerSeen():
                    yield from self._seen(change)
                case Fired():
                    yield from self._fired(change, made, around)
                case Skipped():
                    yield from self._skipped(change, around, changes[:place])
                case TriggerAdopted():
                    self.decided[change.uid] = around.at
                    self.rows[change.uid] = replace(self.rows[change.uid], phase=TriggerPhase.ACTIVE)

    def late(self, who: int, now: datetime, elapsed: float, in_force: Callable[[str], bool]) -> str:
        """Which time has come long ago and is not decided, once a turn of the controller `who` is over; "" if none is."""
        for uid, row in self.rows.items():
            slots = self._slots(uid) if row.phase is TriggerPhase.ACTIVE and in_force(row.name) else None
            due = slots.next(self.decided[uid]) if slots else None
            if due is None or due > now:
                self.put_off.pop(uid, None)
                continue
            known = self.put_off.get(uid)
            if known is None or known[:2] != (who, due):
                known = self.put_off[uid] = (who, due, elapsed)
            if elapsed - known[2] > PATIENCE:
                return f"I6 {row.name}: {slot_name(due)} is not decided at {now}"
        return ""

    def _seen(self, change: TriggerSeen) -> Iterator[str]:
        record = change.record
        before = self.decided.get(record.uid)
        slots = self._slots(record.uid) if record.uid in self.rows else None
        if before and slots and change.reason not in BEGINNINGS:
            between = slots.next(before) if record.decided > before else None
            if between and between <= record.decided:
                yield f"I6 {record.name}: {slot_name(between)} was passed over ({change.reason})"
        self.rows[record.uid], self.decided[record.uid] = record, record.decided

    def _fired(self, change: Fired, made: Mapping[str, Uid], around: Around) -> Iterator[str]:
        row = self.rows[change.uid]
        name, schedule = row.name, around.schedules[row.name]
        if row.phase is not TriggerPhase.ACTIVE:
            yield f"I6 {name} fires at {change.slot} and is {row.phase}"
        for text in overlaps_wrongly(schedule, around.before, around.after, {*made.values()}):
            yield f"I6 {name} {text}"
        if (change.uid, change.slot) in self.fired:
            yield f"I6 {name} fires a second time at {change.slot}"
        if change.task not in made or change.task != f"{name}-{change.slot}":
            yield f"I6 {name} fires at {change.slot} without its task"
        if slots := self._slots(change.uid):
            due = slots.next(self.decided[change.uid])
            if due is None or slot_name(due) != change.slot or change.decided != due:
                yield f"I6 {name} fires at {change.slot} and {due} was due"
            elif text := Policy(schedule, slots, around.at).fires_wrongly(due):
                yield f"I6 {name} {text}"
        self.fired.add((change.uid, change.slot))
        self.decided[change.uid] = change.decided

    def _skipped(self, change: Skipped, around: Around, earlier: Sequence[Change]) -> Iterator[str]:
        row, slots = self.rows[change.uid], self._slots(change.uid)
        name, schedule = row.name, around.schedules[row.name]
        if slots:
            due = slots.next(self.decided[change.uid])
            if due is None or slot_name(due) != change.slot or change.decided < due:
                yield f"I6 {name} skips {change.slot} and {due} was due"
            elif change.reason == "Missed" and (last := slots.latest(self.decided[change.uid], change.decided)):
                if text := Policy(schedule, slots, around.at).missed_wrongly(last):
                    yield f"I6 {name} {text}"
        if change.reason in STANDING and row.phase is not STANDING[change.reason]:
            yield f"I6 {name} skips {change.slot} as {change.reason} and is {row.phase}"
        if change.reason not in {"Missed", "Overlap", "QueueFull", ALREADY_RAN, *STANDING}:
            yield f"I6 {name} skips {change.slot} for the reason {change.reason!r}"
        if text := skipped_wrongly(schedule, change.reason, around.before, around.after, earlier):
            yield f"I6 {name} {text}"
        self.decided[change.uid] = change.decided

    def _slots(self, uid: Uid) -> Slots | None:
        schedule = self.rows[uid].schedule
        if schedule in {"onCommit", "onChange"}:
            return None
        cron, _, zone = schedule.rpartition(" ")
        return slots_of(cron, zone)
