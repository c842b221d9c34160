"""One unit of work: a driver block joined with every option that applies to it, the nearest one first.

Text that stands in a Job is read with the job's parameters, text that stands in a step with the workflow's names; each
piece keeps which of the two it was. A job's own mistakes are reported in the job's file only, not by those who use it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

from definitions.blocks import block_value, check_block, hide_secrets, refuse_secrets, script_request
from definitions.definition import Definition
from definitions.documents import Path
from definitions.expressions import Expression, Template, template
from definitions.findings import Report, listing, suggestion
from definitions.models import (
    DRIVERS,
    Call,
    Concurrency,
    Http,
    Job,
    JobSpec,
    OnLost,
    Param,
    Params,
    ParamType,
    Workflow,
    WorkflowSpec,
)
from definitions.params import ParamError, cast
from definitions.program import DEFAULT_EVERY, PARALLELISM, Each, Reading, Rule, Unit
from definitions.requests import Script
from definitions.scopes import Scope, Site, texts
from definitions.values import Json


@dataclass(frozen=True, slots=True)
class Rejected:
    """What `find` answers for a name that is known, while no version of it is in force."""

    reason: str


_EXTRAS = {"script": "it comes with the extra `script` of the package"}

T = TypeVar("T")
Find = Callable[[str, str, str], Definition | Rejected | None]
"""(kind, namespace of who asks, name) -> what the name means there; None if nothing has that name."""


Similar = Callable[[str, str], Iterable[str]]
"""(kind, name) -> names of that kind to suggest instead."""


def no_names(_kind: str, _name: str) -> Iterable[str]:
    """Nothing to suggest."""
    return ()


@dataclass(slots=True)
class Context:
    """One compilation: whose it is, where names are looked up, and what came up on the way."""

    target: Definition
    find: Find
    drivers: frozenset[str] = frozenset(DRIVERS)
    similar: Similar = no_names
    report: Report = field(default_factory=Report)
    blocked: str = ""  # why it cannot be compiled now, though nothing is wrong with the document itself
    around: tuple[Definition, ...] = ()  # the workflows that this one runs inside of, the outermost first

    def job(self, name: str, site: Site) -> tuple[Definition, JobSpec] | None:
        """The job called `name`; None with a finding, or with `blocked` set."""
        found = self._known("Job", name, site)
        return (found, found.model.spec) if found is not None and isinstance(found.model, Job) else None

    def workflow(self, name: str, site: Site) -> tuple[Definition, WorkflowSpec] | None:
        """The workflow called `name`; None with a finding, or with `blocked` set."""
        found = self._known("Workflow", name, site)
        return (found, found.model.spec) if found is not None and isinstance(found.model, Workflow) else None

    def _known(self, kind: str, name: str, site: Site) -> Definition | None:
        found = self.find(kind, self.target.namespace, name)
        if isinstance(found, Rejected):
            self.blocked = self.blocked or found.reason
            return None
        if found is None:
            hint = suggestion(name, self.similar(kind, name))
            site.report.add(site.path, "E-REF", unknown(kind, self.target.namespace, name) + hint)
        return found


def unknown(kind: str, namespace: str, name: str) -> str:
    """The sentence for a name that exists nowhere."""
    places = f"`{namespace}`" if namespace == "default" else f"`{namespace}` nor in `default`"
    return f"unknown {kind.lower()} `{name}`: there is none in namespace {places}"


def compile_job(context: Context, definition: Definition, spec: JobSpec) -> Unit | None:
    """The unit of a job that a task runs directly: its arguments are the task's parameters. None after a finding."""
    site = job_site(spec, context.report)
    check_params(spec.params, site)
    if len(spec.drivers) != 1:
        found = f"this one has {listing(spec.drivers)}" if spec.drivers else f"one of {listing(DRIVERS)}"
        site.report.add(site.path, "E-DRIVER", f"a job has one driver block: {found}")
        return None
    _check_driver(context, site, spec.drivers[0])
    values: dict[str, Json] = {name: f"${{{{ params.{name} }}}}" for name in spec.params}
    unit = _unit(spec, site, definition.name, definition.name, definition.path, inner=True)
    return unit and replace(unit, params=spec.params, arguments=template(values))


def compile_reference(context: Context, site: Site, call: Call, outer: Call | None) -> Unit | None:
    """The unit of a step or call that names a job. None after a finding, or if the job is not in force."""
    found = context.job(call.job or "", site.at("job"))
    if found is None:
        return None
    definition, spec = found
    arguments = check_arguments(definition, spec.params, call.with_, site.at("with"))
    unit = _job_unit(definition)
    return unit and replace(_overridden(unit, call, site, spec, outer), arguments=arguments)


def gathered(unit: Unit) -> Unit:
    """The unit as an item of a list: what it gives is the job's outputs, or the answer itself where there are none."""
    return replace(unit, whole_result=not unit.outputs)


def each_target(unit: Unit) -> tuple[Each, Unit]:
    """How a unit that runs in several targets is done: what finds them, and the unit for each of them.

    To find them changes nothing, so it may always be done again.
    """
    finder = replace(
        unit,
        secrets={},
        until=None,
        outputs={},
        max_calls=None,
        on_lost=OnLost.RETRY,
        deduplicates=True,
        uses_result=False,
        whole_result=True,
    )
    rule = replace(unit.rule, policy="queue") if unit.rule else None
    return Each(None, unit.targets, finder=finder), replace(unit, whole_result=True, rule=rule)


def target_outputs(names: Iterable[str]) -> frozenset[str]:
    """What a step gives that runs in several targets: what it declares, and the list of their results."""
    return frozenset((*names, "results"))


def compile_block(context: Context, site: Site, call: Call, outer: Call | None, path: str) -> Unit | None:
    """The unit of a step or call (its path in the program is `path`) with a driver block of its own."""
    if call.with_:
        site.report.add((*site.path, "with"), "E-PARAM", "`with` fills the parameters of a job; there is none here")
    _check_driver(context, site, call.driver or "")
    owner = f"{context.target.name}#{path}"  # a text that no name has, and nobody writes for another group
    unit = _unit(call, site, path, owner, context.target.path, inner=False)
    return unit and replace(unit, **_nearer([call, *([outer] if outer else [])]))


def _check_driver(context: Context, site: Site, driver: str) -> None:
    if driver not in context.drivers:
        extra = _EXTRAS.get(driver)
        message = f"the {driver} driver is not part of this " + (f"installation: {extra}" if extra else "version")
        site.report.add((*site.path, driver), "E-DRIVER", message, on_key=True)


def job_site(spec: JobSpec, report: Report) -> Site:
    """The place of a job's own texts."""
    return Site(("spec",), Scope(params=frozenset(spec.params)), report)


def check_params(params: Params, site: Site) -> None:
    """Report declared parameters whose default or choices do not fit their own type."""
    for name, param in params.items():
        refuse_secrets(param.default, (*site.path, "params", name, "default"), site.report)
        try:
            if param.default is not None:
                cast(name, param, param.default)
        except ParamError as error:
            site.report.add((*site.path, "params", name), "E-PARAM", f"the default of {error}")


def check_arguments(
    definition: Definition, params: Mapping[str, Param], values: Mapping[str, Json], site: Site
) -> Template | None:
    """The template of a `with`, every name and every constant of it checked against `params`."""
    for name, value in values.items():
        path = (*site.path, name)
        if refuse_secrets(value, path, site.report):
            continue
        if name not in params:
            hint = suggestion(name, params) or f"; it has {listing(params)}"
            site.report.add(path, "E-PARAM", f"`{definition.name}` has no parameter `{name}`{hint}", on_key=True)
        elif value is not None and not any(texts(value)):
            _check_constant(name, params[name], value, path, site.report)
    missing = [name for name, param in params.items() if param.needed and values.get(name) is None]
    for name in missing:
        if name not in values or params[name].type is not ParamType.ANY:
            site.report.add(site.path, "E-PARAM", f"`{definition.name}` needs the parameter `{name}`")
    return site.template(dict(values))


def _check_constant(name: str, param: Param, value: Json, path: Path, report: Report) -> None:
    try:
        cast(name, param, value)
    except ParamError as error:
        report.add(path, "E-PARAM", str(error))


@lru_cache(maxsize=1024)
def _job_unit(definition: Definition) -> Unit | None:
    """The unit that a job is by itself. Its mistakes are told where the job itself is compiled."""
    if not isinstance(definition.model, Job):
        return None
    spec = definition.model.spec
    unit = _unit(spec, job_site(spec, Report()), definition.name, definition.name, definition.path, inner=True)
    return unit and replace(unit, params=spec.params)


def _unit(options: Call | JobSpec, site: Site, name: str, owner: str, source: str, *, inner: bool) -> Unit | None:
    """The unit of a driver block with the options beside it. None after a finding in the block."""
    driver = options.driver or ""
    block = getattr(options, driver)
    value = block_value(block)
    check_block(driver, value, site.at(driver))
    hidden, secrets = hide_secrets(value, site.at(driver))
    if isinstance(block, Script):
        hidden = script_request(value, site.at(driver))
    request = site.at(driver).template(hidden)
    until, outputs = _until(options, site, inner=inner), _outputs(options, site, inner=inner)
    rule = rule_of(options.concurrency, site, inner=inner)
    if request is None:
        return None
    return Unit(
        job=name,
        owner=owner,
        source=source,
        driver=driver,
        request=request,
        secrets=secrets,
        inner=inner,
        until=until,
        outputs=outputs,
        every=options.every or DEFAULT_EVERY,
        max_calls=options.max_calls,
        retry=options.retry,
        timeout=options.timeout,
        on_lost=options.on_lost or (OnLost.RETRY if _harmless(block) else OnLost.HOLD),
        deduplicates=_deduplicates(block),
        uses_result=_reads_result(block, until, outputs),
        rule=rule,
        targets=options.parallelism or PARALLELISM if in_containers(options) else 0,
        sample=options.sample,
    )


def _overridden(unit: Unit, call: Call, site: Site, spec: JobSpec, outer: Call | None) -> Unit:
    """The unit of a job with what the step or call says instead, and what the step around the call says."""
    changes = _nearer([call, *([outer] if outer else [])])
    if call.until is not None:
        changes["until"] = _until(call, site, inner=False)
    if call.outputs and call.for_each is None:
        changes["outputs"] = _outputs(call, site, inner=False)
    if call.parallelism is not None and unit.targets:
        changes["targets"] = call.parallelism
    if call.concurrency is not None:
        changes["rule"] = rule_of(call.concurrency, site, inner=False)
    if call.until is not None or call.outputs:
        until, outputs = changes.get("until", unit.until), changes.get("outputs", unit.outputs)
        changes["uses_result"] = _reads_result(getattr(spec, unit.driver), until, outputs)
    return replace(unit, **changes) if changes else unit


def _nearer(options: Sequence[Call]) -> dict[str, Any]:
    """What these say, the first one first; a step around calls gives no timeout and no sample to each."""
    shared = ("every", "max_calls", "retry", "on_lost")
    found = {name: _first(getattr(each, name) for each in options) for name in shared}
    found |= {name: getattr(options[0], name) for name in ("timeout", "sample")}
    return {name: value for name, value in found.items() if value is not None}


def _until(options: Call | JobSpec, site: Site, *, inner: bool) -> Reading | None:
    expression = options.until and site.plus("result").at("until").expression(options.until)
    return Reading(expression, inner) if isinstance(expression, Expression) else None


def _outputs(options: Call | JobSpec, site: Site, *, inner: bool) -> dict[str, Reading]:
    if isinstance(options, Call) and options.for_each is not None:
        return {}  # they are over the list of results, and belong to the step
    place = site.plus("result")
    found = {name: place.at("outputs", name).expression(text) for name, text in options.outputs.items()}
    return {name: Reading(expression, inner) for name, expression in found.items() if expression is not None}


def rule_of(said: Concurrency | None, site: Site, *, inner: bool) -> Rule | None:
    """The concurrency rule of a job, step or workflow. `inner`: its text stands in the job's file."""
    if said is None:
        return None
    group = None if said.group is None else site.at("concurrency", "group").template(said.group)
    return Rule(said.limit, group, said.policy, inner)


def in_containers(options: Call | JobSpec) -> bool:
    """Whether it is a command for running containers, of which there may be many."""
    return options.container is not None and options.container.exec is not None


def _deduplicates(block: object) -> bool:
    asked = isinstance(block, Http) and (block.idempotent or block.already_exists is not None)
    return asked or _harmless(block)


def _harmless(block: object) -> bool:
    """Whether doing it again changes nothing: a call that reads, or code without effects."""
    return isinstance(block, Script) or (isinstance(block, Http) and block.method in ("GET", "HEAD"))


def _reads_result(block: object, until: Reading | None, outputs: Mapping[str, Reading]) -> bool:
    """Whether an answer that is not JSON would be of no use."""
    readings = [*([until] if until else []), *outputs.values()]
    asked = isinstance(block, Http) and (block.already_exists is not None or block.verify is not None)
    return asked or any(path[0] == "result" for each in readings for path in each.expression.references)


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
