"""From a definition to a Program: every name looked up, every expression checked, the order worked out.

Whatever can be known to be wrong is found here, before a task exists, and with the place where it stands. The compiler
reads models and hands back values; it never raises for what a file says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from definitions.definition import Definition
from definitions.documents import Path
from definitions.expressions import parse
from definitions.findings import Finding, Report, suggestion
from definitions.firing import check_trigger
from definitions.flow import MAX_STEPS, FlowError, Graph, graph
from definitions.models import (
    DRIVERS,
    Call,
    Control,
    Job,
    JobSpec,
    Step,
    Task,
    TaskSpec,
    Trigger,
    Workflow,
    WorkflowSpec,
)
from definitions.program import Node, Program, Rule, Unit
from definitions.rings import ring
from definitions.scopes import Outputs, Scope, Site, texts
from definitions.steps import (
    check_every,
    check_parallelism,
    expressions,
    kind_of,
    outline,
    pause_of,
    refuse_options,
)
from definitions.units import (
    Context,
    Find,
    Similar,
    check_arguments,
    check_params,
    compile_block,
    compile_job,
    compile_reference,
    each_target,
    gathered,
    in_containers,
    no_names,
    rule_of,
    target_outputs,
)

MAX_CALLS = 100
MAX_DEPTH = 8
MAX_SIZE = 2_000
EXIT = "onExit"

_GROUP_OPTIONS = ("with", "until", "sample", "concurrency", "parallelism")
_WORK_OPTIONS = ("retry", "every", "maxCalls", "onLost")
_PAUSE_OPTIONS = (*_GROUP_OPTIONS, *_WORK_OPTIONS, "outputs", "forEach")
_BODY_OPTIONS = ("until", "sample", "concurrency", *_WORK_OPTIONS)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What came out: a program, or findings, or (`blocked`) the reason why it has to wait for another definition."""

    program: Program | None
    findings: tuple[Finding, ...] = ()
    blocked: str = ""


def compile_program(
    target: Definition, find: Find, drivers: frozenset[str] = frozenset(DRIVERS), similar: Similar = no_names
) -> Compiled:
    """Check `target`, a Job or Workflow, and make its program. `drivers` are those that this version has."""
    context = Context(target, find, drivers, similar)
    program: Program | None = None
    if isinstance(target.model, Job):
        program = _job_program(context, target, target.model.spec)
    elif isinstance(target.model, Workflow):
        program = _workflow_program(context, target.model.spec)
    unusable = context.report.errors or bool(context.blocked)
    return Compiled(None if unusable else program, tuple(context.report.found), context.blocked)


def check_request(target: Definition, find: Find, similar: Similar = no_names) -> Compiled:
    """Check what a Task or Trigger asks for: that it exists, and that `with` fits its parameters."""
    context = Context(target, find, similar=similar)
    model = target.model
    if isinstance(model, Task):
        _check_control(context, model.control)
        if model.spec is not None:
            _check_spec(context, model.spec, ("spec",))
    elif isinstance(model, Trigger):
        _check_spec(context, model.spec.task, ("spec", "task"))
        check_trigger(model, context.report)
    return Compiled(None, tuple(context.report.found), context.blocked)


def _check_control(context: Context, control: Control) -> None:
    if control.until is not None and control.state != "suspended":
        text = f"`until` ends a suspension; with `state: {control.state}` it means nothing"
        context.report.add(("control", "until"), "W-UNUSED", text, on_key=True)


def _check_spec(context: Context, spec: TaskSpec, path: Path) -> None:
    kind, name = spec.target
    site = Site(path, Scope(params=frozenset(), always=frozenset()), context.report)
    named = site.at(kind.lower())
    found = context.job(name, named) if kind == "Job" else context.workflow(name, named)
    for place, _ in texts(dict(spec.with_), (*path, "with")):
        context.report.add(place, "E-PARAM", "a task gives values; expressions stand in workflows and jobs")
    if found is not None and not context.report.errors:
        definition, target = found
        check_arguments(definition, target.params, spec.with_, site.at("with"))


def _job_program(context: Context, target: Definition, spec: JobSpec) -> Program | None:
    unit = compile_job(context, target, spec)
    if unit is None:
        return None
    check_every(spec, ("spec",), context.report)
    if not unit.targets:
        check_parallelism(spec, ("spec",), context.report)
    node = _fanned_out(Node("job", "job", "unit", spec.title, unit=unit, expect=spec.expect))
    names = target_outputs(unit.outputs) if unit.targets else sorted(unit.outputs)
    outputs = {name: parse(f"steps.job.{name}") for name in sorted(names)}
    return Program("Job", target.name, spec.params, (node,), ("job",), outputs, nodes={"job": node})


def _workflow_program(context: Context, spec: WorkflowSpec) -> Program | None:
    """The program of a workflow, as far as it could be made; None if even the order is unknown."""
    site = Site(("spec",), Scope(params=frozenset(spec.params)), context.report)
    check_params(spec.params, site)
    if not _few_enough(spec, context.report):
        return None
    outputs = {name: _declared(context, step) for name, step in spec.steps.items()}
    scope = Scope(params=frozenset(spec.params), steps=outputs)
    needs: dict[str, dict[str, Path]] = {}
    nodes: dict[str, Node] = {}
    for name, step in spec.steps.items():
        place = Site(("spec", "steps", name), scope, context.report)
        nodes[name] = _step(context, place, step, name)
        needs[name] = _known_needs(place, step, outputs)
    drawn = _graph(needs, spec, context.report)
    ends = Site(("spec",), scope, context.report)
    last = _exit(context, scope, spec)
    made = expressions(ends.at("outputs"), spec.outputs)
    rule = _workflow_rule(ends, spec)
    if drawn is None:
        return None
    program = _assembled(context.target.name, spec, drawn, nodes, last)
    if program.size > MAX_SIZE:
        message = (
            f"{program.size} steps and calls with those of the workflows in it; at most {MAX_SIZE} can run together"
        )
        context.report.add(("spec", "steps"), "E-LIMIT", message)
    return replace(program, outputs=made, rule=rule)


def _exit(context: Context, scope: Scope, spec: WorkflowSpec) -> Node | None:
    """The step that always runs at the end; it reads every step, and `task.state` tells how they ended."""
    if spec.on_exit is None:
        return None
    site = Site(("spec", EXIT), replace(scope, task=scope.task | {"state"}), context.report)
    if EXIT in spec.steps:
        context.report.add(
            ("spec", "steps", EXIT), "E-STEP", f"`{EXIT}` is the name of the step at the end", on_key=True
        )
    if spec.on_exit.needs:
        site.report.add((*site.path, "needs"), "E-STEP", f"`needs` has no meaning on `{EXIT}`: it waits for all steps")
    return _step(context, site, spec.on_exit, EXIT)


def _assembled(name: str, spec: WorkflowSpec, drawn: Graph, nodes: Mapping[str, Node], last: Node | None) -> Program:
    steps = tuple(replace(nodes[each], after=drawn.predecessors[each]) for each in drawn.display)
    every = {node.path: node for step in (*steps, *([last] if last else [])) for node in (step, *step.children)}
    return Program(
        "Workflow",
        name,
        spec.params,
        steps,
        drawn.order,
        timeout=spec.timeout,
        nodes=every,
        flow=tuple(spec.flow or ()),
        exit=last,
        size=sum(1 + (node.body.size if node.body else 0) for node in every.values()),
    )


def _few_enough(spec: WorkflowSpec, report: Report) -> bool:
    if len(spec.steps) > MAX_STEPS:
        message = f"{len(spec.steps)} steps; a workflow has at most {MAX_STEPS}"
        report.add(("spec", "steps"), "E-LIMIT", message)
    for name, step in spec.steps.items():
        if len(step.calls or {}) > MAX_CALLS:
            message = f"{len(step.calls or {})} calls; a step has at most {MAX_CALLS}"
            report.add(("spec", "steps", name, "calls"), "E-LIMIT", message)
            return False
    return len(spec.steps) <= MAX_STEPS


def _known_needs(site: Site, step: Step, known: Mapping[str, Outputs]) -> dict[str, Path]:
    """The steps that `step` waits for, with the place that says so; unknown names in `needs` are reported."""
    for index, name in enumerate(step.needs):
        if name not in known:
            path = (*site.path, "needs", index)
            site.report.add(path, "E-GRAPH", f"unknown step `{name}`{suggestion(name, known)}")
        else:
            site.needs.setdefault(name, (*site.path, "needs", index))
    return site.needs


def _graph(needs: Mapping[str, Mapping[str, Path]], spec: WorkflowSpec, report: Report) -> Graph | None:
    try:
        drawn = graph(needs, spec.flow)
    except FlowError as error:
        path = ("spec", "steps") if error.path is None else ("spec", "flow", *error.path)
        report.add(path, error.code, str(error))
        return None
    for name, needed in drawn.sideways:
        message = f"`{name}` stands beside `{needed}` in `flow` but uses it, so it waits for it"
        report.add(needs[name][needed], "W-FLOW", message)
    return drawn


def _declared(context: Context, step: Call) -> Outputs:
    """The outputs that others may read of a step or call; None where that is not known now."""
    if step.outputs:
        return target_outputs(step.outputs) if in_containers(step) else frozenset(step.outputs)
    if step.for_each is not None:
        return frozenset({"results"})
    quiet = Site((), Scope(params=None), Report())
    if step.job is not None:
        found = context.job(step.job, quiet)
        return None if found is None else _outputs_of(found[1])
    if isinstance(step, Step) and step.workflow is not None:
        called = context.workflow(step.workflow, quiet)
        return None if called is None else frozenset(called[1].outputs)
    return target_outputs(()) if in_containers(step) else frozenset()


def _outputs_of(spec: JobSpec) -> Outputs:
    return target_outputs(spec.outputs) if in_containers(spec) else frozenset(spec.outputs)


def _step(context: Context, site: Site, step: Step, name: str) -> Node:
    kind = kind_of(step, site)
    if kind == "calls":
        return _calls(context, site, step, name)
    if kind == "workflow":
        return _body(context, site, step, name)
    if kind in ("approval", "wait"):
        refuse_options(site, step, _PAUSE_OPTIONS, kind)
        node = outline(site, step, name)
        return replace(node, kind="approval" if kind == "approval" else "wait", pause=pause_of(site, step))
    return _node(context, site, step, name, kind)


def _node(context: Context, site: Site, call: Call, path: str, kind: str, outer: Step | None = None) -> Node:
    """A step or call that is one unit of work, or one for each item of a list."""
    node = outline(site, call, path)
    within = site.plus("item", "loop") if call.for_each is not None else site
    unit: Unit | None = None
    title, expect = call.title, call.expect
    if kind == "job":
        unit = compile_reference(context, within, call, outer)
        found = context.job(call.job or "", Site((), Scope(params=None), Report()))
        if found is not None:
            job = found[1]
            title, expect = title or job.title, expect or job.expect
    elif kind in DRIVERS:
        unit = compile_block(context, within, call, outer, path)
        check_every(call, site.path, site.report)
    if unit and not unit.targets:
        check_parallelism(call, site.path, site.report)
    if call.for_each is not None:
        unit = unit and gathered(unit)
        node = replace(node, outputs=expressions(within.plus("results").at("outputs"), call.outputs))
        if unit and unit.targets:
            message = (
                "`forEach` goes over a list, and `container.exec` over what `in` finds: put the exec into a workflow"
            )
            site.report.add((*site.path, "forEach"), "E-STEP", message, on_key=True)
    return _fanned_out(replace(node, title=title, unit=unit, expect=expect, timeout=None))


def _fanned_out(node: Node) -> Node:
    """The node as a list of targets, if that is what its unit works on."""
    if node.unit is None or not node.unit.targets or node.each is not None:
        return node
    each, unit = each_target(node.unit)
    return replace(node, each=each, unit=unit)


def _calls(context: Context, site: Site, step: Step, name: str) -> Node:
    """A step with several calls, one after the other."""
    refuse_options(site, step, [each for each in _GROUP_OPTIONS if each != "parallelism" or not step.for_each], "calls")
    node, calls = outline(site, step, name), step.calls or {}
    declared = {key: _declared(context, call) for key, call in calls.items()}
    if not calls:
        site.report.add((*site.path, "calls"), "E-STEP", "`calls` is empty")
    children: list[Node] = []
    within = site.plus("item", "loop") if step.for_each is not None else site
    for key, call in calls.items():
        earlier = {child.name: declared[child.name] for child in children}
        scope = replace(within.scope, calls=earlier, later=frozenset(calls) - earlier.keys())
        place = within.at("calls", key).within(scope)
        child = _node(context, place, call, f"{name}.{key}", kind_of(call, place), step)
        children.append(replace(child, after=(children[-1].name,) if children else ()))
    ends = site.within(replace(site.scope, calls=declared)) if step.for_each is None else site.plus("results")
    return replace(node, kind="calls", children=tuple(children), outputs=expressions(ends.at("outputs"), step.outputs))


def _body(context: Context, site: Site, step: Step, name: str) -> Node:
    """A step that runs another workflow, whose own mistakes are told in its file."""
    refuse_options(site, step, _BODY_OPTIONS, "workflow")
    node = replace(outline(site, step, name), kind="workflow")
    within = site.plus("item", "loop") if step.for_each is not None else site
    check_parallelism(step, site.path, site.report)
    found = context.workflow(step.workflow or "", site.at("workflow"))
    given = frozenset(found[1].outputs) if found else None
    ends = site.plus("results") if step.for_each is not None else site.within(site.scope.giving(given))
    node = replace(node, outputs=expressions(ends.at("outputs"), step.outputs))
    if found is None:
        return node
    definition, spec = found
    arguments = check_arguments(definition, spec.params, step.with_, within.at("with"))
    back = ring(context, definition, site)
    if back:
        message = f"the workflows run each other: {' -> '.join((context.target.name, *back))}"
        site.report.add((*site.path, "workflow"), "E-GRAPH", message)
        return node
    if spec.concurrency is not None and spec.concurrency.policy == "replace":
        message = f"`replace` of `{definition.name}` is for tasks; a run of it inside a workflow waits for its turn"
        site.report.add((*site.path, "workflow"), "W-UNUSED", message)
    body = _body_program(context, definition, spec, site)
    title = step.title or spec.title
    return replace(node, title=title, body=body, arguments=arguments)


def _body_program(context: Context, definition: Definition, spec: WorkflowSpec, site: Site) -> Program | None:
    """The program of a workflow inside another; None if it nests too deeply or is not usable itself."""
    around = (*context.around, context.target)
    if definition in around:
        return None  # they run each other, which is told in their own files
    if len(around) >= MAX_DEPTH:
        site.report.add((*site.path, "workflow"), "E-LIMIT", f"workflows nest deeper than {MAX_DEPTH}")
        return None
    inside = Context(definition, context.find, context.drivers, context.similar, around=around)
    program = _workflow_program(inside, spec)
    deep = next((each for each in inside.report.found if each.code == "E-LIMIT"), None)
    if deep is not None:
        site.report.add((*site.path, "workflow"), "E-LIMIT", f"in `{definition.name}`: {deep.message}")
    context.blocked = context.blocked or inside.blocked
    if inside.report.errors:
        context.blocked = context.blocked or f"the workflow `{definition.name}` has errors of its own"
    return program


def _workflow_rule(site: Site, spec: WorkflowSpec) -> Rule | None:
    """The concurrency rule of a workflow, whose group is known before any step has run."""
    return rule_of(spec.concurrency, site.within(replace(site.scope, steps=None)), inner=False)
