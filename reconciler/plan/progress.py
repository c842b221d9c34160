"""What one task does next: a walk over its steps in an order that its program has already settled.

The walk changes a copy of the task as it goes, so that a step which ends lets its followers start in the same plan.
Nothing here knows whether the controller has just started: work that is recorded as under way but does not fly in this
process is looked at, and that is all there is to recovery.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

from definitions.expressions import EvaluationError
from definitions.models import OnLost
from definitions.params import ParamError
from definitions.program import Program, Unit
from reconciler.actions import Action, Sign, Verb
from reconciler.plan import opening
from reconciler.plan.answers import announced
from reconciler.plan.attempts import (
    OVERDUE,
    REOPENED,
    REVOKED,
    around_deadline,
    begin,
    poll,
    retry_at,
    running_action,
)
from reconciler.plan.conclusion import conclusion
from reconciler.plan.entering import entry
from reconciler.plan.outcome import Outcome, broken, calls_outcome, frame_outcome, list_outcome, lost_before, passed
from reconciler.plan.outputs import body_outputs, calls_outputs, list_outputs
from reconciler.plan.scope import scope_of
from reconciler.position import Frame, Position, finding, items_of, whole
from state.changes import OwnChange, StepAdvanced, apply_one
from state.phases import ACTIVE_STEPS, ENDED_STEPS, STARTING_TASKS, AttemptPhase, Signal, StepPhase, TaskPhase
from state.records import NOTHING, Cause, Json, StepRecord, TaskSnapshot
from state.room import REPLACED

PLAN = Cause("plan")


def progress(
    task: TaskSnapshot, program: Program, flying: Callable[[str], bool], epoch: int, now: datetime
) -> tuple[Action, ...]:
    """The next actions of a live task. `flying`: whether a call of the step path is under way in this process.

    Of a held task only what runs at a target is looked at: nothing starts, is called again, stopped or concluded.
    """
    walk = Walk(task, program, flying, epoch, now)
    outcome = walk.walk(whole(program))
    if outcome:
        walk.do(conclusion(walk.task, program, outcome))
    return tuple(action for action in walk.actions if not task.record.held or _looks(action))


def _looks(action: Action) -> bool:
    return action.order is not None and action.order.verb is Verb.OBSERVE and action.claim is None


class Walk:
    """One pass over one task."""

    def __init__(
        self, task: TaskSnapshot, program: Program, flying: Callable[[str], bool], epoch: int, now: datetime
    ) -> None:
        self.task = task
        self.program = program
        self.flying = flying
        self.epoch = epoch
        self.now = now
        self.actions: list[Action] = []
        self._claimed: list[str] = []  # paths that begin or call again, if there is room

    @property
    def subject(self) -> str:
        return f"{self.task.record.namespace}/{self.task.record.name}"

    def over(self, position: Position | None = None) -> str:
        """Why nothing of the step may start any more, ever; "" if it may. None: of the task but for its exit step.

        What runs at the end has its time after the end; only who revokes the task while it runs stops it, too.
        """
        record = self.task.record
        last = position.last if position else None
        if record.phase is TaskPhase.REVOKING and not (last and self._told(last) == "REVOKED"):
            return REVOKED
        return OVERDUE if record.deadline and record.deadline <= self.now and not last else ""

    def _told(self, last: Position) -> Json:
        """The state that a step at the end has been told; before it is told it is not under way."""
        row = self.task.steps.get(last.path)
        return row.inputs.get("state", "REVOKED") if row else "REVOKED"

    def may_start(self, position: Position) -> bool:
        """Whether a step that is ready may begin now."""
        return not self.over(position) and (self.task.record.phase in STARTING_TASKS or position.last is not None)

    def step(self, path: str) -> StepRecord:
        return self.task.steps.get(path) or StepRecord(self.task.record.uid, path)

    def row(self, position: Position) -> StepRecord:
        return self.step(position.path)

    # -- workflows ---------------------------------------------------------------------------------------------------

    def walk(self, frame: Frame) -> Outcome | None:
        """Bring the steps of a workflow as far as they go now; how it ended, None if it has not."""
        late = self._ended_before(frame)
        for step in map(frame.places.__getitem__, frame.program.order):
            if not (late and self.row(step).phase is StepPhase.WAITING):
                self.visit(step)
        if any(self._claims(step) for step in frame.steps):
            return None
        outcome = frame_outcome(frame, self.row, self.over(frame.caller) or OVERDUE * late, self._ready)
        return self._closed(frame, outcome) if outcome else None

    def _ended_before(self, frame: Frame) -> bool:
        """Whether its end was told of the task's time, which a clock that went back has given back: it stays the end."""
        last = self.row(frame.exit) if frame.exit else None
        if last is None or last.phase is StepPhase.WAITING or last.inputs.get("state") != "FAILED":
            return False
        reopened = any(REOPENED in self.row(step).inputs for step in frame.steps)
        return not reopened and frame_outcome(frame, self.row, "", self._ready) is None

    def _claims(self, position: Position) -> bool:
        return any(path == position.path or path.startswith(f"{position.path}.") for path in self._claimed)

    def _closed(self, frame: Frame, outcome: Outcome) -> Outcome | None:
        """The outcome once the step at the end has ended, too; of what never began there is nothing to end."""
        last = frame.exit
        if last is None or not any(step.path in self.task.steps for step in frame.steps):
            return outcome
        if self.row(last).phase is StepPhase.WAITING:
            why = f"its workflow is over: {outcome.state}"
            self.advance("~", last.path, Signal.QUEUE, why, "Ending", inputs={"state": outcome.state})
        self.visit(last)
        row = self.row(last)
        if row.phase not in ENDED_STEPS:
            return None
        failed = outcome.signal is Signal.SUCCEED and not passed(last, row)
        return broken([row]) if failed else outcome

    # -- one step, call or item --------------------------------------------------------------------------------------

    def visit(self, position: Position) -> None:
        """Bring one step, call or item as far as it goes now."""
        phase = self.row(position).phase
        if phase in ENDED_STEPS:
            return
        if phase is StepPhase.RUNNING:
            self._run(position)
        elif phase in ACTIVE_STEPS and self.over(position):
            self._cut(position)
        elif phase is StepPhase.RETRYING:
            self._retrying(position)
        elif self.may_start(position) and self._ready(position):
            skip = announced(self.task, self.program, position, self.now) if phase is StepPhase.WAITING else None
            self.do(skip) if skip else self._start(position)

    def _run(self, position: Position) -> None:
        if position.is_list and not finding(self.task, position):
            self._list(position)
        elif position.unit:
            self._unit_running(position)
        elif position.node.kind == "calls":
            self._calls(position)
        elif position.node.kind == "workflow":
            self._body(position)
        else:
            self._pause(position)

    def _ready(self, position: Position) -> bool:
        return all(passed(each, self.row(each)) for each in position.before)

    def _start(self, position: Position) -> None:
        try:
            if not opening.wanted(position, scope_of(self.task, position)):
                said = "skipped, its condition is false"
                return self.advance("=", position.path, Signal.SKIP, said, "ConditionFalse")
        except EvaluationError as error:
            return self.fail(position.path, "ExpressionError", f"if: {error}")
        if position.unit:
            return self._attempt(position)
        try:
            return self._open(position)
        except EvaluationError as error:
            return self.fail(position.path, "ExpressionError", str(error))
        except ParamError as error:
            return self.fail(position.path, "ParamError", str(error))

    def _open(self, position: Position) -> None:
        """Begin a step that runs others, or waits. Raises EvaluationError, ParamError."""
        if position.node.pause:
            return self._begin_pause(position)
        inputs: dict[str, Json] = {}
        if position.is_list and position.node.each and position.node.each.items is not None:
            inputs["items"] = opening.items(position.node.each, scope_of(self.task, position))
        elif position.node.body:
            inputs["params"] = dict(opening.parameters(position, position.node.body, scope_of(self.task, position)))
        if position.body and (action := entry(self.task, position, self.subject, inputs)):
            return self._claim(position, action)
        self.advance(">", position.path, Signal.START, "started", inputs=inputs)
        return self._run(position)

    def _cut(self, position: Position) -> None:
        """The end of a step that has nothing under way, because nothing of its task may start any more."""
        why = self.over(position)
        self.advance("!", position.path, Signal.CANCEL, why, "Revoked" if why == REVOKED else "TimedOut")

    def _conclude(self, position: Position, outcome: Outcome, outputs: Callable[[], Json]) -> None:
        """End a step that runs others as they ended."""
        if outcome.signal is not Signal.SUCCEED:
            return self.advance("!", position.path, outcome.signal, outcome.message, outcome.reason)
        try:
            values = outputs()
        except EvaluationError as error:
            return self.fail(position.path, "ExpressionError", f"outputs: {error}")
        return self.advance("=", position.path, Signal.SUCCEED, "finished", outputs=values)

    # -- steps that run others ---------------------------------------------------------------------------------------

    def _calls(self, position: Position) -> None:
        """A step with calls: one after the other; it ends with the last one, or with the first that fails."""
        calls = position.calls
        for call in calls:
            self.visit(call)
        outcome = calls_outcome(calls, self.row)
        if outcome:
            self._conclude(position, outcome, lambda: calls_outputs(self.task, position))
        elif self.over(position) and not any(self.row(call).phase in ACTIVE_STEPS for call in calls):
            self._cut(position)

    def _list(self, position: Position) -> None:
        """A step with a list: so many items at a time, and each has its chance whatever becomes of the others."""
        places = [position.at(index) for index in range(len(items_of(self.task, position)))]
        room = position.node.each.parallelism if position.node.each else 1
        first = self._going(position, places, room)
        for place in sorted(places, key=lambda each: each.path not in first):
            if self.row(place).phase in ENDED_STEPS:
                continue
            if room <= 0 and place.path not in first:
                break
            self.visit(place)
            room -= self.row(place).phase not in ENDED_STEPS
        rows = [self.row(place) for place in places]
        outcome = list_outcome(rows)
        if outcome:
            self._conclude(position, outcome, lambda: list_outputs(self.task, position, rows))
        elif self.over(position) and not any(row.phase in ACTIVE_STEPS for row in rows):
            self._cut(position)

    def _going(self, position: Position, places: Sequence[Position], room: int) -> set[str]:
        """The paths of the items that need no room any more: all that have begun, unless a commit had too many go on.

        Then it is those that work at a target, and the others wait until there is room.
        """
        begun = {place.path for place in places if self.row(place).phase in ACTIVE_STEPS}
        if len(begun) <= room or self.over(position):
            return begun
        depth = position.path.count(".") + 2
        return {".".join(path.split(".")[:depth]) for path, each in self.task.attempts.items() if not each.ended}

    def _body(self, position: Position) -> None:
        """A step that runs a workflow."""
        frame = position.body
        try:
            asked = None if self.over(position) else entry(self.task, position, self.subject, NOTHING)
        except EvaluationError as error:
            return self.fail(position.path, "ExpressionError", str(error))
        if asked:
            return self._claim(position, asked)
        outcome = self.walk(frame) if frame else None
        if frame and outcome:
            self._conclude(position, outcome, lambda: body_outputs(self.task, position, frame))
        return None

    # -- steps that only wait ----------------------------------------------------------------------------------------

    def _begin_pause(self, position: Position) -> None:
        pause = position.node.pause
        if pause is None:
            return
        waits = opening.waiting(pause, scope_of(self.task, position), self.now)
        own = self.now + position.node.timeout if position.node.timeout else None
        times = (waits.ends_at, own, around_deadline(self.task, position, self.now))
        wake_at = min((time for time in times if time), default=None)
        said = (waits.message or "waits", waits.reason)
        self.advance("~", position.path, Signal.START, *said, wake_at=wake_at, inputs=waits.inputs)
        self._pause(position)

    def _pause(self, position: Position) -> None:
        """A wait ends with its time, an approval with a commit, and both with the time of what they belong to."""
        row = self.row(position)
        end = opening.over_at(row.inputs)
        if self.over(position):
            self._cut(position)
        elif end and end <= self.now:
            self.advance("=", position.path, Signal.SUCCEED, "the wait is over", outputs={})
        elif row.wake_at and row.wake_at <= self.now:
            self.fail(position.path, "TimedOut", "its timeout has passed")

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _attempt(self, position: Position) -> None:
        """Ask for room for the next attempt; what starts it takes effect only where capacity grants it."""
        until = around_deadline(self.task, position, self.now)
        if until and until <= self.now:
            return self.fail(position.path, "TimedOut", "the timeout of the step around it has passed")
        try:
            return self._claim(position, begin(self.task, position, self.subject, self.epoch, self.now))
        except (EvaluationError, ParamError) as error:
            return self.fail(position.path, "ExpressionError", str(error))

    def _claim(self, position: Position, action: Action) -> None:
        self._claimed.append(position.path)
        self.actions.append(action)

    def _retrying(self, position: Position) -> None:
        row = self.row(position)
        if self.may_start(position) and (row.wake_at is None or row.wake_at <= self.now):
            self._attempt(position)

    def _unit_running(self, position: Position) -> None:
        unit, path = cast("Unit", position.unit), position.path
        attempt, row = self.task.attempts[path], self.row(position)
        replaced = row.message if row.reason == REPLACED else ""
        match attempt.phase:
            case AttemptPhase.SUCCEEDED:
                self.advance("=", path, Signal.SUCCEED, "finished", outputs=attempt.outputs)
            case AttemptPhase.CANCELLED:
                left = lost_before(row)
                said = f"{attempt.message}; may still run: {left}" if left else attempt.message
                self.advance("!", path, Signal.CANCEL, said, REPLACED if replaced else "Revoked")
            case AttemptPhase.FAILED | AttemptPhase.TIMED_OUT | AttemptPhase.LOST:
                self._broken(position)
            case _:
                flies, over = self.flying(path), self.over(position) or replaced
                action = running_action(self.task, path, unit, self.subject, over, flies=flies, now=self.now)
                self._running(position, action)

    def _running(self, position: Position, action: Action | None) -> None:
        if action is None and self.task.attempts[position.path].phase is AttemptPhase.POLLING:
            action = poll(self.task, position, self.subject, self.now)
        if action is None:
            return
        if action.claim:
            self._claim(position, action)
        else:
            self.do(action)

    def _broken(self, position: Position) -> None:
        """After a failed, timed out or lost attempt: another one, or the end of the step."""
        path = position.path
        attempt = self.task.attempts[path]
        lost = attempt.phase is AttemptPhase.LOST
        again = retry_at(self.task, position, self.now)
        if again and not self.over(position) and self.row(position).reason != REPLACED:
            why = "the outcome is unknown" if lost else attempt.message
            self.advance("~", path, Signal.RETRY, why, "Retrying", wake_at=again, failed=not lost)
        elif lost and position.unit and position.unit.on_lost != OnLost.FAIL:
            given_up = self.row(position).reason == REPLACED or self.over(position) == REVOKED
            self.advance("!", path, Signal.LOSE, attempt.message, "Lost", group="" if given_up else attempt.job)
        else:
            reason = {AttemptPhase.LOST: "Lost", AttemptPhase.TIMED_OUT: "TimedOut"}.get(attempt.phase, "AttemptFailed")
            self.fail(path, reason, attempt.message, failed=True)

    # -- writing -----------------------------------------------------------------------------------------------------

    def fail(self, path: str, reason: str, message: str, *, failed: bool = False) -> None:
        self.advance("!", path, Signal.FAIL, message, reason, failed=failed)

    def advance(
        self,
        sign: Sign,
        path: str,
        signal: Signal,
        message: str,
        reason: str = "",
        outputs: Json = None,
        wake_at: datetime | None = None,
        *,
        failed: bool = False,
        inputs: Mapping[str, Json] = NOTHING,
        group: str | None = None,
    ) -> None:
        """Take a step to its next phase, here and in the plan. A plain end or start needs no message in its row."""
        said = message if sign in "!~" else ""
        uid = self.task.record.uid
        change = StepAdvanced(uid, path, signal, PLAN, reason, said, outputs, wake_at, failed, inputs, group)
        what = message if sign in "=>" else f"{signal.value}: {message}"
        self.do(Action(sign, uid, f"{self.subject} {path}", what, (change,)))

    def do(self, action: Action) -> None:
        for change in action.changes:
            self.task, _ = apply_one(self.task, cast("OwnChange", change), self.now)
        self.actions.append(action)
