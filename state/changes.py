"""The closed list of what can be written, each with its cause, and what each one does to a task.

`apply_one` is the only place that turns a change into records; `state.fold` does it with many.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from state.asking import asked_anew
from state.copies import replace
from state.phases import (
    ENDED_ATTEMPTS,
    ENDED_STEPS,
    ENDED_TASKS,
    IllegalTransition,
    Phase,
    Signal,
    StepPhase,
    advance,
)
from state.places import entered, group_of, left_behind, uncertain
from state.records import (
    RESTORED_OLDER,
    AttemptRecord,
    Cause,
    DefinitionRecord,
    Event,
    Json,
    Pin,
    SourceRecord,
    StepRecord,
    TaskRecord,
    TaskSnapshot,
    Uid,
)
from state.room import QUEUED_FOR_TRIGGER
from state.triggers import TriggerChange


@dataclass(frozen=True, slots=True)
class Admitted:
    """A task file becomes a run: its row and the definitions that it keeps."""

    task: TaskRecord
    pins: tuple[Pin, ...]
    cause: Cause


@dataclass(frozen=True, slots=True)
class Controlled:
    """The file of a task says something new; its phase does not change by that."""

    uid: Uid
    digest: str
    control: Mapping[str, Json]
    conditions: Mapping[str, str]
    delete_policy: str
    cause: Cause
    message: str = ""
    reason: str = "FileChanged"
    words: Mapping[str, Cause] = field(default_factory=dict)  # by part of the control, where it is somebody else's


@dataclass(frozen=True, slots=True)
class Repinned:
    """A run continues with other definitions: those at the commit that its file names."""

    uid: Uid
    pins: tuple[Pin, ...]
    params: Mapping[str, Json]
    commit: str
    cause: Cause

    @property
    def reason(self) -> str:
        return "Repinned"

    @property
    def message(self) -> str:
        return f"continues with the definitions at {self.commit}"


@dataclass(frozen=True, slots=True)
class Noted:
    """What is to be said of a task beside its state, e.g. that a control came too late: all its conditions anew."""

    uid: Uid
    conditions: Mapping[str, str]
    cause: Cause
    reason: str
    message: str = ""
    dismissed: Mapping[str, Json] = field(default_factory=dict)  # all of its control that counts no more


@dataclass(frozen=True, slots=True)
class Held:
    """A task waits until a person has decided about it, because of `message`; with "" it goes on, still as restored."""

    uid: Uid
    message: str
    cause: Cause

    @property
    def reason(self) -> str:
        return RESTORED_OLDER if self.message else "Adopted"


@dataclass(frozen=True, slots=True)
class Released:
    """The run of its trigger that a task waited behind has ended: it may begin, unless something else is in its way."""

    uid: Uid
    cause: Cause
    reason: str = "Released"


@dataclass(frozen=True, slots=True)
class TaskAdvanced:
    """A task goes to another phase, or (`signal` None) one that runs already begins, having been suspended before."""

    uid: Uid
    signal: Signal | None
    cause: Cause
    reason: str = ""
    message: str = ""
    outputs: Json = None
    expected_finish: datetime | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepAdvanced:
    """A step, call or item goes to another phase, or says something new about the one it is in (`signal` None)."""

    uid: Uid
    path: str
    signal: Signal | None
    cause: Cause
    reason: str = ""
    message: str = ""
    outputs: Json = None
    wake_at: datetime | None = None
    failed: bool = False  # one more failed attempt
    inputs: Mapping[str, Json] = field(default_factory=dict)  # joins what is kept already
    group: str | None = None  # None keeps it, as long as the step stands in line or runs


@dataclass(frozen=True, slots=True)
class Intended:
    """A new attempt: after this commit, and not before, its first call may leave the process."""

    attempt: AttemptRecord
    cause: Cause


@dataclass(frozen=True, slots=True)
class Called:
    """The next call of an attempt (a poll), or the same one again (`resend`) where the target deduplicates."""

    uid: Uid
    path: str
    call: int
    resend: bool = False


@dataclass(frozen=True, slots=True)
class AttemptAdvanced:
    """What an observation said of an attempt. `signal` None: still the same phase, with newer facts."""

    uid: Uid
    path: str
    signal: Signal | None
    cause: Cause
    answered: int | None = None  # None: the call in flight stays in flight
    handle: Json = None  # None keeps the handle
    answer: Json = None
    outputs: Json = None
    code: int | None = None
    message: str = ""
    wake_at: datetime | None = None
    cleanup: bool | None = None  # None keeps it


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The target holds nothing of this attempt any more."""

    uid: Uid
    path: str
    number: int


@dataclass(frozen=True, slots=True)
class Retired:
    """Retention lets the rows of a run go; its tombstone stays for ever."""

    uid: Uid
    cause: Cause


@dataclass(frozen=True, slots=True)
class Activated:
    """A revision is in force: what its files say now, and which documents are gone."""

    source: SourceRecord
    definitions: tuple[DefinitionRecord, ...]
    removed: tuple[tuple[str, int], ...]  # (path, document index)
    secret_lengths: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceReported:
    """How the source stands, when no revision was activated."""

    source: SourceRecord


Telling = Controlled | Repinned | Noted | Held | Released
"""What is said of a task, and changes no phase."""
OwnChange = Telling | TaskAdvanced | StepAdvanced | Intended | Called | AttemptAdvanced | Cleaned
"""What happens to a task between its admission and its retirement."""
TaskChange = Admitted | OwnChange | Retired
Change = TaskChange | TriggerChange | Activated | SourceReported


def apply_one(task: TaskSnapshot, change: OwnChange, at: datetime) -> tuple[TaskSnapshot, Event | None]:
    """One task after one change, and the event that tells of it."""
    match change:
        case TaskAdvanced():
            return _task_advanced(task, change, at)
        case StepAdvanced():
            return _step_advanced(task, change, at)
        case AttemptAdvanced():
            return _attempt_advanced(task, change, at)
        case Intended():
            return _intended(task, change, at)
        case Called():
            return _called(task, change), None
        case Cleaned():
            return _cleaned(task, change), None
        case Controlled() | Repinned() | Noted() | Held() | Released():
            return _told(task, change, at)
        case _:
            assert_never(change)


def uid_of(change: TaskChange) -> Uid:
    """The task that a change of a task concerns."""
    match change:
        case Admitted():
            return change.task.uid
        case Intended():
            return change.attempt.uid
        case _:
            return change.uid


def event_of(
    uid: Uid, at: datetime, subject: str, path: str, attempt: int, before: Phase | str, change: TaskChange, after: Phase
) -> Event:
    cause: Cause = change.cause if not isinstance(change, Called | Cleaned) else Cause("plan")
    reason, message = getattr(change, "reason", ""), getattr(change, "message", "")
    return Event(uid, at, subject, path, attempt, str(before), str(after), reason, message, cause)


def _task_advanced(task: TaskSnapshot, change: TaskAdvanced, at: datetime) -> tuple[TaskSnapshot, Event | None]:
    old = task.record
    phase = advance(old.phase, change.signal) if change.signal else old.phase
    new = replace(
        old,
        phase=phase,
        reason=change.reason,
        message=change.message,
        outputs=change.outputs if change.outputs is not None else old.outputs,
        expected_finish=change.expected_finish or old.expected_finish,
        deadline=change.deadline or old.deadline,
        started_at=old.started_at or (at if change.signal in {Signal.START, None} else None),
        finished_at=(old.finished_at or at) if phase in ENDED_TASKS else None,
        entered=entered(old, phase, task.steps, change.signal),
    )
    event = event_of(old.uid, at, "task", "", 0, old.phase, change, phase) if change.signal else None
    return TaskSnapshot(new, task.steps, task.attempts), event


def _step_advanced(task: TaskSnapshot, change: StepAdvanced, at: datetime) -> tuple[TaskSnapshot, Event | None]:
    old = task.steps.get(change.path) or StepRecord(change.uid, change.path)
    phase = advance(old.phase, change.signal) if change.signal else old.phase
    new = replace(
        old,
        phase=phase,
        reason=change.reason,
        message=change.message,
        outputs=change.outputs if change.outputs is not None else old.outputs,
        failures=old.failures + change.failed,
        wake_at=change.wake_at,
        started_at=old.started_at or (at if phase is StepPhase.RUNNING else None),
        finished_at=(old.finished_at or at) if phase in ENDED_STEPS else None,
        inputs={**old.inputs, **change.inputs} if change.inputs else old.inputs,
        group=group_of(old, phase, change.group),
        lost=left_behind(old, task.attempts.get(old.path)) if change.signal is Signal.RETRY else old.lost,
    )
    event = None
    if change.signal:
        event = event_of(change.uid, at, "step", change.path, old.attempt, old.phase, change, phase)
    steps, record = {**task.steps, change.path: new}, task.record
    if old.phase is StepPhase.LOST and record.entered and not record.live:
        record = replace(record, entered=uncertain(steps))
    return TaskSnapshot(record, steps, task.attempts), event


def _intended(task: TaskSnapshot, change: Intended, at: datetime) -> tuple[TaskSnapshot, Event]:
    attempt = change.attempt
    before = task.attempts.get(attempt.path)
    if before and (not before.ended or attempt.number <= before.number):
        raise IllegalTransition(
            f"attempt {attempt.number} of {attempt.path} cannot follow {before.number}, {before.phase}"
        )
    step = task.steps.get(attempt.path) or StepRecord(attempt.uid, attempt.path)
    steps = {**task.steps, attempt.path: replace(step, attempt=attempt.number)}
    attempts = {**task.attempts, attempt.path: attempt}
    event = event_of(attempt.uid, at, "attempt", attempt.path, attempt.number, "", change, attempt.phase)
    return TaskSnapshot(task.record, steps, attempts), event


def _called(task: TaskSnapshot, change: Called) -> TaskSnapshot:
    old = _unfinished(task, change.path)
    again = {"resends": old.resends + 1} if change.resend else {"resends": 0, "handle": None}
    return _with_attempt(task, replace(old, call=change.call, wake_at=None, **again))


def _cleaned(task: TaskSnapshot, change: Cleaned) -> TaskSnapshot:
    old = task.attempts[change.path]
    return _with_attempt(task, replace(old, cleanup=False)) if old.number == change.number else task


def _attempt_advanced(task: TaskSnapshot, change: AttemptAdvanced, at: datetime) -> tuple[TaskSnapshot, Event | None]:
    old = _unfinished(task, change.path)
    phase = advance(old.phase, change.signal) if change.signal else old.phase
    new = replace(
        old,
        phase=phase,
        answered=old.answered if change.answered is None else change.answered,
        handle=old.handle if change.handle is None else change.handle,
        answer=old.answer if change.answer is None else change.answer,
        outputs=old.outputs if change.outputs is None else change.outputs,
        code=old.code if change.code is None else change.code,
        message=change.message,
        wake_at=change.wake_at,
        cleanup=old.cleanup if change.cleanup is None else change.cleanup,
        started_at=old.started_at or at,
        ended_at=at if phase in ENDED_ATTEMPTS else None,
    )
    moved = phase is not old.phase
    event = event_of(old.uid, at, "attempt", old.path, old.number, old.phase, change, phase) if moved else None
    return _with_attempt(task, new), event


def _told(task: TaskSnapshot, change: Telling, at: datetime) -> tuple[TaskSnapshot, Event]:
    """What is said of a task and leaves its phase."""
    old = task.record
    new = replace(old, **_facts(old, change))
    event = event_of(old.uid, at, "task", "", 0, old.phase, change, old.phase)
    return TaskSnapshot(new, task.steps, task.attempts), event


def _facts(old: TaskRecord, change: Telling) -> dict[str, object]:
    match change:
        case Controlled():
            said = {name: getattr(change, name) for name in ("digest", "control", "conditions", "delete_policy")}
            return said | {"asked": asked_anew(old.asked, old.control, change.control, change.cause, change.words)}
        case Repinned():
            digests = tuple(pin.digest for pin in change.pins)
            return {"pins": digests, "params": change.params, "repinned": change.commit}
        case Noted():
            return {"conditions": change.conditions, "dismissed": change.dismissed}
        case Held():
            return {"held": change.message, "restored": True}
        case Released():
            return {"behind": "", **({"reason": "", "message": ""} if old.reason == QUEUED_FOR_TRIGGER else {})}


def _unfinished(task: TaskSnapshot, path: str) -> AttemptRecord:
    attempt = task.attempts[path]
    if attempt.ended:
        raise IllegalTransition(f"attempt {attempt.number} of {path} has ended ({attempt.phase}) and never changes")
    return attempt


def _with_attempt(task: TaskSnapshot, attempt: AttemptRecord) -> TaskSnapshot:
    return TaskSnapshot(task.record, task.steps, {**task.attempts, attempt.path: attempt})
