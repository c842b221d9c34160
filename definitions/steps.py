"""What every step and call has whatever it does: its kind, its condition, the list it goes over, what it waits for.

Values from models to the parts of a Node; each mistake is a finding at its place.
"""

from collections.abc import Mapping, Sequence

from definitions.documents import Path
from definitions.expressions import Expression, Template
from definitions.findings import Report, listing
from definitions.models import DRIVERS, Call, JobSpec, Step, parse_moment
from definitions.program import PARALLELISM, Each, Node, Pause
from definitions.scopes import Site

MAX_ITEMS = 10_000
"""Items of a list at a time, where the step does not say."""

_ONE_TARGET = "`parallelism` of a job is for what runs in several targets; for a list it stands beside `forEach`"

_KINDS = ("job", *DRIVERS, "calls", "workflow", "approval", "wait")


def pause_of(site: Site, step: Step) -> Pause:
    """What a step waits for: somebody's approval, a span, or a time that may be computed."""
    if step.approval is not None:
        return Pause(message=site.at("approval", "message").template(step.approval.message))
    if step.wait is None or step.wait.until is None:
        return Pause(span=step.wait.for_ if step.wait else None)
    place, text = site.at("wait", "until"), step.wait.until
    if "${{" not in text:
        try:
            parse_moment(text)
        except ValueError as error:
            site.report.add(place.path, "E-FIELD", str(error))
    return Pause(until=place.template(text))


def outline(site: Site, call: Call, path: str) -> Node:
    """What every step and call has, whatever it does."""
    within = site.plus("item", "loop") if call.for_each is not None else site
    condition = None if call.if_ is None else within.at("if").expression(call.if_)
    return Node(
        path=path,
        name=path.rpartition(".")[2],
        kind="unit",
        title=call.title,
        condition=condition,
        each=each_of(site, call, condition),
        continue_on_error=call.continue_on_error,
        expect=call.expect,
        timeout=call.timeout,
    )


def kind_of(call: Call, site: Site) -> str:
    """The one thing that a step or call is; "" with a finding if it is none or several."""
    given = [name for name in _KINDS if getattr(call, name, None) is not None]
    if len(given) == 1:
        return given[0]
    what = "a step" if isinstance(call, Step) else "a call"
    possible = _KINDS if isinstance(call, Step) else ("job", *DRIVERS)
    message = f"{what} is one of {listing(possible)}; this one is {listing(given)}"
    site.report.add(site.path, "E-STEP", message)
    return ""


def each_of(site: Site, call: Call, condition: Expression | None) -> Each | None:
    """What the step goes over; None without `forEach` or after a finding."""
    items, place = call.for_each, site.at("forEach")
    if items is None:
        return None
    made: Expression | Template | None = None
    if isinstance(items, str):
        made = place.template(items) if "${{" in items else place.expression(items)
    elif not isinstance(items, list):
        site.report.add(place.path, "E-FIELD", "`forEach` is an expression or a list")
    elif len(items) > MAX_ITEMS:
        site.report.add(place.path, "E-LIMIT", f"{len(items)} items; a step has at most {MAX_ITEMS}")
    else:
        made = place.template(items)
    own = condition is not None and any(path[0] in ("item", "loop") for path in condition.references)
    return Each(made, call.parallelism or PARALLELISM, own) if made is not None else None


def refuse_options(site: Site, step: Step, options: Sequence[str], kind: str) -> None:
    """Report options that have no meaning on a step of this kind."""
    given = {Step.model_fields[name].alias for name in step.model_fields_set}
    for option in options:
        if option in given:
            where = {"calls": "on the calls", "workflow": "in the workflow itself"}.get(kind, "on other steps")
            message = f"`{option}` has no meaning on a step with `{kind}`; it stands {where}"
            site.report.add((*site.path, option), "E-STEP", message, on_key=True)


def expressions(site: Site, texts_by_name: Mapping[str, str]) -> dict[str, Expression]:
    """The named expressions that could be compiled; the others are reported."""
    found = {name: site.at(name).expression(text) for name, text in texts_by_name.items()}
    return {name: expression for name, expression in found.items() if expression is not None}


def check_every(options: Call | JobSpec, path: Path, report: Report) -> None:
    """Warn about a pause between calls of which there is only one."""
    if options.every is not None and options.until is None:
        message = "`every` has no meaning without `until`: there is nothing to call again for"
        report.add((*path, "every"), "W-UNUSED", message, on_key=True)


def check_parallelism(options: Call | JobSpec, path: Path, report: Report) -> None:
    """Warn about how many at a time of what there is one only."""
    if options.parallelism is not None and not (isinstance(options, Call) and options.for_each is not None):
        what = "`parallelism` has no meaning without `forEach`" if isinstance(options, Call) else _ONE_TARGET
        report.add((*path, "parallelism"), "W-UNUSED", f"{what}: there is one only", on_key=True)
