"""A failing case made small: parts are left out one by one as long as the same invariant still breaks."""

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.case import Case, Flow, Step, Work
from tests.simulation.play import play

PLAYS = 400
_OPTIONS = (
    "fails",
    "polls",
    "retry",
    "timeout",
    "on_lost",
    "max_calls",
    "cancel",
    "limit",
    "group",
    "policy",
    "shared",
    "targets",
    "seconds",
)


def kind_of(violation: str) -> str:
    """What is broken, without which task or seed it was: the first words."""
    return " ".join(violation.split()[:1])


def shrink(case: Case, plays: int = PLAYS) -> Case:
    """The smallest case that is found within so many plays and breaks the same invariant; `case` itself breaks one."""
    wanted = kind_of(play(case).violation)
    smaller = True
    while smaller and plays > 0:
        smaller = False
        for candidate in _smaller(case):
            plays -= 1
            if plays < 0:
                break
            if kind_of(play(candidate).violation) == wanted:
                case, smaller = candidate, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Cases with one part less, the biggest parts first."""
    for place in range(len(case.operations)):
        yield replace(case, operations=case.operations[:place] + case.operations[place + 1 :])
    for fault in sorted(case.faults):
        yield replace(case, faults=case.faults - {fault})
    for place in range(len(case.schedules)):
        yield replace(case, schedules=case.schedules[:place] + case.schedules[place + 1 :])
    for flow in case.flows:
        if len(case.flows) > 1:
            yield replace(case, flows=tuple(each for each in case.flows if each is not flow))
        for smaller in _smaller_flows(flow):
            yield replace(case, flows=tuple(smaller if each is flow else each for each in case.flows))
    for changes in ({"room": None}, {"hold": False}, {"ahead": 0.0}, {"crash_at": case.crash_at[1:]}):
        changed = replace(case, **changes)
        if changed != case:
            yield changed


def _smaller_flows(flow: Flow) -> Iterator[Flow]:
    for step in flow.steps if len(flow.steps) > 1 else ():
        rest = tuple(_without(each, step.name) for each in flow.steps if each is not step)
        yield replace(flow, steps=rest, order=_pruned(flow.order, step.name))
    if flow.order:
        yield replace(flow, order=())
    if flow.timeout:
        yield replace(flow, timeout=None)
    if flow.exit:
        yield replace(flow, exit=None)
    if flow.limit:
        yield replace(flow, limit=None, group="", policy="queue")
    for step in flow.steps:
        for smaller in _smaller_steps(step):
            yield replace(flow, steps=tuple(smaller if each is step else each for each in flow.steps))


def _smaller_steps(step: Step) -> Iterator[Step]:
    plain = Step(step.name, step.works)
    if plain != step:
        yield plain
    for changes in ({"body": ""}, {"pause": None}, {"approval": False}, {"items": None, "parallelism": None}):
        if replace(step, **changes) != step:
            yield replace(step, **changes)
    for place in range(len(step.works) if len(step.works) > 1 else 0):
        yield replace(step, works=step.works[:place] + step.works[place + 1 :])
    for place, work in enumerate(step.works):
        for smaller in _smaller_works(work):
            yield replace(step, works=(*step.works[:place], smaller, *step.works[place + 1 :]))


def _smaller_works(work: Work) -> Iterator[Work]:
    plain = Work(work.flavour)
    for name in _OPTIONS:
        if getattr(work, name) != getattr(plain, name):
            yield replace(work, **{name: getattr(plain, name)})


def _without(step: Step, name: str) -> Step:
    reads = tuple(each for each in step.reads if each != name)
    condition = None if step.condition and f"steps.{name}." in step.condition else step.condition
    return replace(step, reads=reads, needs=tuple(each for each in step.needs if each != name), condition=condition)


def _pruned(order: tuple[object, ...], name: str) -> tuple[object, ...]:
    found = [_pruned(each, name) if isinstance(each, tuple) else each for each in order if each != name]
    return tuple(each for each in found if each != ())
