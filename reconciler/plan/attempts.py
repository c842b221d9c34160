"""The life of one attempt as the planner sees it: begun, called again, looked at, stopped, and tried once more."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from definitions.models import OnLost
from definitions.program import Node, Program, Unit
from reconciler.actions import Action, Claim, Order, Verb
from reconciler.plan.scope import Scope, inner_scope, step_scope, unit_scope
from state.changes import AttemptAdvanced, Called, Intended
from state.phases import AttemptPhase, Signal, TaskPhase
from state.records import AttemptRecord, Cause, Json, StepRecord, TaskSnapshot, attempt_key, external_name, replace

PLAN = Cause("plan")
TIMER = Cause("timer")
RECOVERY = Cause("recovery")


@dataclass(frozen=True, slots=True)
class Beginning:
    """A new attempt with its intent."""

    unit: Unit
    record: AttemptRecord
    change: Intended


def begin(task: TaskSnapshot, program: Program, node: Node, epoch: int, now: datetime) -> Beginning:
    """The next attempt at a step, its request resolved but for secrets. Raises EvaluationError, ParamError."""
    unit = cast("Unit", node.unit)
    row = task.steps.get(node.path)
    number = row.attempt + 1 if row else 1
    scope = step_scope(task, program, node)
    request = unit.request.render(unit_scope(scope, unit))
    key = attempt_key(task.record.uid, node.path, number)
    record = AttemptRecord(
        uid=task.record.uid,
        path=node.path,
        number=number,
        key=key,
        name=external_name(key),
        namespace=task.record.namespace,
        driver=unit.driver,
        job=_group(unit, scope, task),
        request=cast("Mapping[str, Json]", request),
        secrets=unit.secrets,
        epoch=epoch,
        deadline=_deadline(task, program, node, now),
    )
    return Beginning(unit, record, Intended(record, PLAN))


def _deadline(task: TaskSnapshot, program: Program, node: Node, now: datetime) -> datetime | None:
    """The attempt's own timeout, or that of the step with calls it belongs to, whichever is earlier."""
    own = now + node.unit.timeout if node.unit and node.unit.timeout else None
    return min((time for time in (own, around_deadline(task, program, node, now)) if time), default=None)


def around_deadline(task: TaskSnapshot, program: Program, node: Node, now: datetime) -> datetime | None:
    """When the time of the step with calls is over that `node` is a call of; None without such a time.

    It counts from the start of its first call (`now` if there is none yet), not from its place in a line.
    """
    holder = program.nodes.get(node.path.rpartition(".")[0])
    if holder is None or holder.timeout is None:
        return None
    rows = (task.steps.get(child.path) for child in holder.children)
    return min((row.started_at for row in rows if row and row.started_at), default=now) + holder.timeout


def _group(unit: Unit, scope: Scope, task: TaskSnapshot) -> str:
    """The concurrency group: the one that the definition names, else the job itself (an inline block: this step)."""
    if unit.group is None:
        return f"{task.record.namespace}/{unit.job}"
    return str(unit.group.render(inner_scope(scope, unit) if unit.group_inner else scope))


def begins_with(task: TaskSnapshot, path: str) -> Verb:
    """Start it; but in a task whose rows may be older than what has run, first ask whether it was done already.

    That is recovery: to an intent that nobody remembers carrying out. Behind a lost attempt somebody has decided.
    """
    before = task.attempts.get(path)
    decided = before is not None and before.phase is AttemptPhase.LOST
    return Verb.OBSERVE if task.record.restored and not decided else Verb.START


def running_action(
    task: TaskSnapshot, path: str, unit: Unit, subject: str, *, flies: bool, now: datetime
) -> Action | None:
    """What an unfinished attempt needs apart from its next poll: to be stopped, sent again, or looked at."""
    attempt = task.attempts[path]
    if attempt.phase is AttemptPhase.CANCELLING:
        again = not flies and (attempt.wake_at is None or attempt.wake_at <= now)
        return _cancel(task, attempt, unit, subject) if again else None
    if task.record.phase is TaskPhase.REVOKING:
        return _cancel(task, attempt, unit, subject, "revoked")
    if _past(attempt.deadline, now) or _past(task.record.deadline, now):
        whose = "its" if _past(attempt.deadline, now) else "the task's"
        return _cancel(task, attempt, unit, subject, f"{whose} timeout has passed")
    if flies:
        return None
    if attempt.in_flight and attempt.wake_at:
        return _send_again(attempt, unit, subject) if attempt.wake_at <= now else None
    if attempt.in_flight or (
        attempt.phase is not AttemptPhase.POLLING and (not attempt.wake_at or attempt.wake_at <= now)
    ):
        return _look(attempt, unit, subject)
    return None


def poll(task: TaskSnapshot, path: str, program: Program, subject: str, now: datetime) -> Action | None:
    """The next call of an attempt whose wait is over; it needs room like a start."""
    attempt = task.attempts[path]
    if attempt.in_flight or (attempt.wake_at and attempt.wake_at > now):
        return None
    unit = cast("Unit", program.nodes[path].unit)
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


def retry_at(task: TaskSnapshot, program: Program, node: Node, now: datetime) -> datetime | None:
    """When the next attempt after a failed or lost one is due; None where there is to be none.

    An attempt that could only begin after the time of the step around it is none.
    """
    unit = cast("Unit", node.unit)
    lost = task.attempts[node.path].phase is AttemptPhase.LOST
    wait = _wait_after_loss(unit, task.steps[node.path]) if lost else _wait_after_failure(unit, task.steps[node.path])
    if wait is None or _past(around_deadline(task, program, node, now), now + wait):
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
    cause = TIMER if task.record.phase is not TaskPhase.REVOKING else PLAN
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
