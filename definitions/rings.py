"""Who names whom: the definitions that one uses, and workflows that run each other."""

from definitions.definition import Definition
from definitions.models import Call, TaskSpec, Trigger, Workflow
from definitions.scopes import Site
from definitions.units import Context

MAX_NESTED = 100


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


def ring(context: Context, called: Definition, site: Site) -> tuple[str, ...]:
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
