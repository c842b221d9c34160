"""What a step gives that runs others: made of what they gave, when the last of them has ended. All raise EvaluationError."""

from collections.abc import Iterable
from typing import cast

from definitions.program import Unit
from reconciler.plan.scope import Scope, frame_scope, outputs_of, read_all, scope_of
from reconciler.position import Frame, Position
from state.records import Json, StepRecord, TaskSnapshot


def frame_outputs(task: TaskSnapshot, frame: Frame) -> dict[str, Json]:
    """The outputs that a workflow declares."""
    scope = frame_scope(task, frame)
    return {name: each.evaluate(scope) for name, each in frame.program.outputs.items()}


def calls_outputs(task: TaskSnapshot, position: Position) -> Json:
    """Of a step with calls what it declares; of an item of a list, which declares nothing, those of each call."""
    if position.item is not None:
        return {call.name: outputs_of(task, call.path) for call in position.calls}
    return _declared(position, scope_of(task, position))


def list_outputs(task: TaskSnapshot, position: Position, items: Iterable[StepRecord]) -> Json:
    """What a step declares over `results`, which has None for an item that was skipped; else the results themselves."""
    results: list[Json] = [item.outputs for item in items]
    if position.finder:
        return _target_outputs(task, position, results)
    if not position.node.outputs:
        return {"results": results}
    return _declared(position, {**scope_of(task, position), "results": results})


def _target_outputs(task: TaskSnapshot, position: Position, results: list[Json]) -> dict[str, Json]:
    """What is declared over the `result` of a step that ran in targets, and the results of each.

    With one target its answer is that result; `result.targets` are the answers of all of them.
    """
    unit = cast("Unit", position.node.unit)
    alone = results[0] if len(results) == 1 else {}
    result: dict[str, Json] = {**(alone if isinstance(alone, dict) else {}), "targets": results}
    return {**read_all(unit.outputs, scope_of(task, position), unit, result), "results": results}


def body_outputs(task: TaskSnapshot, position: Position, frame: Frame) -> Json:
    """What a step declares over the `result` of its workflow; else that result."""
    result = frame_outputs(task, frame)
    if position.item is not None or not position.node.outputs:
        return result
    return _declared(position, {**scope_of(task, position), "result": result})


def _declared(position: Position, scope: Scope) -> dict[str, Json]:
    return {name: each.evaluate(scope) for name, each in position.node.outputs.items()}
