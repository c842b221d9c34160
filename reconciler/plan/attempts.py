"""The life of one attempt as the planner sees it: begun, called again, looked at, stopped, and tried once more."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast

from definitions.models import OnLost, Policy
from definitions.program import Unit
from reconciler.actions import Action, Claim, Order, Verb
from reconciler.plan.scope import Scope, group_name, inner_scope, scope_of, unit_scope
from reconciler.position import Position, target_of
from state.changes import AttemptAdvanced, Called, Intended, StepAdvanced, TaskChange
from state.copies import replace
from state.phases import AttemptPhase, Signal, StepPhase, TaskPhase
from state.records import AttemptRecord, Cause, Json, StepRecord, TaskSnapshot, attempt_key, external_name
from state.room import REPLACED

PLAN = Cause("plan")
TIMER = Cause("timer")
REVOKED = "revoked"
"""Why a step is not gone on with: its task was revoked."""
OVERDUE = "the task's timeout has passed"
"""Why a step is not gone on with: the time of the whole task is over."""
REOPENED = "reopened"
"""What the row of a step keeps that goes on after its end: since when its time counts."""


def begin(task: TaskSnapshot, position: Position, subject: str, epoch: int, now: datetime) -> Action:
    """The next attempt at a step, if there is room for it: its intent, its request resolved but for secrets, its order.

    Raises EvaluationError, ParamError.
    """
    unit, path = cast("Unit", position.unit), position.path
    attempt = _intent(task, position, unit, epoch, now)
    changes = (StepAdvanced(attempt.uid, path, Signal.START, PLAN, group=""), Intended(attempt, PLAN))
    order = Order(begins_with(task, path), attempt, subject, unit.source, unit.uses_result)
    row = task.steps.get(path) or StepRecord(attempt.uid, path)
    policy = unit.rule.policy if unit.rule and attempt.number == 1 else "queue"  # a later attempt waits
    limit = unit.rule.limit if unit.rule else None
    claim = Claim(attempt.namespace, unit.driver, attempt.job, limit, task.record.number, policy=policy)
    what = f"attempt {attempt.number} by {unit.driver}"
    away = turned_away(row, policy) if unit.rule and attempt.number == 1 else None
    return Action(">", attempt.uid, f"{subject} {path}", what, changes, order, claim, in_line(row), row.reason, away)


def _intent(task: TaskSnapshot, position: Position, unit: Unit, epoch: int, now: datetime) -> AttemptRecord:
    row = task.steps.get(position.path)
    number = row.attempt + 1 if row else 1
    scope = scope_of(task, position)
    request = unit.request.render(unit_scope(scope, unit))
    if (target := target_of(task, position)) is not None and isinstance(request, dict):
        request = {**request, "target": target}
    key = attempt_key(task.record.uid, position.path, number)
    return AttemptRecord(
        uid=task.record.uid,
        path=position.path,
        number=number,
        key=key,
        name=external_name(key),
        namespace=task.record.namespace,
        driver=unit.driver,
        job=_group(unit, scope, task),
        request=cast("Mapping[str, Json]", request),
        secrets=unit.secrets,
        epoch=epoch,
        deadline=_deadline(task, position, now),
    )


def in_line(row: StepRecord) -> tuple[TaskChange, ...]:
    """What is written where there is no room: the step waits in line, not for a time. Capacity gives the reason."""
    signal = Signal.QUEUE if row.phase is StepPhase.WAITING else None
    return (StepAdvanced(row.uid, row.path, signal, PLAN, message=row.message if row.attempt else ""),)


def turned_away(row: StepRecord, policy: Policy) -> StepAdvanced:
    """What is written where its group has no place for it, now or any more. Capacity gives the words."""
    if policy == "skip":
        return StepAdvanced(row.uid, row.path, Signal.SKIP, PLAN, "GroupBusy")
    return StepAdvanced(row.uid, row.path, Signal.CANCEL, PLAN, REPLACED)


def _deadline(task: TaskSnapshot, position: Position, now: datetime) -> datetime | None:
    """The attempt's own timeout, or that of what the step belongs to, whichever is earlier."""
    own = now + position.unit.timeout if position.unit and position.unit.timeout else None
    return min((time for time in (own, around_deadline(task, position, now)) if time), default=None)


def around_deadline(task: TaskSnapshot, position: Position, now: datetime) -> datetime | None:
    """When the time is over of the steps and sub-workflows that `position` is part of; None without such a time.

    The time of a step with calls counts from the start of its first call (`now` if there is none yet), not from its
    place in a line. What runs at the end of a workflow has its own time, not what is left of the rest.
    """
    times: list[datetime] = []
    each = position
    while (holder := each.around) is not None:
        leaves = each.holder is None  # a sub-workflow, for the step that runs it
        if not holder.is_list and not (leaves and each.node is each.frame.program.exit):
            spans = (holder.node.timeout, each.frame.program.timeout if leaves else None)
            times += [_begun(task, holder, now) + span for span in spans if span]
        each = holder
    return min(times, default=None)


def _begun(task: TaskSnapshot, holder: Position, now: datetime) -> datetime:
    """When the first thing happened inside of it, or when it was opened again after its end; `now` if nothing did."""
    row = task.steps.get(holder.path)
    again = row.inputs.get(REOPENED) if row else None
    if isinstance(again, str):
        return datetime.fromisoformat(again)
    inner = [f"{holder.path}.{node.name}" for node in holder.node.inner]
    rows = (task.steps.get(path) for path in inner)
    return min((row.started_at for row in rows if row and row.started_at), default=now)


def _group(unit: Unit, scope: Scope, task: TaskSnapshot) -> str:
    """The concurrency group: the one that the definition names, else the job itself or this step of its workflow."""
    default = f"{task.record.namespace}/{unit.owner}"
    if unit.rule is None or unit.rule.group is None:
        return default
    return group_name(unit.rule, default, inner_scope(scope, unit) if unit.rule.inner else scope)


def begins_with(task: TaskSnapshot, path: str) -> Verb:
    """Start it; but in a task whose rows may be older than what has run, first ask whether it was done already.

    That is recovery: to an intent that nobody remembers carrying out. Behind a lost attempt somebody has decided.
    """
    before = task.attempts.get(path)
    decided = before is not None and before.phase is AttemptPhase.LOST
    return Verb.OBSERVE if task.record.restored and not decided else Verb.START


def running_action(
    task: TaskSnapshot, path: str, unit: Unit, subject: str, over: str, *, flies: bool, now: datetime
) -> Action | None:
    """What an unfinished attempt needs apart from its next poll: to be stopped, sent again, or looked at.

    `over`: why nothing of its task goes on any more, "" if it does.
    """
    attempt = task.attempts[path]
    if attempt.phase is AttemptPhase.CANCELLING:
        again = not flies and (attempt.wake_at is None or attempt.wake_at <= now)
        return _cancel(task, attempt, unit, subject) if again else None
    if _past(attempt.deadline, now) and over != REVOKED:
        return _cancel(task, attempt, unit, subject, "its timeout has passed")
    if over:
        return _cancel(task, attempt, unit, subject, over)
    if flies:
        return None
    if attempt.in_flight and attempt.wake_at:
        return _send_again(attempt, unit, subject) if attempt.wake_at <= now else None
    if attempt.in_flight or (
        attempt.phase is not AttemptPhase.POLLING and (not attempt.wake_at or attempt.wake_at <= now)
    ):
        return _look(attempt, unit, subject)
    return None


def poll(task: TaskSnapshot, position: Position, subject: str, now: datetime) -> Action | None:
    """The next call of an attempt whose wait is over; it needs room like a start."""
    path = position.path
    attempt = task.attempts[path]
    if attempt.in_flight or (attempt.wake_at and attempt.wake_at > now):
        return None
    unit = cast("Unit", position.unit)
    called = replace(attempt, call=attempt.call + 1, resends=0, handle=None, wake_at=None)
    claim = Claim(attempt.namespace, attempt.driver, attempt.job, None, task.record.number, begins=False)
    waiting = AttemptAdvanced(attempt.uid, path, None, TIMER, message=attempt.message)
    return Action(
        ">",
        attempt.uid,
        f"{subject} {path}",
        f"attempt {attempt.number}, call {called.call}",
        (Called(attempt.uid, path, called.call),),
        Order(begins_with(task, path), called, subject, unit.source, unit.uses_result),
        claim,
        (waiting,) if attempt.wake_at else (),
    )


def retry_at(task: TaskSnapshot, position: Position, now: datetime) -> datetime | None:
    """When the next attempt after a failed or lost one is due; None where there is to be none.

    An attempt that could only begin after the time of the step around it is none.
    """
    unit, row = cast("Unit", position.unit), task.steps[position.path]
    lost = task.attempts[position.path].phase is AttemptPhase.LOST
    wait = _wait_after_loss(unit, row) if lost else _wait_after_failure(unit, row)
    if wait is None or _past(around_deadline(task, position, now), now + wait):
        return None
    return now + wait


def _wait_after_failure(unit: Unit, row: StepRecord) -> timedelta | None:
    retry = unit.retry
    if retry is None or (retry.limit != "unlimited" and row.failures >= retry.limit):
        return None
    # beyond this exponent a backoff has long reached maxEvery, and a float would overflow
    seconds = retry.every.total_seconds() * retry.backoff ** min(row.failures, 64)
    return timedelta(seconds=min(seconds, max(retry.max_every, retry.every).total_seconds()))


def _wait_after_loss(unit: Unit, row: StepRecord) -> timedelta | None:
    """`onLost: retry` has no bound but the timeouts, so each wait is twice the one before."""
    losses = row.attempt - row.failures  # this one included
    return _growing(unit, 2 ** min(losses - 1, 16)) if unit.on_lost is OnLost.RETRY else None


def resend_at(attempt: AttemptRecord, unit: Unit, now: datetime) -> datetime:
    """When a call whose reply was lost goes out again under the same key: at once, then ever more slowly."""
    return now + _growing(unit, attempt.resends) if attempt.resends else now


def _growing(unit: Unit, factor: int) -> timedelta:
    """`every` times a factor, but never less than a second nor, unless `every` itself is longer, more than 5 minutes."""
    return max(min(unit.every * factor, max(unit.every, timedelta(minutes=5))), timedelta(seconds=1))


def _past(deadline: datetime | None, now: datetime) -> bool:
    return deadline is not None and deadline <= now


def _cancel(task: TaskSnapshot, attempt: AttemptRecord, unit: Unit, subject: str, why: str = "") -> Action:
    signal = None if attempt.phase is AttemptPhase.CANCELLING else Signal.CANCEL
    message = why or attempt.message
    told = task.record.phase is TaskPhase.REVOKING or task.steps[attempt.path].reason == REPLACED
    cause = PLAN if told else TIMER
    # What runs is in flight again from here on: if nobody can say that it ended, it is lost, not stopped.
    answered = attempt.call - 1 if attempt.phase is AttemptPhase.STARTED else attempt.answered
    change = AttemptAdvanced(attempt.uid, attempt.path, signal, cause, answered, message=message)
    stopped = replace(attempt, phase=AttemptPhase.CANCELLING, answered=answered)
    order = Order(Verb.CANCEL, stopped, subject, unit.source, unit.uses_result)
    what = f"attempt {attempt.number} stopped: {message}"
    return Action("x", attempt.uid, f"{subject} {attempt.path}", what, (change,), order)


def _send_again(attempt: AttemptRecord, unit: Unit, subject: str) -> Action:
    called = replace(attempt, resends=attempt.resends + 1, wake_at=None)
    change = Called(attempt.uid, attempt.path, attempt.call, resend=True)
    order = Order(Verb.START, called, subject, unit.source, unit.uses_result, resend=True)
    what = f"attempt {attempt.number}, call {attempt.call} again under the same key"
    return Action(">", attempt.uid, f"{subject} {attempt.path}", what, (change,), order)


def _look(attempt: AttemptRecord, unit: Unit, subject: str) -> Action:
    """Ask the target what became of it. The wake-up goes, because from now on the look itself is under way."""
    changes: tuple[AttemptAdvanced, ...] = ()
    if attempt.wake_at:
        changes = (AttemptAdvanced(attempt.uid, attempt.path, None, TIMER, message=attempt.message),)
    order = Order(Verb.OBSERVE, attempt, subject, unit.source, unit.uses_result)
    return Action(
        "?", attempt.uid, f"{subject} {attempt.path}", f"attempt {attempt.number}: what became of it", changes, order
    )
