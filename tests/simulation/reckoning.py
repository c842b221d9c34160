"""What the definitions make of recorded rows: conditions, lists, parameters and outputs, reckoned by the judge himself.

He reads what expressions are given from the rows, not as the planner does it, so that a slip there is none here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from definitions.expressions import EvaluationError, Expression
from definitions.params import bind
from definitions.program import Program
from reconciler.position import Frame, Position, items_of, locate, whole
from state.phases import AttemptPhase
from state.records import StepRecord, TaskSnapshot

NONE = object()
"""What cannot be reckoned: an expression of it raises."""
Scope = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A task as it is recorded, and the program that it runs."""

    task: TaskSnapshot
    program: Program

    def place(self, path: str) -> Position:
        """Where the step at `path` stands. Raises KeyError."""
        return locate(self.program, path)

    @property
    def top(self) -> Frame:
        """The task's own workflow."""
        return whole(self.program)

    def row(self, place: Position) -> StepRecord:
        """Its row; a blank one where nothing has happened yet."""
        return self.task.steps.get(place.path) or StepRecord(self.task.record.uid, place.path)

    def rows(self, places: Any) -> list[tuple[Position, StepRecord]]:
        """Several places with their rows."""
        return [(place, self.row(place)) for place in places]

    def items(self, place: Position) -> list[Position]:
        """The items of a list that has begun."""
        return [place.at(index) for index in range(len(items_of(self.task, place)))]

    def found(self, place: Position) -> bool:
        """Whether a list has its items: it needs to find no targets, or has found them."""
        attempt = self.task.attempts.get(place.path)
        return place.finder is None or (attempt is not None and attempt.phase is AttemptPhase.SUCCEEDED)

    # -- values ------------------------------------------------------------------------------------------------------

    def given(self, place: Position) -> Any:
        """What others read of a step."""
        return self.row(place).outputs or {}

    def scope(self, place: Position) -> Scope:
        """What the expressions of a step see."""
        found = self._frame(place.frame)
        step: Position | None = place
        while step:
            holder = step.holder
            if step.node.children and not step.is_list:
                found.setdefault("calls", {call.node.name: self.given(call) for call in step.calls})
            if step.item is not None and holder and not holder.finder:
                found.setdefault("item", items_of(self.task, holder)[step.item])
                found.setdefault("loop", {"index": step.item})
            if step.node is step.frame.program.exit:
                found["task"]["state"] = self.row(step).inputs.get("state")
            step = holder
        return found

    def _frame(self, frame: Frame) -> Scope:
        record = self.task.record
        caller = self.task.steps.get(frame.path)
        params = caller.inputs.get("params") if frame.path and caller else record.params
        names = ("name", "namespace", "uid", "run")
        about = {name: getattr(record, name) for name in names} | {"labels": dict(record.labels)}
        return {"params": params, "steps": {s.node.name: self.given(s) for s in frame.steps}, "task": about}

    def wanted(self, place: Position) -> Any:
        """Whether its condition holds; of a list whose items are asked, and of an item whose list was, nothing is."""
        node = place.node
        if node.condition is None or (node.each and node.each.own_condition == place.is_list):
            return True
        return _value(node.condition, self.scope(place))

    def list_of(self, place: Position) -> Any:
        """The items of its `forEach`."""
        items = place.node.each.items if place.node.each else None
        if isinstance(items, Expression):
            return _value(items, self.scope(place))
        return items.render(self.scope(place)) if items else None

    def parameters(self, place: Position, body: Program) -> Any:
        """What a workflow is begun with."""
        arguments = place.node.arguments
        given: Any = arguments.render(self.scope(place)) if arguments else {}
        return bind(body.params, given)

    # -- outputs -----------------------------------------------------------------------------------------------------

    def frame_outputs(self, frame: Frame) -> Any:
        """What a workflow gives."""
        return _values(frame.program.outputs, self._frame(frame))

    def outputs(self, place: Position) -> Any:
        """What a step gives that runs others."""
        if place.is_list:
            return self._list_outputs(place)
        scope, body = self.scope(place), place.body
        if body is None:
            whole_of_item = {call.name: self.given(call) for call in place.calls}
            return whole_of_item if place.item is not None else _values(place.node.outputs, scope)
        result = self.frame_outputs(body)
        said = place.node.outputs if place.item is None else {}
        return _values(said, {**scope, "result": result}) if said else result

    def _list_outputs(self, place: Position) -> Any:
        results = [self.row(item).outputs for item in self.items(place)]
        unit = place.node.unit
        if place.finder and unit:
            alone: Any = results[0] if len(results) == 1 and isinstance(results[0], dict) else {}
            about = {**self.scope(place), "result": {**alone, "targets": results}}
            said = _values({name: each.expression for name, each in unit.outputs.items()}, about)
            return said if said is NONE else {**said, "results": results}
        if not place.node.outputs:
            return {"results": results}
        return _values(place.node.outputs, {**self.scope(place), "results": results})

    # -- times -------------------------------------------------------------------------------------------------------

    def time_around(self, place: Position, at: datetime) -> datetime | None:
        """When the time is over of what a step is part of; what runs at the end of a workflow has its own time."""
        times: list[datetime] = []
        each = place
        while (holder := each.around) is not None:
            own_workflow = each.holder is None
            if not holder.is_list and not (own_workflow and each.node is each.frame.program.exit):
                spans = (holder.node.timeout, each.frame.program.timeout if own_workflow else None)
                times += [self._began(holder, at) + span for span in spans if span]
            each = holder
        return min(times, default=None)

    def _began(self, holder: Position, at: datetime) -> datetime:
        """When the first of its parts began, or people had it go on; `at` if none began before.

        Parts that begin together are no measure for each other: after a clock that went back they are earlier than others.
        """
        again = self.row(holder).inputs.get("reopened")
        if isinstance(again, str):
            return datetime.fromisoformat(again)
        parts = holder.calls if holder.node.children else holder.body.places.values() if holder.body else ()
        times = (row.started_at for _, row in self.rows(parts))
        return min((time for time in times if time and time != at), default=at)


def _value(expression: Expression, scope: Scope) -> Any:
    try:
        return expression.evaluate(scope)
    except EvaluationError:
        return NONE


def _values(expressions: Mapping[str, Expression], scope: Scope) -> Any:
    found = {name: _value(each, scope) for name, each in expressions.items()}
    return NONE if any(value is NONE for value in found.values()) else found
