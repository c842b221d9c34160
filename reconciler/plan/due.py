"""Which slots of a trigger are to be decided now, and which of them its file wants to fire.

A slot is an instant, a commit, or a change of inputs. Times that passed while nobody looked are never enumerated: what
may fire is found from the latest one back, at most a hundred, and all others are one range.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from definitions.definition import Definition, canonical, digest_of
from definitions.desired import Complete
from definitions.models import Trigger, TriggerSpec
from definitions.patterns import matches
from definitions.slots import Slots, slot_name, slots_of
from reconciler.observed import Observed
from state.records import Cause, Identity, TriggerRecord
from state.triggers import trigger_uid

ON_TIME = timedelta(minutes=1)
"""A time that is looked at within this is not missed: the loop may be busy."""
CATCH_UP = 100
"""So many missed times fire at the most, the latest; and so many of a range are counted."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One thing to decide: its name, until when everything is decided with it, what has been seen with it, and why."""

    name: str
    decided: datetime
    seen: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Range:
    """Times that passed and do not fire, as one: the first of them, and in words which and how many."""

    first: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be decided now: first a range that was missed, then the slots that may fire, the oldest first."""

    missed: Range | None = None
    slots: tuple[Slot, ...] = ()


def spec_of(file: Definition) -> TriggerSpec:
    """The spec of a trigger's file."""
    return cast("Trigger", file.model).spec


def times(spec: TriggerSpec) -> Slots | None:
    """The times of a cron trigger; None for the others."""
    return slots_of(spec.cron, spec.timezone) if spec.cron is not None else None


def schedule_of(spec: TriggerSpec) -> str:
    """When a trigger fires, as text: where it differs, the trigger begins anew."""
    if spec.cron is not None:
        return f"{spec.cron} {spec.timezone}"
    return "onCommit" if spec.on_commit is not None else "onChange"


def next_time(spec: TriggerSpec, after: datetime) -> datetime | None:
    """When a trigger fires next after `after`; None for what does not fire at times."""
    slots = times(spec)
    return slots.next(after) if slots else None


def short(commit: str) -> str:
    """A commit as it stands in the name of a task: 12 hex digits."""
    return commit.removeprefix("dir:")[:12]


def inputs_digest(desired: Complete, file: Definition) -> str | None:
    """The digest of everything that a trigger's task would run with; None while that is not to be had."""
    if desired.library.unresolved(file):
        return None
    spec = spec_of(file).task
    kind, name = spec.target
    used = [[*each.identity, each.digest] for each in desired.library.closure(kind, file.namespace, name)]
    return digest_of(canonical([used, spec.with_]))


def due(desired: Complete, observed: Observed, file: Definition, record: TriggerRecord, now: datetime) -> Due:
    """What of a trigger that is in force is to be decided at `now`."""
    spec = spec_of(file)
    slots = times(spec)
    if slots:
        return _due_times(spec, slots, record, now)
    if spec.on_commit is not None:
        hit = matches(spec.on_commit.paths, observed.changed) and record.seen != desired.revision.commit
        return Due(
            slots=(_commit_slot(desired, now, short(desired.revision.commit), desired.revision.commit),) if hit else ()
        )
    digest = inputs_digest(desired, file)
    if digest is None or digest == record.seen:
        return Due()
    return Due(slots=(_commit_slot(desired, now, f"{short(desired.revision.commit)}-{digest[:8]}", digest),))


def passed(slots: Slots, after: datetime, until: datetime) -> Range | None:
    """The times later than `after` and not later than `until`, as a range; None if there are none."""
    found = slots.upcoming(after, CATCH_UP + 1, until)
    if not found:
        return None
    if len(found) == 1:
        return Range(found[0], f"{found[0]:%Y-%m-%d %H:%M:%SZ}")
    last = found[-1] if len(found) <= CATCH_UP else slots.latest(after, until) or found[-1]
    count = f"{len(found)} times" if len(found) <= CATCH_UP else f"more than {CATCH_UP} times"
    return Range(found[0], f"{count}, {found[0]:%Y-%m-%d %H:%M:%SZ} to {last:%Y-%m-%d %H:%M:%SZ}")


def candidates(desired: Complete, observed: Observed, now: datetime) -> Iterator[Identity]:
    """The tasks that the triggers of `observed` may make now: whether they ran before has to be known."""
    for namespace, name in observed.triggers:
        file = desired.library.trigger(namespace, name)
        record = observed.snapshot.triggers.get(trigger_uid(desired.revision.source, namespace, name))
        if file and record:
            for slot in due(desired, observed, file, record, now).slots:
                yield namespace, f"{name}-{slot.name}"


def _due_times(spec: TriggerSpec, slots: Slots, record: TriggerRecord, now: datetime) -> Due:
    first = slots.next(record.decided)
    if first is None or first > now:
        return Due()
    window = ON_TIME if spec.missed == "skip" else max(spec.within, ON_TIME) if spec.within else now - record.decided
    after = max(record.decided, now - window - timedelta(microseconds=1))
    one = spec.missed == "latest" or spec.overlap == "replace"  # each would only take the place of the one before
    chosen = slots.past(after, now, 1 if one else CATCH_UP)
    until = chosen[0] - timedelta(microseconds=1) if chosen else now
    missed = passed(slots, record.decided, until)
    return Due(missed, tuple(Slot(slot_name(each), each, "", Cause("timer", slot_name(each))) for each in chosen))


def _commit_slot(desired: Complete, now: datetime, name: str, seen: str) -> Slot:
    revision = desired.revision
    return Slot(name, now, seen, Cause("commit", revision.commit, revision.author, revision.subject))
