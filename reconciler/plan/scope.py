"""What an expression sees at its place in a workflow, built from pinned parameters and recorded outputs only."""

from collections.abc import Mapping

from definitions.params import bind
from definitions.program import Node, Program, Reading, Unit
from state.records import Json, TaskSnapshot

Scope = dict[str, Json]


def workflow_scope(task: TaskSnapshot, program: Program) -> Scope:
    """`params`, `steps` and `task`, as the workflow's own expressions see them. Steps without outputs are empty."""
    record = task.record
    steps = {step.name: outputs_of(task, step.path) for step in program.steps}
    about: dict[str, Json] = {
        "name": record.name,
        "namespace": record.namespace,
        "uid": record.uid,
        "run": record.run,
        "labels": dict(record.labels),
    }
    return {"params": dict(record.params), "steps": steps, "task": about}


def step_scope(task: TaskSnapshot, program: Program, node: Node) -> Scope:
    """The workflow's scope and, inside a step with `calls`, the outputs of its calls."""
    scope = workflow_scope(task, program)
    parent, _, _ = node.path.rpartition(".")
    holder = program.nodes[parent] if parent else node
    return scope | {"calls": {call.name: outputs_of(task, call.path) for call in holder.children}}


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
