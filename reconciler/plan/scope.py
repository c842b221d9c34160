"""What an expression sees at its place in a workflow, built from pinned parameters and recorded outputs only."""

from collections.abc import Mapping

from definitions.expressions import EvaluationError
from definitions.params import bind
from definitions.program import Reading, Rule, Unit
from reconciler.position import Frame, Position, items_of
from state.records import Json, TaskRecord, TaskSnapshot

Scope = dict[str, Json]
MAX_GROUP = 255
"""Characters in the name of a concurrency group."""


def frame_scope(task: TaskSnapshot, frame: Frame) -> Scope:
    """`params`, `steps` and `task`, as a workflow's own expressions see them. Steps without outputs are empty."""
    steps = {step.node.name: outputs_of(task, step.path) for step in frame.steps}
    return {"params": _params(task, frame), "steps": steps, "task": about_task(task.record)}


def about_task(record: TaskRecord) -> dict[str, Json]:
    """What `task` says everywhere."""
    return {
        "name": record.name,
        "namespace": record.namespace,
        "uid": record.uid,
        "run": record.run,
        "labels": dict(record.labels),
    }


def group_name(rule: Rule, default: str, scope: Scope) -> str:
    """The concurrency group of something with `rule`; what names none is a group of its own. Raises EvaluationError."""
    if rule.group is None:
        return default
    made = rule.group.render(scope)
    name = "" if made is None else str(made)
    if not 0 < len(name) <= MAX_GROUP:
        raise EvaluationError(f"concurrency.group: a name of 1 to {MAX_GROUP} characters is needed, not {made!r:.60}")
    return name


def workflow_group(rule: Rule | None, record: TaskRecord, workflow: str, params: Mapping[str, Json]) -> str:
    """The group of one run of a workflow with these parameters; "" without a rule. Raises EvaluationError."""
    if rule is None:
        return ""
    scope: Scope = {"params": dict(params), "task": about_task(record)}
    return group_name(rule, f"{record.namespace}/{workflow}", scope)


def _params(task: TaskSnapshot, frame: Frame) -> Json:
    """The parameters of the task, or those that a sub-workflow was begun with."""
    if not frame.path:
        return dict(task.record.params)
    row = task.steps.get(frame.path)
    return row.inputs.get("params") if row else None


def scope_of(task: TaskSnapshot, position: Position) -> Scope:
    """The scope of the workflow that the step stands in; inside `calls` those, in a list the item, at the end the state."""
    scope = frame_scope(task, position.frame)
    each: Position | None = position
    while each is not None:
        if each.node.children and "calls" not in scope and not each.is_list:
            scope["calls"] = {call.node.name: outputs_of(task, call.path) for call in each.calls}
        if each.item is not None and each.holder and not each.holder.finder and "item" not in scope:
            scope["item"] = items_of(task, each.holder)[each.item]
            scope["loop"] = {"index": each.item}
        if each.node is position.frame.program.exit and (row := task.steps.get(each.path)):
            scope["task"] = {**_mapping(scope["task"]), "state": row.inputs.get("state")}
        each = each.holder
    return scope


def inner_scope(scope: Scope, unit: Unit) -> Scope:
    """What the job's own expressions see: its bound parameters and the task. Raises ParamError, EvaluationError."""
    values = unit.arguments.render(scope) if unit.arguments else {}
    given = values if isinstance(values, dict) else {}
    return {"params": bind(unit.params, given), "task": scope["task"]}


def unit_scope(scope: Scope, unit: Unit) -> Scope:
    """What the driver block sees, wherever it stands. Raises ParamError, EvaluationError."""
    return inner_scope(scope, unit) if unit.inner else scope


def read(reading: Reading, scope: Scope, unit: Unit, result: Json) -> Json:
    """The value of an expression over a result. Raises EvaluationError."""
    around = inner_scope(scope, unit) if reading.inner else scope
    return reading.expression.evaluate({**around, "result": result})


def read_all(readings: Mapping[str, Reading], scope: Scope, unit: Unit, result: Json) -> dict[str, Json]:
    """The values of several expressions over one result. Raises EvaluationError, its text begins with the name."""
    inner = inner_scope(scope, unit) if any(each.inner for each in readings.values()) else scope
    places = {True: {**inner, "result": result}, False: {**scope, "result": result}}
    return {name: each.expression.evaluate(places[each.inner]) for name, each in readings.items()}


def outputs_of(task: TaskSnapshot, path: str) -> Json:
    """The outputs of a step, `{}` as long as there are none, so that a missing value reads as None (rule 12)."""
    step = task.steps.get(path)
    return step.outputs if step and step.outputs is not None else {}


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
