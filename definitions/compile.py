"""From a definition to a Program: every name looked up, every expression checked, the order worked out.

Whatever can be known to be wrong is found here, before a task exists, and with the place where it stands. The compiler
reads models and hands back values; it never raises for what a file says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from definitions.definition import Definition
from definitions.documents import Path
from definitions.expressions import Expression, parse
from definitions.findings import Finding, Report, listing, suggestion
from definitions.flow import MAX_STEPS, FlowError, Graph, graph
from definitions.models import (
    DRIVERS,
    Call,
    Job,
    JobSpec,
    Step,
    Task,
    TaskSpec,
    Trigger,
    TriggerSpec,
    Workflow,
    WorkflowSpec,
)
from definitions.program import Node, Program, Unit
from definitions.scopes import Outputs, Scope, Site, texts
from definitions.units import (
    Context,
    Find,
    Similar,
    check_arguments,
    check_params,
    compile_block,
    compile_job,
    compile_reference,
    no_names,
)

MAX_CALLS = 100
MAX_ITEMS = 10_000
MAX_NESTED = 100

_KINDS = ("job", *DRIVERS, "calls", "workflow", "approval", "wait")
_GROUP_OPTIONS = ("with", "until", "sample", "concurrency", "parallelism")
_PAUSE_OPTIONS = (*_GROUP_OPTIONS, "outputs", "retry", "every", "maxCalls", "onLost", "forEach")


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
    if isinstance(model, Task) and model.spec is not None:
        _check_spec(context, model.spec, ("spec",))
    elif isinstance(model, Trigger):
        _check_spec(context, model.spec.task, ("spec", "task"))
        given = next(each for each in ("cron", "on_commit", "on_change") if getattr(model.spec, each) is not None)
        place = ("spec", TriggerSpec.model_fields[given].alias or given)
        context.report.add(place, "W-LATER", "a trigger does not fire in this version", on_key=True)
    return Compiled(None, tuple(context.report.found), context.blocked)


def uses(target: Definition) -> tuple[tuple[str, str], ...]:
    """(kind, name) of each definition that `target` names, in the order of first use."""
    model = target.model
    if isinstance(model, Workflow):
        steps = [*model.spec.steps.values(), *([model.spec.on_exit] if model.spec.on_exit else [])]
        calls: list[Call] = [each for step in steps for each in (step, *(step.calls or {}).values())]
        named = [("Job", call.job) for call in calls] + [("Workflow", step.workflow) for step in steps]
        return tuple(dict.fromkeys((kind, name) for kind, name in named if name is not None))
    spec = model.spec.task if isinstance(model, Trigger) else model.spec
    return (spec.target,) if isinstance(spec, TaskSpec) else ()


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
    refused = _policy(spec)
    _check_every(spec, ("spec",), context.report)
    node = Node("job", "job", "unit", spec.title, unit=unit, expect=spec.expect, refused=refused)
    outputs = {name: parse(f"steps.job.{name}") for name in unit.outputs}
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
    if spec.on_exit is not None:
        ending = replace(scope, task=scope.task | {"state"})
        _step(context, Site(("spec", "onExit"), ending, context.report), spec.on_exit, "onExit")
        _later(site, "onExit")
    made = _expressions(ends.at("outputs"), spec.outputs)
    _check_workflow_group(ends, spec)
    return None if drawn is None else _assembled(context.target.name, spec, drawn, nodes, made)


def _assembled(
    name: str, spec: WorkflowSpec, drawn: Graph, nodes: Mapping[str, Node], outputs: Mapping[str, Expression]
) -> Program:
    steps = tuple(replace(nodes[each], after=drawn.predecessors[each]) for each in drawn.display)
    every = {node.path: node for step in steps for node in (step, *step.children)}
    refused = "onExit" if spec.on_exit is not None else "concurrency of a workflow" if spec.concurrency else ""
    return Program(
        "Workflow", name, spec.params, steps, drawn.order, outputs, spec.timeout, every, refused, tuple(spec.flow or ())
    )


def _later(site: Site, key: str, what: str = "") -> None:
    """Warn about what is checked but refused by this version when it would run."""
    message = f"{what or f'`{key}`'} is refused when it would run in this version"
    site.report.add((*site.path, key), "W-LATER", message, on_key=True)


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
        return frozenset(step.outputs)
    quiet = Site((), Scope(params=None), Report())
    if step.job is not None:
        found = context.job(step.job, quiet)
        return None if found is None else frozenset(found[1].outputs)
    if isinstance(step, Step) and step.workflow is not None:
        called = context.workflow(step.workflow, quiet)
        return None if called is None else frozenset(called[1].outputs)
    return frozenset({"results"}) if step.for_each is not None else frozenset()


def _step(context: Context, site: Site, step: Step, name: str) -> Node:
    kind = _kind(step, site)
    if kind == "calls":
        return _calls(context, site, step, name)
    node = _node(context, site, step, name, kind)
    if kind in ("workflow", "approval", "wait"):
        _later(site, kind)
    if kind == "workflow":
        _check_called(context, site, step)
        return replace(node, kind="workflow", refused="workflow inside a workflow")
    if kind in ("approval", "wait"):
        _refuse_options(site, step, _PAUSE_OPTIONS, kind)
        return replace(node, kind="approval" if kind == "approval" else "wait", refused=kind)
    return node


def _kind(call: Call, site: Site) -> str:
    """The one thing that a step or call is; "" with a finding if it is none or several."""
    given = [name for name in _KINDS if getattr(call, name, None) is not None]
    if len(given) == 1:
        return given[0]
    what = "a step" if isinstance(call, Step) else "a call"
    possible = _KINDS if isinstance(call, Step) else ("job", *DRIVERS)
    message = f"{what} is one of {listing(possible)}; this one is {listing(given)}"
    site.report.add(site.path, "E-STEP", message)
    return ""


def _node(context: Context, site: Site, call: Call, path: str, kind: str, outer: Step | None = None) -> Node:
    """A step or call that is one unit of work."""
    each = _check_items(site, call)
    unit: Unit | None = None
    title, expect, refused = call.title, call.expect, _policy(call)
    if kind == "job":
        unit = compile_reference(context, each, call, outer)
        found = context.job(call.job or "", Site((), Scope(params=None), Report()))
        if found is not None:
            job = found[1]
            title, expect, refused = title or job.title, expect or job.expect, refused or _policy(job)
    elif kind in DRIVERS:
        unit = compile_block(context, each, call, outer, path)
        _check_every(call, site.path, site.report)
    return Node(
        path=path,
        name=path.rpartition(".")[2],
        kind="unit",
        title=title,
        condition=None if call.if_ is None else site.at("if").expression(call.if_),
        unit=unit,
        continue_on_error=call.continue_on_error,
        expect=expect,
        refused="forEach" if call.for_each is not None else refused,
    )


def _calls(context: Context, site: Site, step: Step, name: str) -> Node:
    """A step with several calls, one after the other."""
    _refuse_options(site, step, _GROUP_OPTIONS, "calls")
    calls = step.calls or {}
    declared = {key: _declared(context, call) for key, call in calls.items()}
    if not calls:
        site.report.add((*site.path, "calls"), "E-STEP", "`calls` is empty")
    children: list[Node] = []
    site = _check_items(site, step)
    for key, call in calls.items():
        earlier = {child.name: declared[child.name] for child in children}
        scope = replace(site.scope, calls=earlier, later=frozenset(calls) - earlier.keys())
        place = site.at("calls", key).within(scope)
        child = _node(context, place, call, f"{name}.{key}", _kind(call, place), step)
        children.append(replace(child, after=(children[-1].path,) if children else ()))
    within = site.within(replace(site.scope, calls=declared))
    return Node(
        path=name,
        name=name,
        kind="calls",
        title=step.title,
        condition=None if step.if_ is None else site.at("if").expression(step.if_),
        children=tuple(children),
        outputs=_expressions(within.at("outputs"), step.outputs),
        continue_on_error=step.continue_on_error,
        expect=step.expect,
        timeout=step.timeout,
        refused="forEach" if step.for_each is not None else "",
    )


def _check_items(site: Site, call: Call) -> Site:
    """Check `forEach`; the place where its items are known comes back."""
    items, place = call.for_each, site.at("forEach")
    if items is None:
        return site
    _later(site, "forEach")
    if isinstance(items, str):
        _ = place.template(items) if "${{" in items else place.expression(items)
    elif not isinstance(items, list):
        site.report.add(place.path, "E-FIELD", "`forEach` is an expression or a list")
    elif len(items) > MAX_ITEMS:
        site.report.add(place.path, "E-LIMIT", f"{len(items)} items; a step has at most {MAX_ITEMS}")
    else:
        place.template(items)
    return site.plus("item", "loop")


def _check_called(context: Context, site: Site, step: Step) -> None:
    """Check a step that runs another workflow: that it exists, its parameters, and that it does not run itself."""
    found = context.workflow(step.workflow or "", site.at("workflow"))
    _refuse_options(site, step, ("until", "sample"), "workflow")
    if found is None:
        return
    definition, spec = found
    silent = site.plus("item", "loop") if step.for_each is not None else site
    check_arguments(definition, spec.params, step.with_, silent.at("with"))
    _expressions(site.plus("result").at("outputs"), step.outputs)
    ring = _ring(context, definition, site)
    if ring:
        message = f"the workflows run each other: {' -> '.join((context.target.name, *ring))}"
        site.report.add((*site.path, "workflow"), "E-GRAPH", message)


def _ring(context: Context, called: Definition, site: Site) -> tuple[str, ...]:
    """The way from `called` back to the target through workflows that call each other, or (); reports too many."""
    ways: list[tuple[Definition, tuple[str, ...]]] = [(called, (called.name,))]
    seen = {called.identity}
    while ways and len(seen) <= MAX_NESTED:
        current, way = ways.pop()
        if current.identity == context.target.identity:
            return way
        for kind, name in uses(current):
            found = context.find(kind, current.namespace, name) if kind == "Workflow" else None
            if isinstance(found, Definition) and found.identity not in seen:
                seen.add(found.identity)
                ways.append((found, (*way, found.name)))
    if ways:
        place = (*site.path, "workflow")
        site.report.add(place, "E-LIMIT", f"more than {MAX_NESTED} workflows run inside it")
    return ()


def _refuse_options(site: Site, step: Step, options: tuple[str, ...], kind: str) -> None:
    """Report options that have no meaning on a step of this kind."""
    given = {Step.model_fields[name].alias for name in step.model_fields_set}
    for option in options:
        if option in given:
            where = "on the calls" if kind == "calls" else "on other steps"
            message = f"`{option}` has no meaning on a step with `{kind}`; it stands {where}"
            site.report.add((*site.path, option), "E-STEP", message, on_key=True)


def _expressions(site: Site, texts_by_name: Mapping[str, str]) -> dict[str, Expression]:
    found = {name: site.at(name).expression(text) for name, text in texts_by_name.items()}
    return {name: expression for name, expression in found.items() if expression is not None}


def _check_workflow_group(site: Site, spec: WorkflowSpec) -> None:
    if spec.concurrency is not None:
        _later(site, "concurrency", "`concurrency` of a workflow")
    if spec.concurrency is not None and spec.concurrency.group is not None:
        before_steps = site.within(replace(site.scope, steps=None))
        before_steps.at("concurrency", "group").template(spec.concurrency.group)


def _check_every(options: Call | JobSpec, path: Path, report: Report) -> None:
    if options.every is not None and options.until is None:
        message = "`every` has no meaning without `until`: there is nothing to call again for"
        report.add((*path, "every"), "W-UNUSED", message, on_key=True)


def _policy(options: Call | JobSpec) -> str:
    """What this version cannot do of a concurrency rule."""
    policy = options.concurrency.policy if options.concurrency is not None else "queue"
    return "" if policy == "queue" else f"concurrency.policy: {policy}"
