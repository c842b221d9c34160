"""What can happen to a trigger, each with its cause, and what it makes of its row.

A slot is decided by one change, in the transaction that admits the task it fires: so it fires at most once, and what
does not fire is a recorded skip.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from state.copies import replace
from state.phases import TriggerPhase
from state.records import Cause, Event, TriggerRecord, Uid

ALREADY_RAN = "AlreadyRan"
"""Why a slot does not fire whose task has run: a clock was put back, or a branch, to where the trigger fired before."""


def trigger_uid(source: str, namespace: str, name: str) -> Uid:
    """The identity of a trigger, which is that of no run."""
    text = f"trigger\0{source}\0{namespace}\0{name}\0"
    return Uid(hashlib.sha256(text.encode()).hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class TriggerSeen:
    """A trigger is introduced, or its file says something new; `reason` names what of that it is."""

    record: TriggerRecord
    cause: Cause
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class TriggerAdopted:
    """A person lets a trigger fire that a cold start held back: from now on, nothing before."""

    uid: Uid
    cause: Cause


@dataclass(frozen=True, slots=True)
class Fired:
    """The slot `slot` made the task `task`; every time up to `decided` has been decided."""

    uid: Uid
    slot: str
    task: str
    decided: datetime
    seen: str
    wake_at: datetime | None
    cause: Cause

    @property
    def reason(self) -> str:
        return "Fired"

    @property
    def message(self) -> str:
        return self.task


@dataclass(frozen=True, slots=True)
class Skipped:
    """The slot `slot`, or all of a range of which it is the first, does not fire, because of `reason`."""

    uid: Uid
    slot: str
    decided: datetime
    seen: str
    wake_at: datetime | None
    reason: str
    message: str
    cause: Cause


TriggerChange = TriggerSeen | TriggerAdopted | Fired | Skipped


def trigger_of(change: TriggerChange) -> Uid:
    """The trigger that a change concerns."""
    return change.record.uid if isinstance(change, TriggerSeen) else change.uid


def apply_to_trigger(trigger: TriggerRecord | None, change: TriggerChange, at: datetime) -> tuple[TriggerRecord, Event]:
    """A trigger after one change, and the event that tells of it. Raises KeyError for one that was never seen."""
    if isinstance(change, TriggerSeen):
        before = str(trigger.phase) if trigger else ""
        return change.record, _event(change.record, at, "", before, str(change.record.phase), change)
    if trigger is None:
        raise KeyError(trigger_of(change))
    match change:
        case TriggerAdopted():
            new = replace(trigger, phase=TriggerPhase.ACTIVE, since=at, decided=at, wake_at=at, reason="", message="")
            return new, _event(new, at, "", str(trigger.phase), str(new.phase), change)
        case Fired() | Skipped():
            new = _decided(trigger, change)
            word = "fired" if isinstance(change, Fired) else "skipped"
            return new, _event(new, at, change.slot, "", word, change)
        case _:
            assert_never(change)


def _decided(trigger: TriggerRecord, change: Fired | Skipped) -> TriggerRecord:
    return replace(trigger, decided=change.decided, seen=change.seen, wake_at=change.wake_at)


def _event(trigger: TriggerRecord, at: datetime, slot: str, before: str, after: str, change: TriggerChange) -> Event:
    reason, message = getattr(change, "reason", "Adopted"), getattr(change, "message", "")
    return Event(trigger.uid, at, "trigger", slot, 0, before, after, reason, message, change.cause)
