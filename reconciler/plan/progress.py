"""What one task does next: a walk over its steps in an order that its program has already settled.

The walk changes a copy of the task as it goes, so that a step which ends lets its followers start in the same plan.
Nothing here knows whether the controller has just started: work that is recorded as under way but does not fly in this
process is looked at, and that is all there is to recovery.
"""

from collections.abc import Callable
from datetime import datetime
from typing import cast

from definitions.expressions import EvaluationError
from definitions.params import ParamError
from definitions.program import Node, Program, Unit
from reconciler.actions import Action, Claim, Order, Sign, Verb
from reconciler.plan.attempts import around_deadline, begin, begins_with, poll, retry_at, running_action
from reconciler.plan.scope import step_scope, workflow_scope
from state.changes import OwnChange, StepAdvanced, TaskAdvanced, TaskChange, apply_one
from state.phases import ENDED_STEPS, STARTING_TASKS, AttemptPhase, Signal, StepPhase, TaskPhase
from state.records import Cause, Json, StepRecord, TaskSnapshot

PLAN = Cause("plan")
GOING = frozenset({StepPhase.RUNNING, StepPhase.RETRYING, StepPhase.QUEUED})
CUT = frozenset({"TimedOut", "Revoked"})
"""Reasons of steps that ended because time was over, which may have been the time of the task."""
BROKEN = frozenset({StepPhase.FAILED, StepPhase.LOST, StepPhase.CANCELLED})


def progress(
    task: TaskSnapshot, program: Program, flying: Callable[[str], bool], epoch: int, now: datetime
) -> tuple[Action, ...]:
    """The next actions of a live task. `flying`: whether a call of the step path is under way in this process.

    Of a held task only what runs at a target is looked at: nothing starts, is called again, stopped or concluded.
    """
    walk = Walk(task, program, flying, epoch, now)
    for path in program.order:
        walk.visit(program.nodes[path])
    walk.conclude()
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
        self._starting = False

    @property
    def subject(self) -> str:
        return f"{self.task.record.namespace}/{self.task.record.name}"

    @property
    def may_start(self) -> bool:
        record = self.task.record
        return record.phase in STARTING_TASKS and not (record.deadline and record.deadline <= self.now)

    @property
    def ending(self) -> bool:
        """Nothing of it may start any more, ever: it is being revoked, or its time is over."""
        record = self.task.record
        return record.phase is TaskPhase.REVOKING or bool(record.deadline and record.deadline <= self.now)

    def step(self, path: str) -> StepRecord:
        return self.task.steps.get(path) or StepRecord(self.task.record.uid, path)

    # -- one node ----------------------------------------------------------------------------------------------------

    def visit(self, node: Node) -> None:
        """Bring one step or call as far as it goes now."""
        phase = self.step(node.path).phase
        if phase in ENDED_STEPS:
            return
        if phase is StepPhase.RUNNING and node.unit:
            self._unit_running(node)
        elif phase is StepPhase.RUNNING:
            self._calls(node)
        elif self.ending and phase in GOING:
            self._cut(node)
        elif phase is StepPhase.RETRYING:
            self._retrying(node)
        elif self.may_start and self._ready(node):
            self._start(node)

    def _ready(self, node: Node) -> bool:
        return all(self._passed(self.program.nodes[path]) for path in node.after)

    def _passed(self, node: Node) -> bool:
        phase = self.step(node.path).phase
        return phase in ENDED_STEPS and (phase not in BROKEN or node.continue_on_error)

    def _start(self, node: Node) -> None:
        if node.refused or self.program.refused:
            what = node.refused or self.program.refused
            return self.fail(node.path, "Unsupported", f"{what} is not part of this version")
        try:
            wanted = node.condition is None or bool(node.condition.evaluate(step_scope(self.task, self.program, node)))
        except EvaluationError as error:
            return self.fail(node.path, "ExpressionError", f"if: {error}")
        if not wanted:
            return self.advance("=", node.path, Signal.SKIP, "skipped, its condition is false", "ConditionFalse")
        if node.unit:
            return self._attempt(node)
        self.advance(">", node.path, Signal.START, "started")
        return self._calls(node)

    def _calls(self, node: Node) -> None:
        """A step with calls: one after the other; it ends with the last one, or with the first that fails."""
        for child in node.children:
            self.visit(child)
        phases = [self.step(child.path).phase for child in node.children]
        broken = [child for child, phase in zip(node.children, phases, strict=True) if phase in BROKEN]
        fatal = [child for child in broken if not child.continue_on_error]
        if fatal:
            self._calls_broken(node, fatal[0])
        elif all(phase in ENDED_STEPS for phase in phases):
            self._succeed(node, lambda: self._outputs(node))
        elif self.ending and not any(phase in GOING for phase in phases):
            self._cut(node)

    def _cut(self, node: Node) -> None:
        """The end of a step that has nothing under way, because nothing of its task may start any more."""
        revoked = self.task.record.phase is TaskPhase.REVOKING
        why, reason = ("revoked", "Revoked") if revoked else ("the task's timeout has passed", "TimedOut")
        self.advance("!", node.path, Signal.CANCEL, why, reason)

    def _calls_broken(self, node: Node, child: Node) -> None:
        row = self.step(child.path)
        signal = {StepPhase.LOST: Signal.LOSE, StepPhase.CANCELLED: Signal.CANCEL}.get(row.phase, Signal.FAIL)
        self.advance("!", node.path, signal, f"{child.path}: {row.message}", row.reason)

    def _outputs(self, node: Node) -> dict[str, Json]:
        scope = step_scope(self.task, self.program, node)
        return {name: each.evaluate(scope) for name, each in node.outputs.items()}

    def _succeed(self, node: Node, outputs: Callable[[], Json]) -> None:
        try:
            values = outputs()
        except EvaluationError as error:
            return self.fail(node.path, "ExpressionError", f"outputs: {error}")
        return self.advance("=", node.path, Signal.SUCCEED, "finished", outputs=values)

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _attempt(self, node: Node) -> None:
        """Ask for room for the next attempt; what starts it takes effect only where capacity grants it."""
        until = around_deadline(self.task, self.program, node, self.now)
        if until and until <= self.now:
            return self.fail(node.path, "TimedOut", "the timeout of the step around it has passed")
        try:
            attempt = begin(self.task, self.program, node, self.epoch, self.now)
        except (EvaluationError, ParamError) as error:
            return self.fail(node.path, "ExpressionError", str(error))
        unit = attempt.unit
        claim = Claim(attempt.record.namespace, unit.driver, attempt.record.job, unit.limit, self.task.record.number)
        what = f"attempt {attempt.record.number} by {unit.driver}"
        uid, path = self.task.record.uid, node.path
        changes = (StepAdvanced(uid, path, Signal.START, PLAN), attempt.change)
        verb = begins_with(self.task, node.path)
        order = Order(verb, attempt.record, self.subject, unit.source, unit.uses_result)
        return self._claimed(
            Action(">", uid, f"{self.subject} {path}", what, changes, order, claim, self._queued(path))
        )

    def _queued(self, path: str) -> tuple[TaskChange, ...]:
        """What is written where there is no room: the step waits in line, not for a time. Capacity gives the reason."""
        row = self.step(path)
        uid = row.uid
        if row.phase is StepPhase.WAITING:
            return (StepAdvanced(uid, path, Signal.QUEUE, PLAN),)
        if row.phase is StepPhase.RETRYING and row.wake_at:
            return (StepAdvanced(uid, path, None, PLAN, message=row.message),)
        return ()

    def _claimed(self, action: Action) -> None:
        self._starting = True
        self.actions.append(action)

    def _retrying(self, node: Node) -> None:
        row = self.step(node.path)
        if self.may_start and (row.wake_at is None or row.wake_at <= self.now):
            self._attempt(node)

    def _unit_running(self, node: Node) -> None:
        unit, attempt = cast("Unit", node.unit), self.task.attempts[node.path]
        match attempt.phase:
            case AttemptPhase.SUCCEEDED:
                self.advance("=", node.path, Signal.SUCCEED, "finished", outputs=attempt.outputs)
            case AttemptPhase.CANCELLED:
                self.advance("!", node.path, Signal.CANCEL, attempt.message, "Revoked")
            case AttemptPhase.FAILED | AttemptPhase.TIMED_OUT | AttemptPhase.LOST:
                self._broken(node)
            case _:
                flies = self.flying(node.path)
                action = running_action(self.task, node.path, unit, self.subject, flies=flies, now=self.now)
                self._running(node, action)

    def _running(self, node: Node, action: Action | None) -> None:
        if action is None and self.task.attempts[node.path].phase is AttemptPhase.POLLING:
            action = poll(self.task, node.path, self.program, self.subject, self.now)
        if action is None:
            return
        if action.claim:
            self._claimed(action)
        else:
            self.do(action)

    def _broken(self, node: Node) -> None:
        """After a failed, timed out or lost attempt: another one, or the end of the step."""
        attempt = self.task.attempts[node.path]
        lost = attempt.phase is AttemptPhase.LOST
        again = retry_at(self.task, self.program, node, self.now)
        if again and not self.ending:
            why = "the outcome is unknown" if lost else attempt.message
            self.advance("~", node.path, Signal.RETRY, why, "Retrying", wake_at=again, failed=not lost)
        elif lost and not self._fails_when_lost(node):
            self.advance("!", node.path, Signal.LOSE, attempt.message, "Lost")
        else:
            reason = {AttemptPhase.LOST: "Lost", AttemptPhase.TIMED_OUT: "TimedOut"}.get(attempt.phase, "AttemptFailed")
            self.fail(node.path, reason, attempt.message, failed=True)

    @staticmethod
    def _fails_when_lost(node: Node) -> bool:
        return node.unit is not None and node.unit.on_lost == "fail"

    # -- the whole task ----------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """End the task if nothing is left that could go on."""
        record = self.task.record
        rows = [(node, self.step(node.path)) for node in self.program.steps]
        if self._starting or any(row.phase in GOING for _, row in rows):
            return
        fatal = [row for node, row in rows if row.phase in BROKEN and not node.continue_on_error]
        if record.phase is TaskPhase.REVOKING:
            self._revoked()
        elif self.ending and any(row.phase not in ENDED_STEPS or row.reason in CUT for _, row in rows):
            own = [row for row in fatal if row.reason not in CUT]
            self._fail(own) if own else self._end("!", Signal.FAIL, "TimedOut", "the task's timeout has passed")
        elif all(row.phase in ENDED_STEPS and self._passed(node) for node, row in rows):
            self._finish()
        elif fatal and not any(row.phase is StepPhase.WAITING and self._ready(node) for node, row in rows):
            self._fail(fatal)  # a branch that may start when the task is resumed still has its chance

    def _revoked(self) -> None:
        """The end of a revoked task names what nobody could prove to have stopped."""
        record, steps = self.task.record, self.task.steps
        left = sorted(path for path, row in steps.items() if row.phase is StepPhase.LOST and path in self.task.attempts)
        said = [record.message, f"may still run: {', '.join(left)}" if left else ""]
        self._end("!", Signal.STOP, record.reason, "; ".join(text for text in said if text))

    def _fail(self, fatal: list[StepRecord]) -> None:
        lost = next((row for row in fatal if row.phase is StepPhase.LOST), None)
        row = lost or fatal[0]
        self._end("!", Signal.FAIL, "Lost" if lost else "StepFailed", f"{row.path}: {row.message}".rstrip(": "))

    def _finish(self) -> None:
        scope = workflow_scope(self.task, self.program)
        try:
            outputs: Json = {name: each.evaluate(scope) for name, each in self.program.outputs.items()}
        except EvaluationError as error:
            return self._end("!", Signal.FAIL, "ExpressionError", f"outputs: {error}")
        return self._end("=", Signal.SUCCEED, outputs=outputs)

    def _end(self, sign: Sign, signal: Signal, reason: str = "", message: str = "", outputs: Json = None) -> None:
        change = TaskAdvanced(self.task.record.uid, signal, PLAN, reason, message, outputs)
        what = {Signal.SUCCEED: "finished", Signal.STOP: "revoked"}.get(signal, "failed")
        self.do(Action(sign, change.uid, self.subject, f"{what}: {message}" if message else what, (change,)))

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
    ) -> None:
        """Take a step to its next phase, here and in the plan. A plain end or start needs no message in its row."""
        said = message if sign in "!~" else ""
        uid = self.task.record.uid
        change = StepAdvanced(uid, path, signal, PLAN, reason, said, outputs, wake_at, failed)
        what = message if sign in "=>" else f"{signal.value}: {message}"
        self.do(Action(sign, uid, f"{self.subject} {path}", what, (change,)))

    def do(self, action: Action) -> None:
        for change in action.changes:
            self.task, _ = apply_one(self.task, cast("OwnChange", change), self.now)
        self.actions.append(action)
