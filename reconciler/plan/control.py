"""What the control part of a task file asks for, of the whole task and of its steps, and what is to be said about it.

Suspend, resume, revoke, and the answers about steps take effect when they fit. A control that fits no more, not at all
or not yet is a condition of the task, which goes when that is over.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import cast

from definitions.desired import Complete, Desired
from definitions.program import Program
from reconciler.actions import Action, Sign
from reconciler.plan.answers import answers, remarks
from reconciler.plan.beginning import going_on, revocation
from reconciler.plan.repinning import repin_verdict
from reconciler.plan.sayings import PENDING, REFUSED, STALE, Remark, dismissals
from state.asking import asked_by
from state.changes import Noted, OwnChange, TaskAdvanced, apply_one
from state.phases import LIVE_TASKS, STARTING_TASKS, Signal, TaskPhase
from state.records import Cause, TaskRecord, TaskSnapshot

CONTROL_CONDITIONS = frozenset({PENDING, REFUSED, STALE})
"""What is said here; the other conditions of a task come from comparing its file."""

_REVOCABLE = LIVE_TASKS - {TaskPhase.REVOKING} | {TaskPhase.FAILED}
"""A task that has failed could be taken up again: to revoke it ends that, too."""

_LEFT = {"suspended": "suspend", "revoked": "stop"}
"""What a state asks to do with what is left of a task."""

PLAN = Cause("plan")

MINUTES = "%Y-%m-%dT%H:%MZ"
"""A time in UTC as files write it."""


def control(task: TaskSnapshot, program: Program | None, now: datetime) -> Iterator[Action]:
    """What the recorded control of a task asks for and its rows do not show yet."""
    for action in answers(task, program, now):
        for change in action.changes:
            task, _ = apply_one(task, cast("OwnChange", change), now)
        yield action
    wanted = _wanted(task, now)
    if wanted:
        yield wanted


def noted(task: TaskSnapshot, program: Program | None, desired: Desired, now: datetime) -> Action | None:
    """What is to be said of the control as the task stands now, unless that is what is said already.

    Where nobody can say what a commit would mean, because the source cannot be asked, what was said of it stays.
    """
    record = task.record
    if record.control.get("repin", record.repinned) != record.repinned and not isinstance(desired, Complete):
        return None
    about_steps = list(remarks(task, program))
    found = [*_about_task(task, program, desired, now), *((str(said), each) for said, each in about_steps)]
    mine: dict[str, str] = {}
    for part, remark in sorted(found, key=lambda each: each[1].condition):
        before = f"{mine[remark.condition]}; " if remark.condition in mine else ""
        mine[remark.condition] = f"{before}{part}: {remark.text}"
    others = {name: text for name, text in record.conditions.items() if name not in CONTROL_CONDITIONS}
    gone = dismissals(about_steps)
    if (others | mine, gone) == (record.conditions, record.dismissed):
        return None
    told = "; ".join(f"{condition}: {text}" for condition, text in mine.items())
    cause, reason = _asked_now(record, found), next(iter(mine), "ControlSettled")
    change = Noted(record.uid, others | mine, cause, reason, told.removeprefix(f"{reason}: "), gone)
    return Action(
        "~",
        record.uid,
        f"{record.namespace}/{record.name}",
        told or "what was said of its control is settled",
        (change,),
    )


def _about_task(
    task: TaskSnapshot, program: Program | None, desired: Desired, now: datetime
) -> Iterator[tuple[str, Remark]]:
    """What does not count of the control of the whole task, each with the part that it is about."""
    pinning = repin_verdict(task, program, desired)
    if isinstance(pinning, Remark):
        yield "repin", pinning
    if remark := _about_until(task.record, now):
        yield "until", remark
    if remark := _about_state(task.record):
        yield "state", remark


def _about_state(record: TaskRecord) -> Remark | None:
    """Why the state that is asked for comes too late; None if it does not, or none is asked for in so many words."""
    wanted = record.control.get("state")
    if wanted == "suspended" and "until" in record.control:
        return None  # it ended by itself, or will
    if record.phase is TaskPhase.FINISHED and wanted in _LEFT:
        return Remark(STALE, f"the task has finished, and nothing of it is left to {_LEFT[wanted]}")
    if record.phase is TaskPhase.REVOKED and wanted == "suspended":
        return Remark(STALE, f"the task is revoked, which is final; `run: {record.run + 1}` runs all of it again")
    return None


def _asked_now(record: TaskRecord, found: Iterable[tuple[str, Remark]]) -> Cause:
    """Who said what is remarked on for the first time; where only less is to be said than before, nobody's word did that."""
    for part, remark in found:
        if f"{part}: {remark.text}" not in record.conditions.get(remark.condition, ""):
            return asked_by(record, "state" if part == "until" else part)
    return PLAN


def _wanted(task: TaskSnapshot, now: datetime) -> Action | None:
    record = task.record
    cause = asked_by(record, "state")
    wanted, reason = record.control.get("state", "running"), str(record.control.get("reason", ""))
    until = _until(record)
    over = until is not None and until <= now
    if wanted == "suspended" and not over and record.phase in STARTING_TASKS:
        return _action(record, cause, "~", Signal.SUSPEND, "Suspended", reason)
    if wanted == "suspended" and over and record.phase is TaskPhase.SUSPENDED:
        return _resumed(record, Cause("timer", message=f"suspended until {until:{MINUTES}}"))
    if wanted == "running" and record.phase is TaskPhase.SUSPENDED:
        return _resumed(record, cause)
    if wanted == "revoked" and record.phase in _REVOCABLE:
        return _action(record, cause, "x", revocation(task), "Revoked", reason)
    return None


def _until(record: TaskRecord) -> datetime | None:
    """When a suspension ends by itself."""
    until = record.control.get("until")
    return datetime.fromisoformat(until).astimezone(UTC) if isinstance(until, str) else None


def _about_until(record: TaskRecord, now: datetime) -> Remark | None:
    """Why the time at which a suspension would end means nothing; None if it does, or there is none."""
    until, state = _until(record), record.control.get("state", "running")
    if until is None or not record.live:
        return None
    if state != "suspended":
        return Remark(REFUSED, f"it has a meaning only with `state: suspended`, and this says `state: {state}`")
    return Remark(STALE, f"{until:{MINUTES}} is over, so the task is not suspended") if until <= now else None


def _action(
    record: TaskRecord, cause: Cause, sign: Sign, signal: Signal, reason: str = "", message: str = ""
) -> Action:
    what = "suspended" if signal is Signal.SUSPEND else "revoked"
    return _said(record, sign, what, TaskAdvanced(record.uid, signal, cause, reason, message))


def _resumed(record: TaskRecord, cause: Cause) -> Action:
    return _said(record, "~", "resumed", going_on(record, Signal.RESUME, cause))


def _said(record: TaskRecord, sign: Sign, what: str, change: TaskAdvanced) -> Action:
    what = f"{what}: {change.message}" if change.message else what
    return Action(sign, record.uid, f"{record.namespace}/{record.name}", what, (change,))
