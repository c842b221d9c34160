"""What the control part of a task file asks for, of the whole task and of its steps, and what is to be said about it.

Suspend, resume, revoke, and the answers about steps take effect when they fit. A control that fits no more, not at all
or not yet is a condition of the task, which goes when that is over.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

from definitions.desired import Complete, Desired
from definitions.program import Program
from reconciler.actions import Action, Sign
from reconciler.plan.answers import answers, remarks
from reconciler.plan.repinning import repin_verdict
from reconciler.plan.sayings import PENDING, REFUSED, STALE, Remark, dismissals
from state.changes import Noted, OwnChange, TaskAdvanced, apply_one
from state.phases import STARTING_TASKS, Signal, TaskPhase
from state.records import Cause, TaskRecord, TaskSnapshot

CONTROL_CONDITIONS = frozenset({PENDING, REFUSED, STALE})
"""What is said here; the other conditions of a task come from comparing its file."""

MINUTES = "%Y-%m-%dT%H:%MZ"
"""A time in UTC as files write it."""


def control(task: TaskSnapshot, program: Program | None, cause: Cause, now: datetime) -> Iterator[Action]:
    """What the recorded control of a task asks for and its rows do not show yet."""
    for action in answers(task, program, cause, now):
        for change in action.changes:
            task, _ = apply_one(task, cast("OwnChange", change), now)
        yield action
    wanted = _wanted(task.record, cause, now)
    if wanted:
        yield wanted


def noted(task: TaskSnapshot, program: Program | None, desired: Desired, cause: Cause, now: datetime) -> Action | None:
    """What is to be said of the control as the task stands now, unless that is what is said already.

    Where nobody can say what a commit would mean, because the source cannot be asked, what was said of it stays.
    """
    record = task.record
    found: dict[str, list[str]] = {}
    if record.control.get("repin", record.repinned) != record.repinned and not isinstance(desired, Complete):
        return None
    pinning = repin_verdict(task, program, desired)
    if isinstance(pinning, Remark):
        found[pinning.condition] = [f"repin: {pinning.text}"]
    about_steps = list(remarks(task, program))
    for condition, text in (
        *_remarks(record, now),
        *((each.condition, f"{said}: {each.text}") for said, each in about_steps),
    ):
        found.setdefault(condition, []).append(text)
    mine = {condition: "; ".join(found[condition]) for condition in sorted(found)}
    others = {name: text for name, text in record.conditions.items() if name not in CONTROL_CONDITIONS}
    gone = dismissals(about_steps)
    if (others | mine, gone) == (record.conditions, record.dismissed):
        return None
    told = "; ".join(f"{condition}: {text}" for condition, text in mine.items())
    reason = next(iter(mine), "ControlSettled")
    change = Noted(record.uid, others | mine, cause, reason, told.removeprefix(f"{reason}: "), gone)
    return Action(
        "~",
        record.uid,
        f"{record.namespace}/{record.name}",
        told or "what was said of its control is settled",
        (change,),
    )


def cause_of(record: TaskRecord, desired: Desired) -> Cause:
    """The commit that asks for it: the one that brought the file as it is; without a file the one that began the run."""
    file = desired.library.task(*record.identity) if isinstance(desired, Complete) else None
    if file is None or not isinstance(desired, Complete):
        return Cause("commit", record.origin.commit, record.origin.author, record.origin.subject)
    brought = desired.library.tree.origin(file.path)
    return Cause("commit", brought.commit, brought.author, brought.subject)


def _wanted(record: TaskRecord, cause: Cause, now: datetime) -> Action | None:
    wanted, reason = record.control.get("state", "running"), str(record.control.get("reason", ""))
    until = _until(record)
    over = until is not None and until <= now
    if wanted == "suspended" and not over and record.phase in STARTING_TASKS:
        return _action(record, cause, "~", Signal.SUSPEND, "Suspended", reason)
    if wanted == "suspended" and over and record.phase is TaskPhase.SUSPENDED:
        return _action(record, Cause("timer", message=f"suspended until {until:{MINUTES}}"), "~", Signal.RESUME)
    if wanted == "running" and record.phase is TaskPhase.SUSPENDED:
        return _action(record, cause, "~", Signal.RESUME)
    if wanted == "revoked" and record.live and record.phase is not TaskPhase.REVOKING:
        return _action(record, cause, "x", Signal.REVOKE, "Revoked", reason)
    return None


def _until(record: TaskRecord) -> datetime | None:
    """When a suspension ends by itself."""
    until = record.control.get("until")
    return datetime.fromisoformat(until).astimezone(UTC) if isinstance(until, str) else None


def _remarks(record: TaskRecord, now: datetime) -> Iterator[tuple[str, str]]:
    until, state = _until(record), record.control.get("state", "running")
    if until is None or not record.live:
        return
    if state != "suspended":
        yield REFUSED, f"until: it has a meaning only with `state: suspended`, and this says `state: {state}`"
    elif until <= now:
        yield STALE, f"until: {until:{MINUTES}} is over, so the task is not suspended"


def _action(
    record: TaskRecord, cause: Cause, sign: Sign, signal: Signal, reason: str = "", message: str = ""
) -> Action:
    change = TaskAdvanced(record.uid, signal, cause, reason, message)
    what = {Signal.SUSPEND: "suspended", Signal.RESUME: "resumed"}.get(signal, "revoked")
    return Action(
        sign, record.uid, f"{record.namespace}/{record.name}", f"{what}: {message}" if message else what, (change,)
    )
