"""One unit of work: a driver block joined with every option that applies to it, the nearest one first.

Text that stands in a Job is read with the job's parameters, text that stands in a step with the workflow's names; each
piece keeps which of the two it was. A job's own mistakes are reported in the job's file only, not by those who use it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from definitions.blocks import block_value, check_block, hide_secrets, refuse_secrets
from definitions.definition import Definition
from definitions.documents import Path
from definitions.expressions import Template, template
from definitions.findings import Report, listing, suggestion
from definitions.models import DRIVERS, Call, Job, JobSpec, OnLost, Param, Params, ParamType, Workflow, WorkflowSpec
from definitions.params import ParamError, cast
from definitions.program import DEFAULT_EVERY, Reading, Unit
from definitions.scopes import Scope, Site, texts
from definitions.values import Json


@dataclass(frozen=True, slots=True)
class Rejected:
    """What `find` answers for a name that is known, while no version of it is in force."""

    reason: str


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


@dataclass(frozen=True, slots=True)
class Layer:
    """Options that apply to a unit, and the place that they stand at. `inner`: that place is a Job."""

    options: Call | JobSpec
    site: Site
    inner: bool


def compile_job(context: Context, definition: Definition, spec: JobSpec) -> Unit | None:
    """The unit of a job that a task runs directly: its arguments are the task's parameters. None after a finding."""
    site = job_site(spec, context.report)
    check_params(spec.params, site)
    driver = one_driver(spec, site)
    if driver is None:
        return None
    values: dict[str, Json] = {name: f"${{{{ params.{name} }}}}" for name in spec.params}
    unit = _unit(context, definition.name, definition.path, [Layer(spec, site, inner=True)])
    return unit and replace(unit, params=spec.params, arguments=template(values))


def compile_reference(context: Context, site: Site, call: Call, outer: Call | None) -> Unit | None:
    """The unit of a step or call that names a job. None after a finding, or if the job is not in force."""
    found = context.job(call.job or "", site.at("job"))
    if found is None:
        return None
    definition, spec = found
    arguments = check_arguments(definition, spec.params, call.with_, site.at("with"))
    layers = [Layer(call, site, inner=False), Layer(spec, job_site(spec, Report()), inner=True)]
    unit = _unit(context, definition.name, definition.path, layers, outer)
    return unit and replace(unit, params=spec.params, arguments=arguments)


def compile_block(context: Context, site: Site, call: Call, outer: Call | None, path: str) -> Unit | None:
    """The unit of a step or call (its path in the program is `path`) with a driver block of its own."""
    if call.with_:
        site.report.add((*site.path, "with"), "E-PARAM", "`with` fills the parameters of a job; there is none here")
    return _unit(context, path, context.target.path, [Layer(call, site, inner=False)], outer)


def job_site(spec: JobSpec, report: Report) -> Site:
    """The place of a job's own texts."""
    return Site(("spec",), Scope(params=frozenset(spec.params)), report)


def one_driver(spec: JobSpec, site: Site) -> str | None:
    """The driver of a job; None with a finding unless there is one."""
    if len(spec.drivers) == 1:
        return spec.drivers[0]
    found = f"this one has {listing(spec.drivers)}" if spec.drivers else f"one of {listing(DRIVERS)}"
    site.report.add(site.path, "E-DRIVER", f"a job has one driver block: {found}")
    return None


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
        refuse_secrets(value, path, site.report)
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


def _unit(context: Context, name: str, source: str, layers: Sequence[Layer], outer: Call | None = None) -> Unit | None:
    """Join the layers (nearest first; the last one holds the block) and what the step around a call says."""
    holder = layers[-1]
    driver = holder.options.driver or ""
    block = _request(context, driver, holder)
    until = _until(layers)
    outputs = _outputs(layers)
    if block is None:
        return None
    value, request, secrets = block
    options = [layers[0].options, *([outer] if outer else []), *(layer.options for layer in layers[1:])]
    limit, group, group_inner = _concurrency(layers)
    return Unit(
        job=name,
        source=source,
        driver=driver,
        request=request,
        secrets=secrets,
        inner=holder.inner,
        until=until,
        outputs=outputs,
        every=_first(each.every for each in options) or DEFAULT_EVERY,
        max_calls=_first(each.max_calls for each in options),
        retry=_first(each.retry for each in options),
        timeout=_first(layer.options.timeout for layer in layers),
        on_lost=_first(each.on_lost for each in options) or _on_lost(driver, value),
        deduplicates=_deduplicates(driver, value),
        uses_result=_reads_result(value, until, outputs),
        limit=limit,
        group=group,
        group_inner=group_inner,
        sample=_first(layer.options.sample for layer in layers),
    )


def _request(context: Context, driver: str, holder: Layer) -> tuple[dict[str, Any], Template, dict[str, str]] | None:
    site = holder.site.at(driver)
    if driver not in context.drivers:
        site.report.add(site.path, "E-DRIVER", f"the {driver} driver is not part of this version", on_key=True)
    value = block_value(getattr(holder.options, driver))
    check_block(driver, value, site)
    hidden, secrets = hide_secrets(value, site)
    request = site.template(hidden)
    return None if request is None else (value, request, secrets)


def _until(layers: Sequence[Layer]) -> Reading | None:
    layer = next((layer for layer in layers if layer.options.until is not None), None)
    if layer is None or layer.options.until is None:
        return None
    expression = layer.site.plus("result").at("until").expression(layer.options.until)
    return None if expression is None else Reading(expression, layer.inner)


def _outputs(layers: Sequence[Layer]) -> dict[str, Reading]:
    layer = next((layer for layer in layers if layer.options.outputs), None)
    if layer is None:
        return {}
    gathered = isinstance(layer.options, Call) and layer.options.for_each is not None
    site = layer.site.plus("results" if gathered else "result")
    found = {name: site.at("outputs", name).expression(text) for name, text in layer.options.outputs.items()}
    return {name: Reading(expression, layer.inner) for name, expression in found.items() if expression is not None}


def _concurrency(layers: Sequence[Layer]) -> tuple[int | None, Template | None, bool]:
    layer = next((layer for layer in layers if layer.options.concurrency is not None), None)
    concurrency = layer.options.concurrency if layer is not None else None
    if layer is None or concurrency is None:
        return None, None, False
    site = layer.site.at("concurrency", "group")
    group = None if concurrency.group is None else site.template(concurrency.group)
    return concurrency.limit, group, layer.inner and group is not None


def _on_lost(driver: str, value: Mapping[str, Any]) -> OnLost:
    return OnLost.RETRY if driver == "http" and _reads_only(value) else OnLost.HOLD


def _deduplicates(driver: str, value: Mapping[str, Any]) -> bool:
    return driver == "http" and bool(_reads_only(value) or value.get("idempotent") or value.get("alreadyExists"))


def _reads_only(value: Mapping[str, Any]) -> bool:
    return value.get("method", "GET") in ("GET", "HEAD")


def _reads_result(value: Mapping[str, Any], until: Reading | None, outputs: Mapping[str, Reading]) -> bool:
    """Whether an answer that is not JSON would be of no use."""
    readings = [*([until] if until else []), *outputs.values()]
    asked = "alreadyExists" in value or "verify" in value
    return asked or any(path[0] == "result" for each in readings for path in each.expression.references)


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
