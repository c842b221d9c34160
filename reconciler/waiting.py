"""Why is it waiting? One sentence for a step and one for a task, made of what is stored and the time alone.

The sentence is what a person asks for first, so it names the step, what it waits for, how long still, and where a
person has to act, what to commit.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import NamedTuple

from definitions.program import Node, Program
from reconciler.approval import plan_digest
from reconciler.failures import BROKEN
from reconciler.position import Position, below, whole
from reconciler.reasons import ADVICE, argument
from state.phases import ACTIVE_STEPS, ENDED_STEPS, PUBLIC, AttemptPhase, State, StepPhase, TaskPhase
from state.records import AttemptRecord, Json, StepRecord, TaskRecord, TaskSnapshot
from state.room import QUEUED_FOR_GROUP, Holder

_SETTLED = ENDED_STEPS - {StepPhase.FAILED, StepPhase.LOST}
_NAMED = 3
"""So many of those who have a place in a group are named."""
_CALLS = {"http": "is calling", "script": "is computing"}
_PARKED = {
    TaskPhase.UNADOPTED: "waits for its task to be adopted: `reconciler adopt`",
    TaskPhase.CREATED: "waits for its task to start",
    TaskPhase.SUSPENDED: f"waits for its task to be resumed; {ADVICE['Suspended']}",
    TaskPhase.REMOVED: f"waits for its task to be restored: {ADVICE['Removed']}",
    TaskPhase.REVOKING: "is not started any more: its task is being revoked",
    TaskPhase.REVOKED: "was not started: its task was revoked",
    TaskPhase.FAILED: "was not started: its task has failed",
    TaskPhase.FINISHED: "was not started: its task is over",
}
_FINAL = {
    TaskPhase.REVOKING: "its task is being revoked",
    TaskPhase.REVOKED: "its task was revoked, which is final",
    TaskPhase.FINISHED: "its task has finished without it",
}
"""Tasks whose steps nobody answers for any more."""
_STOPPED_HOLDERS = {
    TaskPhase.SUSPENDED.value: f"suspended; {ADVICE['Suspended']}",
    TaskPhase.REMOVED.value: f"its file was removed: {ADVICE['Removed']}",
}
_OVER = {StepPhase.SKIPPED: "was skipped", StepPhase.SUCCEEDED: "has finished"}
_OUTCOMES = {StepPhase.FAILED: "failed", StepPhase.LOST: "has an unknown outcome", StepPhase.CANCELLED: "was stopped"}


class Place(NamedTuple):
    """One step, call or item of one run with the rows that it has; one without a row waits."""

    position: Position
    step: StepRecord
    attempt: AttemptRecord | None

    @property
    def node(self) -> Node:
        return self.position.node

    @property
    def path(self) -> str:
        return self.position.path

    @property
    def phase(self) -> StepPhase:
        return self.step.phase


@dataclass(frozen=True, slots=True)
class Focus:
    """The one step that a sentence is about, and how many others there are like it."""

    place: Place
    others: int


def place(task: TaskSnapshot, position: Position) -> Place:
    """The step, call or item of `task` at `position`."""
    row = task.steps.get(position.path) or StepRecord(task.record.uid, position.path)
    return Place(position, row, task.attempts.get(position.path))


def leaves(task: TaskSnapshot, program: Program) -> Iterator[Place]:
    """What does work itself, in flow order; a step that failed beside what it runs, or stands in line, for itself."""
    for step in whole(program).places.values():
        yield from _leaves(task, step)


def _leaves(task: TaskSnapshot, position: Position) -> list[Place]:
    inner = [leaf for each in below(task, position) for leaf in _leaves(task, each)]
    found = place(task, position)
    alone = not inner or queued(found.step) or (_stopped(found) and not any(map(_stopped, inner)))
    return [found] if alone else inner


def tally(task: TaskSnapshot, program: Program) -> tuple[int, int]:
    """How many of the steps that do work themselves have finished, skipped ones too, and how many there are by now."""
    phases = [phase for step in whole(program).places.values() for phase in _outermost(task, step)]
    return sum(PUBLIC[phase] is State.FINISHED for phase in phases), len(phases)


def _outermost(task: TaskSnapshot, position: Position) -> list[StepPhase]:
    inner = below(task, position)
    if inner:
        return [phase for each in inner for phase in _outermost(task, each)]
    row = task.steps.get(position.path)
    return [row.phase if row else StepPhase.WAITING]


def queued(row: StepRecord) -> bool:
    """Whether the step stands in line for room or for a place, also for one that it had before."""
    return row.phase is StepPhase.QUEUED or (row.phase is StepPhase.RUNNING and row.reason == QUEUED_FOR_GROUP)


def focus(task: TaskSnapshot, program: Program | None) -> Focus | None:
    """What a sentence about a task speaks of: what waits for a person, what moves or holds it, else what is next.

    None if it stands as a whole.
    """
    phase = task.record.phase
    if program is None or phase not in {TaskPhase.CREATED, TaskPhase.RUNNING, TaskPhase.FAILED}:
        return None
    if phase is TaskPhase.CREATED and not (task.steps and _begins(task.record)):
        return None
    places = list(leaves(task, program))
    if task.record.phase is TaskPhase.FAILED:
        found = sorted(filter(_stopped, places), key=lambda each: each.phase is not StepPhase.LOST)
    elif phase is TaskPhase.CREATED:
        found = [each for each in places if queued(each.step)]
    else:
        moving = sorted((each for each in places if each.phase in ACTIVE_STEPS), key=lambda each: not _asks(each))
        found = moving or [each for each in places if each.phase is StepPhase.WAITING][:1]
    return Focus(found[0], len(found) - 1) if found else None


def _asks(where: Place) -> bool:
    """Whether nobody but a person brings it on."""
    return where.phase is StepPhase.RUNNING and where.step.reason == "WaitingForApproval"


def task_sentence(task: TaskSnapshot, program: Program | None, now: datetime, about: Focus | None = None) -> str:
    """Why the task is where it is; empty for one that finished without anything to say. `about` is its focus, if known."""
    record = task.record
    if record.held and record.live:
        return (
            f"held: {record.held}; what runs is looked at, nothing starts or is called again before `reconciler adopt`"
        )
    about = about or focus(task, program)
    if program and about:
        verb = {TaskPhase.FAILED: "failed", TaskPhase.CREATED: "in line"}.get(record.phase, "under way")
        more = f" (and {_count(about.others, 'other step')} {verb})" if about.others else ""
        return step_sentence(task, about.place, now) + more + _way_on(record, about.place)
    match record.phase:
        case TaskPhase.UNADOPTED:
            return (
                record.message
                or "not adopted: this state folder is new to the task; run `reconciler adopt` to begin it"
            )
        case TaskPhase.SUSPENDED:
            return _suspended(record, now) + _still_running(task, program)
        case TaskPhase.REMOVED:
            return f"its file was removed: nothing new starts; {ADVICE['Removed']}" + _still_running(task, program)
        case TaskPhase.REVOKING:
            return f"being revoked: {_count(sum(not each.ended for each in task.attempts.values()), 'attempt')} still to stop"
        case TaskPhase.FAILED:
            return record.message or "failed"
        case TaskPhase.CREATED:
            return (record.message or "starts in the next turn of the loop") + _before(task, "")
        case _:
            return record.message


def step_sentence(task: TaskSnapshot, where: Place, now: datetime) -> str:
    """Why one step is where it is; for an ended one what its last attempt said."""
    path = where.path
    if where.phase in _SETTLED:
        return _said(where)
    match where.phase:
        case StepPhase.WAITING:
            return _waits(task, where.position)
        case StepPhase.QUEUED | StepPhase.RETRYING if not _begins(task.record) and (parked := _parked(task.record)):
            said = _said(where)
            return f"{path} {parked}" + (f"; before that: {said}" if said else "")
        case StepPhase.QUEUED:
            return f"{path} is queued: {where.step.message or 'no room for another call now'}" + _before(task, path)
        case StepPhase.RETRYING:
            return _retrying(where, now) + _before(task, path)
        case StepPhase.RUNNING if queued(where.step):
            return f"{path} is queued again: {where.step.message}" + _before(task, path)
        case StepPhase.RUNNING:
            return _running(task, where, now)
        case StepPhase.LOST:
            return _held(task.record, where)
        case _:
            return f"{path} failed: {_said(where) or 'without a message'}"


def duration_text(seconds: float) -> str:
    """A span for people in at most two units: `4 s`, `3 min 20 s`, `2 h 5 min`, `3 d`; parts of a second round up."""
    rest = max(0, ceil(seconds))
    parts: list[tuple[int, str]] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number or (unit == "s" and not parts):
            parts.append((number, unit))
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])


def _before(task: TaskSnapshot, path: str) -> str:
    """Who has what it waits for, and how many wait before it; empty where nobody looked."""
    line = task.lines.get(path)
    if line is None:
        return ""
    names = [_holder(each) for each in line.holders[:_NAMED]] + ["others"] * (len(line.holders) > _NAMED)
    held = f", held by {_names(names)}" if names else ""
    place_ = f"{_count(line.ahead, 'waits', 'wait')} before it" if line.ahead else "it is next"
    return f"{held}; {place_}"


def _holder(each: Holder) -> str:
    """Who has a place, and what lets it go where that needs a person."""
    if each.lost:
        advice = ADVICE["Lost"].format(step=shlex.join((each.name, each.lost)), number=each.attempt)
        return f"{each.name} (its {each.lost} may still run: {advice})"
    if each.phase in _STOPPED_HOLDERS:
        return f"{each.name} ({_STOPPED_HOLDERS[each.phase].format(task=shlex.quote(each.name))})"
    return each.name


def _said(where: Place) -> str:
    return where.step.message or (where.attempt.message if where.attempt else "")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _when(at: datetime | None, now: datetime) -> str:
    if at is None or at <= now:
        return "now"
    return f"in {duration_text((at - now).total_seconds())}"


def _names(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{', '.join(paths[:-1])} and {paths[-1]}"


def _parked(record: TaskRecord) -> str:
    """What a step that could go on waits for while its task does not let it; empty where the task does."""
    if record.held and record.live:
        return _PARKED[TaskPhase.UNADOPTED]
    return _PARKED.get(record.phase, "").format(task=argument(record))


def _begins(record: TaskRecord) -> bool:
    """A task without a line of its own has begun as soon as one of its steps has: nothing else is waited for."""
    return record.phase is TaskPhase.CREATED and not (record.in_line or record.behind or record.held)


def _waits(task: TaskSnapshot, position: Position) -> str:
    path, parent = position.path, position.around
    if never := _never(task, position):
        return f"{path} {never}"
    if stopped := _stopper(task, position):
        return f"{path} waits behind {stopped.path}, which {_OUTCOMES[stopped.phase]}"
    open_ = [each.path for each in position.before if place(task, each).phase not in ENDED_STEPS]
    if open_:
        return f"{path} waits for {_names(open_)}"
    if parent and ((row := place(task, parent).step).phase is StepPhase.WAITING or queued(row)):
        return f"{path} waits for {parent.path} to begin"
    if position.node is position.frame.program.exit and position.item is None and not position.holder:
        return f"{path} runs when everything else is over"
    turn = "starts in the next turn of the loop"
    if position.item is not None and position.node.each:
        turn = f"waits for its turn: {position.node.each.parallelism} at a time"
    return f"{path} {_parked(task.record) or turn}"


def _never(task: TaskSnapshot, position: Position) -> str:
    """Why a step that has not begun will not, because what it is part of is over; empty where it may."""
    over = (each for each in position.surroundings if place(task, each).phase in _OVER)
    if around := next(over, None):
        return f"was not started: {around.path} {_OVER[place(task, around).phase]}"
    ended = task.record.phase is TaskPhase.REVOKED or (task.record.phase is TaskPhase.REVOKING and not position.last)
    return _PARKED[task.record.phase] if ended else ""


def _stopper(task: TaskSnapshot, position: Position) -> Place | None:
    """The step that stopped and that `position` waits behind, however many others stand between them."""
    if not any(row.phase in BROKEN for row in task.steps.values()):
        return None  # the usual case, for which no path is walked
    open_, seen = [position], {position.path}
    while open_:
        each = open_.pop()
        for before in (*each.before, *([each.around] if each.around else [])):
            if before.path in seen:
                continue
            seen.add(before.path)
            found = place(task, before)
            if _stopped(found) and not position.path.startswith(f"{before.path}."):
                return found
            if found.phase is StepPhase.WAITING:
                open_.append(before)
    return None


def _retrying(where: Place, now: datetime) -> str:
    said = _said(where)
    past = f"attempt {where.step.attempt} failed" if where.step.attempt else ""
    why = ": ".join(text for text in (past, said) if text)
    return f"{where.path} tries again {_when(where.step.wake_at, now)}" + (f": {why}" if why else "")


def _running(task: TaskSnapshot, where: Place, now: datetime) -> str:
    path, attempt = where.path, where.attempt
    if where.node.pause:
        return _pausing(task, where, now)
    if attempt is None or attempt.ended:
        inner = (place(task, each) for each in below(task, where.position))
        if found := next((each for each in inner if each.phase not in ENDED_STEPS), None):
            return step_sentence(task, found, now)
        return where.step.message or f"{path} {_parked(task.record) or 'goes on in the next turn of the loop'}"
    match attempt.phase:
        case AttemptPhase.POLLING if not attempt.in_flight:
            return f"{path} polls again {_when(attempt.wake_at, now)}: {attempt.message or 'until is not true yet'}"
        case AttemptPhase.INTENT | AttemptPhase.PREPARED:
            doing = _CALLS.get(attempt.driver, "is being started")
            return f"{path} {doing} (attempt {attempt.number} by {attempt.driver}{_since(where, now)})"
        case AttemptPhase.CANCELLING:
            return f"{path} is being stopped: attempt {attempt.number} by {attempt.driver}"
        case AttemptPhase.POLLING:
            return f"{path} waits for the answer to call {attempt.call} of attempt {attempt.number}"
    since = f", for {duration_text((now - attempt.started_at).total_seconds())}" if attempt.started_at else ""
    return f"{path} runs: attempt {attempt.number} by {attempt.driver}{since}"


def _pausing(task: TaskSnapshot, where: Place, now: datetime) -> str:
    if not _asks(where):
        return f"{where.path} waits: it goes on {_when(where.step.wake_at, now)}"
    asked = f": {where.step.message}" if where.step.message else ""
    if task.record.phase is TaskPhase.REMOVED:
        return f"{where.path} waits for approval{asked}; its file was removed: {ADVICE['Removed']}"
    plan = plan_digest(task, where.position)
    advice = ADVICE["WaitingForApproval"].format(step=_argued(task.record, where), plan=plan)
    return f"{where.path} waits for approval{asked}; {advice}"


def _since(where: Place, now: datetime) -> str:
    """How long the attempt of `where` has been under way, where its rows tell: a step began with its first attempt."""
    first = where.step.started_at if where.attempt and where.attempt.number == 1 else None
    begun = (where.attempt.started_at if where.attempt else None) or first
    return f", since {duration_text((now - begun).total_seconds())}" if begun else ""


def _held(record: TaskRecord, where: Place) -> str:
    evidence = _said(where) or "nobody can say what became of it"
    number = where.step.attempt or (where.attempt.number if where.attempt else 1)
    unknown = f"the outcome of {where.path} attempt {number} is unknown: {evidence}"
    if record.phase in _FINAL:
        return f"{unknown}; {_FINAL[record.phase]}: look at the target whether it still runs"
    return f"held: {unknown}; {ADVICE['Lost'].format(step=_argued(record, where), number=number)}"


def _way_on(record: TaskRecord, where: Place) -> str:
    """What may be committed about a step that failed, or that was cut off with the time of its task."""
    stuck = record.phase is TaskPhase.FAILED and where.phase in {StepPhase.FAILED, StepPhase.CANCELLED}
    return f"; {ADVICE['Failed'].format(step=_argued(record, where))}" if stuck else ""


def _argued(record: TaskRecord, where: Place) -> str:
    """The step as the arguments of a command."""
    return shlex.join((f"{record.namespace}/{record.name}", where.path))


def _stopped(where: Place) -> bool:
    return where.phase in BROKEN and not where.node.continue_on_error


def _suspended(record: TaskRecord, now: datetime) -> str:
    said = _word(record.control, "reason") or record.message
    until = _word(record.control, "until")
    resumes = f", until {until}" if until else f"; {ADVICE['Suspended'].format(task=argument(record))}"
    return f"suspended: {said}{resumes}" if said else f"suspended{resumes}"


def _still_running(task: TaskSnapshot, program: Program | None) -> str:
    if program is None:
        return ""
    running = [each for each in leaves(task, program) if each.phase is StepPhase.RUNNING]
    paths = [each.path for each in running if not _asks(each)]
    return f"; {_names(paths)} still finishes" if paths else ""


def _word(control: Mapping[str, Json], key: str) -> str:
    value = control.get(key)
    return value if isinstance(value, str) else ""
