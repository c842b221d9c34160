"""Triggers against their files and the clock: which begin, which fire, and which of their tasks wait for one another.

Every slot is decided at one place and time: it fires, in the transaction that admits its task, or its skip is recorded.
A trigger looks at nothing before the moment in which it was first seen. A task whose row is lost is still known by its
tombstone, so a slot that ran never fires again.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from definitions.definition import Definition
from definitions.desired import Complete, Desired
from definitions.models import Trigger, TriggerControl
from definitions.program import Program
from reconciler.actions import Action, Sign
from reconciler.observed import Observed
from reconciler.plan.due import Slot, due, inputs_digest, next_time, passed, schedule_of, spec_of, times
from reconciler.plan.entry import Entry, brought_by, enter, origin_of, wish_of_trigger
from state.changes import Admitted, Released, TaskAdvanced
from state.phases import Signal, TaskPhase, TriggerPhase
from state.records import Cause, Identity, TaskRecord, TriggerRecord, Uid
from state.triggers import ALREADY_RAN, Fired, Skipped, TriggerChange, TriggerSeen, apply_to_trigger, trigger_uid

QUEUE = 100
"""So many tasks of one trigger wait for each other at the most."""
CLOCK_BACK = timedelta(hours=1)
"""A clock that went back further than this was wrong before: the trigger begins anew at what it says now."""

_OF_TIME = frozenset({"ClockBack", "Scheduled"})
"""What is said of a trigger although its file says nothing new."""


@dataclass(frozen=True, slots=True)
class Firings:
    """What becomes of the triggers of a slice, and the programs of the tasks that they make."""

    actions: tuple[Action, ...] = ()
    programs: Mapping[tuple[str, ...], Program] = field(default_factory=dict)


def triggers(desired: Desired, observed: Observed, now: datetime) -> Firings:
    """Decide about the triggers of `observed.triggers`. An Unavailable source decides nothing."""
    if not isinstance(desired, Complete):
        return Firings()
    desk = _Desk(desired, observed, now)
    for identity in sorted(observed.triggers):
        desk.look(identity)
    return Firings(tuple(desk.actions), desk.programs)


class _Desk:
    """Where triggers are looked at, one after the other. `_live` are the tasks of each that are not over, in order."""

    def __init__(self, desired: Complete, observed: Observed, now: datetime) -> None:
        self.desired = desired
        self.observed = observed
        self.now = now
        self.actions: list[Action] = []
        self.programs: dict[tuple[str, ...], Program] = {}
        self._ran = {task.record.identity for task in observed.snapshot.tasks.values()} | observed.snapshot.runs.keys()
        self._live: dict[Identity, list[TaskRecord]] = {}
        for task in sorted(observed.snapshot.tasks.values(), key=lambda each: each.record.number or math.inf):
            record = task.record
            if record.trigger and record.live:
                self._live.setdefault((record.namespace, record.trigger), []).append(record)

    def look(self, identity: Identity) -> None:
        uid = trigger_uid(self.desired.revision.source, *identity)
        self._release(identity)
        self._end_strangers(identity, uid)
        file, record = self.desired.library.trigger(*identity), self.observed.snapshot.triggers.get(uid)
        if file is None:
            if record and record.phase is not TriggerPhase.REMOVED and self.desired.removes:
                self._end(record, "its file was removed, it does not fire any more")
        elif record is None or record.phase is TriggerPhase.REMOVED:
            self._begin(file, uid)
        elif record.schedule != schedule_of(spec_of(file)) or record.decided > self.now + CLOCK_BACK:
            self._begin_anew(file, record)
        else:
            self._decide(file, self._told(file, record))

    # -- what its file says ------------------------------------------------------------------------------------------

    def _begin(self, file: Definition, uid: Uid) -> None:
        phase = TriggerPhase.UNADOPTED if self.desired.hold else _wanted(file)
        blank = TriggerRecord(
            *(uid, self.desired.revision.source, file.namespace, file.name, origin_of(self.desired, file)),
            *(file.digest, "", phase, self.now, self.now),
        )
        record = self._afresh(file, blank)
        standing = {
            TriggerPhase.UNADOPTED: "does not fire before `reconciler adopt`",
            TriggerPhase.SUSPENDED: f"begins suspended: {record.message}",
        }
        self._tell("+", record, "Introduced", standing.get(phase, f"begins{_ahead(record)}"))

    def _begin_anew(self, file: Definition, old: TriggerRecord) -> None:
        """Its times are others than before: what lies between the last decision and now was never one of them."""
        reason = "Rescheduled" if old.schedule != schedule_of(spec_of(file)) else "ClockBack"
        phase = old.phase if old.phase is TriggerPhase.UNADOPTED else _wanted(file)
        said = replace(old, digest=file.digest, origin=origin_of(self.desired, file), phase=phase)
        record = self._afresh(file, said)
        self._tell("~", record, reason, f"begins anew{_ahead(record)}")

    def _afresh(self, file: Definition, record: TriggerRecord) -> TriggerRecord:
        """`record` with nothing behind it: whatever there is now has been seen."""
        spec = spec_of(file)
        seen = inputs_digest(self.desired, file) or "" if spec.on_change else ""
        seen = self.desired.revision.commit if spec.on_commit else seen
        schedule = schedule_of(spec)
        return self._placed(file, replace(record, schedule=schedule, since=self.now, decided=self.now, seen=seen))

    def _placed(self, file: Definition, record: TriggerRecord) -> TriggerRecord:
        """`record` with its next time, and why it has none."""
        active = record.phase is TriggerPhase.ACTIVE
        wake = next_time(spec_of(file), record.decided) if active else None
        reason = {TriggerPhase.SUSPENDED: "Suspended", TriggerPhase.UNADOPTED: "Unadopted"}.get(record.phase, "")
        message = _control(file).reason or "" if record.phase is TriggerPhase.SUSPENDED else ""
        return replace(record, wake_at=wake, reason=reason, message=message)

    def _told(self, file: Definition, record: TriggerRecord) -> TriggerRecord:
        """`record` as its file has it now."""
        phase = record.phase if record.phase is TriggerPhase.UNADOPTED else _wanted(file)
        if (file.digest, phase) == (record.digest, record.phase):
            return record
        resumed = record.phase is TriggerPhase.SUSPENDED and phase is TriggerPhase.ACTIVE
        if resumed:
            record = self._skip_suspended(file, record)
        said = replace(record, digest=file.digest, origin=origin_of(self.desired, file), phase=phase)
        said = self._placed(file, said)
        reason = "Resumed" if resumed else said.reason or "Changed"
        what = {"Resumed": f"resumed{_ahead(said)}", "Suspended": f"suspended: {said.message}"}
        self._tell("~", said, reason, what.get(reason, f"its file changed{_ahead(said)}"))
        return said

    def _skip_suspended(self, file: Definition, record: TriggerRecord) -> TriggerRecord:
        """The times of a suspension never fire."""
        slots = times(spec_of(file))
        missed = passed(slots, record.decided, self.now) if slots else None
        if missed is None:
            return replace(record, decided=self.now)
        slot = Slot(f"{missed.first:%Y%m%dT%H%M%SZ}", self.now, "", brought_by(self.desired, file.path))
        return self._skip(record, slot, "Suspended", f"it was suspended: {missed.text}")

    def _end(self, record: TriggerRecord, why: str) -> None:
        gone = replace(record, phase=TriggerPhase.REMOVED, wake_at=None, reason="Removed", message=why)
        cause = brought_by(self.desired, record.origin.path)
        self._do("-", gone, why, TriggerSeen(gone, cause, "Removed", why))

    def _end_strangers(self, identity: Identity, uid: Uid) -> None:
        """A trigger of this name from a source that is not followed any more does not fire."""
        for record in self.observed.snapshot.triggers.values():
            if record.identity == identity and record.uid != uid and record.phase is not TriggerPhase.REMOVED:
                self._end(record, f"its source {record.source} is not followed any more")

    # -- what is due -------------------------------------------------------------------------------------------------

    def _decide(self, file: Definition, record: TriggerRecord) -> None:
        spec = spec_of(file)
        if record.phase is not TriggerPhase.ACTIVE and spec.cron is not None:
            return  # the times of a suspension are skipped as one when it ends
        if record.wake_at != next_time(spec, record.decided) and record.phase is TriggerPhase.ACTIVE:
            record = self._placed(file, record)
            self._tell("~", record, "Scheduled", f"waits for its next slot{_ahead(record)}")
        found = due(self.desired, self.observed, file, record, self.now)
        if found.missed:
            until = found.slots[0].decided - timedelta(microseconds=1) if found.slots else self.now
            slot = Slot(f"{found.missed.first:%Y%m%dT%H%M%SZ}", until, "", Cause("timer"))
            record = self._skip(record, slot, "Missed", f"nobody looked in time: {found.missed.text}", file)
        for slot in found.slots:
            record = self._fire(file, record, slot)

    def _fire(self, file: Definition, record: TriggerRecord, slot: Slot) -> TriggerRecord:
        """The slot fires, or is skipped, or (a change of inputs) waits for its turn."""
        spec, name = spec_of(file), f"{file.name}-{slot.name}"
        live = self._live.setdefault(record.identity, [])
        if record.phase is not TriggerPhase.ACTIVE:
            said = f"the trigger is {record.phase}" + (f": {record.message}" if record.message else "")
            return self._skip(record, slot, record.reason, said, file)
        if (record.namespace, name) in self._ran:
            return self._skip(record, slot, ALREADY_RAN, f"the task {name} ran before", file)
        if live and spec.overlap == "skip" and spec.on_change:
            return record  # the inputs still differ when the task has ended, and then they count as they are
        if live and spec.overlap == "skip":
            return self._skip(record, slot, "Overlap", f"{live[-1].name} is not over", file)
        if spec.overlap == "queue" and len(live) > QUEUE:
            return self._skip(record, slot, "QueueFull", f"{QUEUE} tasks wait for {live[0].name}", file)
        if spec.overlap == "replace":
            self._revoke(live, name)
        return self._make(file, record, slot, live)

    def _make(self, file: Definition, record: TriggerRecord, slot: Slot, live: list[TaskRecord]) -> TriggerRecord:
        name = f"{file.name}-{slot.name}"
        author = slot.cause.author or record.origin.author
        cause = Cause("trigger", f"{file.name}@{slot.name}", author, slot.cause.message)
        controlled = self.desired.library.task(file.namespace, name)
        wish = replace(
            wish_of_trigger(file, name, cause, controlled),
            behind=live[-1].name if live else "",
            at=slot.decided if times(spec_of(file)) else None,
            origin=record.origin,
            word=brought_by(self.desired, controlled.path) if controlled else None,
        )
        entry = enter(self.desired, wish, self.now)
        wake = next_time(spec_of(file), slot.decided)
        fired = Fired(record.uid, slot.name, name, slot.decided, slot.seen, wake, slot.cause)
        self._admit(entry, fired)
        live += [change.task for change in _admitted(entry)]
        self._ran.add((record.namespace, name))
        return apply_to_trigger(record, fired, self.now)[0]

    def _admit(self, entry: Entry, fired: Fired) -> None:
        first, *others = entry.actions
        self.actions += [replace(first, changes=(*first.changes, fired)), *others]
        self.programs.update(entry.programs)

    def _skip(
        self, record: TriggerRecord, slot: Slot, reason: str, message: str, file: Definition | None = None
    ) -> TriggerRecord:
        wake = next_time(spec_of(file), slot.decided) if file and record.phase is TriggerPhase.ACTIVE else None
        seen = slot.seen or record.seen
        change = Skipped(record.uid, slot.name, slot.decided, seen, wake, reason, message, slot.cause)
        where = f"{record.namespace}/{record.name} {slot.name}"
        self.actions.append(Action("~", record.uid, where, f"skipped: {message}", (change,)))
        return apply_to_trigger(record, change, self.now)[0]

    # -- its tasks among each other ----------------------------------------------------------------------------------

    def _release(self, identity: Identity) -> None:
        """The oldest task that is not over waits for nobody."""
        live = self._live.get(identity)
        if live and live[0].behind:
            first = live[0]
            change = Released(first.uid, Cause("trigger", identity[1]))
            self._task("~", first, f"the run before it has ended: {first.behind}", change)
            live[0] = replace(first, behind="", reason="", message="")

    def _revoke(self, live: list[TaskRecord], name: str) -> None:
        for place, record in enumerate(live):
            if record.phase is not TaskPhase.REVOKING:
                live[place] = replace(record, phase=TaskPhase.REVOKING)
                message = f"{name} takes its place"
                cause = Cause("trigger", name)
                change = TaskAdvanced(record.uid, Signal.REVOKE, cause, "Replaced", message)
                self._task("x", record, f"revoked: {message}", change)

    # -- telling -----------------------------------------------------------------------------------------------------

    def _tell(self, sign: Sign, record: TriggerRecord, reason: str, what: str) -> None:
        cause = Cause("timer") if reason in _OF_TIME else _of_file(record)
        self._do(sign, record, what, TriggerSeen(record, cause, reason, record.message))

    def _do(self, sign: Sign, record: TriggerRecord, what: str, change: TriggerChange) -> None:
        self.actions.append(
            Action(sign, record.uid, f"{record.namespace}/{record.name}", f"trigger: {what}", (change,))
        )

    def _task(self, sign: Sign, record: TaskRecord, what: str, change: Released | TaskAdvanced) -> None:
        self.actions.append(Action(sign, record.uid, f"{record.namespace}/{record.name}", what, (change,)))


def _admitted(entry: Entry) -> Iterable[Admitted]:
    """The runs of an entry that are not over at once."""
    for action in entry.actions:
        over = any(isinstance(change, TaskAdvanced) for change in action.changes)
        yield from (change for change in action.changes if isinstance(change, Admitted) and not over)


def _control(file: Definition) -> TriggerControl:
    return cast("Trigger", file.model).control


def _of_file(record: TriggerRecord) -> Cause:
    """The commit that made its file say what it says."""
    return Cause("commit", record.origin.commit, record.origin.author, record.origin.subject)


def _wanted(file: Definition) -> TriggerPhase:
    suspended = _control(file).state == "suspended"
    return TriggerPhase.SUSPENDED if suspended else TriggerPhase.ACTIVE


def _ahead(record: TriggerRecord) -> str:
    return f"; next at {record.wake_at:%Y-%m-%d %H:%M:%SZ}" if record.wake_at else ""
