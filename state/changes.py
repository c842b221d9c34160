"""The closed list of what can be written, each with its cause, and what each one does to a snapshot.

`apply` is the only place that turns a change into records; the store writes the records that it returns. So what the
planner sees after a change is, by construction, what a reader finds after the commit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from state.phases import ENDED_ATTEMPTS, ENDED_STEPS, ENDED_TASKS, IllegalTransition, Phase, Signal, StepPhase, advance
from state.records import (
    RESTORED_OLDER,
    AttemptRecord,
    Cause,
    DefinitionRecord,
    Event,
    Json,
    Pin,
    Snapshot,
    SourceRecord,
    StepRecord,
    TaskRecord,
    TaskSnapshot,
    Uid,
    replace,
)
from state.usage import Meter


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


@dataclass(frozen=True, slots=True)
class Held:
    """A task waits until a person has decided about it, because of `message`; with "" it goes on from where it stands."""

    uid: Uid
    message: str
    cause: Cause

    @property
    def reason(self) -> str:
        return RESTORED_OLDER if self.message else "Adopted"


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


OwnChange = Controlled | Held | TaskAdvanced | StepAdvanced | Intended | Called | AttemptAdvanced | Cleaned
"""What happens to a task between its admission and its retirement."""
TaskChange = Admitted | OwnChange | Retired
Change = TaskChange | Activated | SourceReported


@dataclass(frozen=True, slots=True)
class Applied:
    """A snapshot after some changes, and what the store has to write for them."""

    snapshot: Snapshot
    events: tuple[Event, ...]
    tasks: frozenset[Uid]
    steps: frozenset[tuple[Uid, str]]
    attempts: tuple[AttemptRecord, ...]  # the last version of each, also of those that a newer attempt replaced
    retired: frozenset[Uid]


def apply(snapshot: Snapshot, changes: Iterable[Change], at: datetime) -> Applied:
    """What `changes`, in their order, make of `snapshot` at the time `at`.

    Each change but Admitted must concern a task of the snapshot (KeyError). Raises IllegalTransition, also for a task
    that is admitted again after its definitions were pinned, for an attempt that follows an unfinished one, and for
    news of an ended one.
    """
    fold = _Fold(snapshot)
    for change in changes:
        if not isinstance(change, Activated | SourceReported):
            fold.add(change, at)
    return fold.applied(snapshot)


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
        case Controlled():
            return _controlled(task, change, at)
        case Held():
            return _held(task, change, at)
        case _:
            assert_never(change)


def uid_of(change: TaskChange) -> Uid:
    """The task that a change concerns."""
    match change:
        case Admitted():
            return change.task.uid
        case Intended():
            return change.attempt.uid
        case _:
            return change.uid


class _Fold:
    """The running result of `apply`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.tasks = dict(snapshot.tasks)
        self.meter = Meter(snapshot.usage)
        self.events: list[Event] = []
        self.touched: set[Uid] = set()
        self.steps: set[tuple[Uid, str]] = set()
        self.attempts: dict[tuple[Uid, str, int], AttemptRecord] = {}
        self.retired: set[Uid] = set()

    def add(self, change: TaskChange, at: datetime) -> None:
        uid = uid_of(change)
        after: TaskSnapshot
        event: Event | None
        match change:
            case Admitted(task=record):
                _require_new(known := self.tasks.get(uid))
                if known:
                    self.steps -= {(uid, path) for path in known.steps}
                after, event = TaskSnapshot(record), _event(uid, at, "task", "", 0, "", change, record.phase)
                self.touched.add(uid)
            case Retired():
                _require_over(self.tasks.pop(uid))
                self.retired.add(uid)
                return
            case _:
                after, event = apply_one(self.tasks[uid], change, at)
                self._touch(change, self.tasks[uid], after)
        self.tasks[uid] = after
        if event is not None:
            self.events.append(event)

    def _touch(self, change: TaskChange, before: TaskSnapshot, after: TaskSnapshot) -> None:
        uid = after.record.uid
        match change:
            case StepAdvanced(path=path):
                self.steps.add((uid, path))
            case Intended(attempt=AttemptRecord(path=path)):
                self.steps.add((uid, path))
                self._attempt(before.attempts.get(path), after.attempts[path])
            case Called(path=path) | AttemptAdvanced(path=path) | Cleaned(path=path):
                self._attempt(before.attempts[path], after.attempts[path])
            case _:
                self.touched.add(uid)

    def _attempt(self, before: AttemptRecord | None, after: AttemptRecord) -> None:
        self.attempts[after.uid, after.path, after.number] = after
        self.meter.move(before, after)

    def applied(self, snapshot: Snapshot) -> Applied:
        if self.retired & {*self.touched, *(uid for uid, _ in self.steps), *(uid for uid, _, _ in self.attempts)}:
            raise IllegalTransition("a task is retired on its own, not together with another change of it")
        after = Snapshot(self.tasks, snapshot.runs, self.meter.usage(), snapshot.epoch)
        attempts = tuple(self.attempts.values())
        return Applied(
            after, tuple(self.events), frozenset(self.touched), frozenset(self.steps), attempts, frozenset(self.retired)
        )


def _require_new(task: TaskSnapshot | None) -> None:
    """A task may be admitted again only while its definitions could not be resolved: then nothing of it has run."""
    if task and (task.record.pins or task.attempts):
        raise IllegalTransition(f"the task {task.record.namespace}/{task.record.name} was admitted before")


def _require_over(task: TaskSnapshot) -> None:
    if task.record.live or not all(each.ended for each in task.attempts.values()):
        raise IllegalTransition(f"the task {task.record.namespace}/{task.record.name} is not over")


def _event(
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
    )
    event = _event(old.uid, at, "task", "", 0, old.phase, change, phase) if change.signal else None
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
    )
    event = None
    if change.signal:
        event = _event(change.uid, at, "step", change.path, old.attempt, old.phase, change, phase)
    return TaskSnapshot(task.record, {**task.steps, change.path: new}, task.attempts), event


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
    event = _event(attempt.uid, at, "attempt", attempt.path, attempt.number, "", change, attempt.phase)
    return TaskSnapshot(task.record, steps, attempts), event


def _called(task: TaskSnapshot, change: Called) -> TaskSnapshot:
    old = _unfinished(task, change.path)
    again = {"resends": old.resends + 1} if change.resend else {"resends": 0, "handle": None}
    new = replace(old, call=change.call, wake_at=None, **again)
    return _with_attempt(task, new)


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
    event = None
    if phase is not old.phase:
        event = _event(old.uid, at, "attempt", old.path, old.number, old.phase, change, phase)
    return _with_attempt(task, new), event


def _controlled(task: TaskSnapshot, change: Controlled, at: datetime) -> tuple[TaskSnapshot, Event]:
    old, said = task.record, ("digest", "control", "conditions", "delete_policy")
    new = replace(old, **{name: getattr(change, name) for name in said})
    return TaskSnapshot(new, task.steps, task.attempts), _event(
        old.uid, at, "task", "", 0, old.phase, change, old.phase
    )


def _held(task: TaskSnapshot, change: Held, at: datetime) -> tuple[TaskSnapshot, Event]:
    old = task.record
    new = replace(old, held=change.message)
    return TaskSnapshot(new, task.steps, task.attempts), _event(
        old.uid, at, "task", "", 0, old.phase, change, old.phase
    )


def _unfinished(task: TaskSnapshot, path: str) -> AttemptRecord:
    attempt = task.attempts[path]
    if attempt.ended:
        raise IllegalTransition(f"attempt {attempt.number} of {path} has ended ({attempt.phase}) and never changes")
    return attempt


def _with_attempt(task: TaskSnapshot, attempt: AttemptRecord) -> TaskSnapshot:
    return TaskSnapshot(task.record, task.steps, {**task.attempts, attempt.path: attempt})
