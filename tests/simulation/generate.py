"""Random cases: small flows with every feature a step can have, a history of commits, and half of all faults."""

import random
from dataclasses import replace
from datetime import datetime
from typing import Any

from tests.simulation.case import FAULTS, FLAVOURS, Case, Flow, Operation, Schedule, Step, Work
from tests.simulation.event_loop import START
from tests.simulation.generate_people import answered, crowded

_ZONE = "America/New_York"
_CRONS = ("* * * * *", "* * * * *", "*/2 * * * *", "0,1 1-3 * * *", "0-59 1,2,3 * * *", "30 2 * * *")
_BEGINNINGS = (
    "2026-11-23T12:00:00+00:00",
    "2027-03-14T07:00:00+00:00",  # clocks are put forward
    "2027-11-07T06:00:00+00:00",  # and back
)
_CONDITIONS = ("params.flag", "not params.flag", "task.run == 1")


def generate(seed: int) -> Case:
    """The case of `seed`."""
    luck = random.Random(seed)
    faults = frozenset(luck.sample(FAULTS, len(FAULTS) // 2))
    flows = tuple(_flow(luck, f"flow{number}") for number in range(luck.choice((1, 1, 2))))
    flows = _structured(random.Random(f"{seed} structure"), flows)
    if "restore" in faults:
        flows = tuple(_without_endless_polls(flow) for flow in flows)
    flows = _grouped(random.Random(f"{seed} groups"), flows)
    case = Case(
        seed,
        flows,
        _operations(luck, flows, faults),
        faults,
        room=luck.choice((None, None, None, 1, 2)),
        hold=luck.random() < 0.1,
    )
    case = _scheduled(random.Random(f"{seed} triggers"), case)
    return crowded(random.Random(f"{seed} crowd"), answered(random.Random(f"{seed} answers"), case))


def _grouped(luck: random.Random, flows: tuple[Flow, ...]) -> tuple[Flow, ...]:
    """The same flows, in a third of all cases with concurrency groups, some of which several of them share."""
    if luck.random() < 0.67:
        return flows
    return tuple(_with_groups(luck, flow) for flow in flows)


def _with_groups(luck: random.Random, flow: Flow) -> Flow:
    inner = flow.name == "inner"
    steps = [replace(step, works=tuple(_in_group(luck, work, inner) for work in step.works)) for step in flow.steps]
    if luck.random() < 0.3:
        return replace(flow, steps=tuple(steps))
    return replace(flow, steps=tuple(steps), limit=luck.choice((1, 1, 1, 2)), group=_group(luck), policy=_policy(luck))


def _in_group(luck: random.Random, work: Work, inner: bool) -> Work:
    """The same work, in a workflow that others run more often with a limit, beyond which something is turned away."""
    if luck.random() < (0.2 if inner else 0.6):
        return work
    policy = luck.choice(("skip", "replace")) if inner else _policy(luck)
    return replace(work, limit=luck.choice((1, 1, 2)), group=_group(luck), policy=policy)


def _group(luck: random.Random) -> str:
    return luck.choice(("", "", "main", "${{ task.namespace }}"))


def _policy(luck: random.Random) -> str:
    return luck.choice(("queue", "queue", "skip", "replace"))


def _scheduled(luck: random.Random, case: Case) -> Case:
    """The same case, in a third of all with triggers, whose times often lie where clocks are put forward or back."""
    if luck.random() < 0.67:
        return case
    made = tuple(_schedule(luck, f"k{number}", case.flows) for number in range(luck.choice((1, 1, 2))))
    begin = luck.choice(_BEGINNINGS)
    ahead = (datetime.fromisoformat(begin) - START).total_seconds() - luck.uniform(0, 15)
    operations = [*case.operations]
    at = 0.0
    for _ in range(luck.choice((0, 0, 1, 2, 3))):
        at = round(at + luck.uniform(1, 50), 3)
        kind = luck.choice(("suspend", "resume", "remove", "add", "change"))
        operations.append(Operation(at, f"trigger_{kind}", luck.choice(made).name, luck.choice(_CRONS)))
    operations.append(Operation(luck.choice((5.0, 70.0, 190.0)), "trigger_add", made[0].name))
    flow = luck.choice(case.flows).name
    operations += [Operation(round(luck.uniform(1, 15), 3), "change", "", flow)] * luck.choice((0, 1))
    hold = case.hold or luck.random() < 0.2
    return replace(case, schedules=made, ahead=ahead, operations=tuple(operations), hold=hold)


def _schedule(luck: random.Random, name: str, flows: tuple[Flow, ...]) -> Schedule:
    flow = luck.choice(flows).name
    overlap = luck.choice(("skip", "queue", "replace"))
    kind = luck.random()
    if kind < 0.15:
        return Schedule(name, flow, overlap=overlap)
    if kind < 0.3:
        return Schedule(name, flow, path=f"{luck.choice(flows).name}.yaml", overlap=overlap)
    missed, within = luck.choice(("skip", "latest", "all")), luck.choice((None, None, 90))
    return Schedule(name, flow, luck.choice(_CRONS), _ZONE, "", missed, within, overlap)


def _structured(luck: random.Random, flows: tuple[Flow, ...]) -> tuple[Flow, ...]:
    """The same flows, in half of all cases with lists, waits, a workflow inside the first one and a step at the end."""
    if luck.random() < 0.5:
        return flows
    made = [replace(flow, steps=tuple(_structured_step(luck, step, flow) for step in flow.steps)) for flow in flows]
    if luck.random() < 0.7:
        made.append(replace(_flow(luck, "inner"), timeout=luck.choice((None, 6, 15))))
        place = luck.randrange(len(made[0].steps))
        steps = [replace(each, body="inner") if at == place else each for at, each in enumerate(made[0].steps)]
        made[0] = replace(made[0], steps=tuple(steps))
    return tuple(replace(flow, exit=_last(luck)) if luck.random() < 0.7 else flow for flow in made)


def _last(luck: random.Random) -> Work:
    """What runs at the end, often long enough to be stopped there."""
    work = _work(luck)
    return replace(work, seconds=6.0) if luck.random() < 0.3 and work.polls == 1 and work.timeout is None else work


def _structured_step(luck: random.Random, step: Step, flow: Flow) -> Step:
    kind = luck.random()
    read = step is flow.steps[0] or any(
        step.name in each.reads or f"steps.{step.name}." in (each.condition or "") for each in flow.steps
    )
    if kind < 0.3 and not read:
        return replace(step, pause=luck.choice((0.0, 1.0, 6.0, 30.0, 30.0)), condition=None)
    if kind < 0.55:
        return replace(step, items=luck.choice((1, 2, 3, 5)), parallelism=luck.choice((None, 1, 2)))
    return step


def _without_endless_polls(flow: Flow) -> Flow:
    """In a restored database every poll is asked about first; where nobody can be asked it is lost, again and again."""
    steps = []
    for step in flow.steps:
        works = (replace(work, polls=1) if work.on_lost == "retry" else work for work in step.works)
        steps.append(replace(step, works=tuple(works)))
    last = replace(flow.exit, polls=1) if flow.exit and flow.exit.on_lost == "retry" else flow.exit
    return replace(flow, steps=tuple(steps), exit=last)


def _flow(luck: random.Random, name: str) -> Flow:
    steps: list[Step] = []
    for number in range(luck.choice((1, 1, 2, 2, 3, 3, 4, 6))):
        steps.append(_step(luck, f"s{number}", [step.name for step in steps]))
    names: list[Any] = [step.name for step in steps]
    order = _nest(luck, names, 3) if luck.random() < 0.6 else ()
    return Flow(name, tuple(steps), tuple(order), luck.choice((None, None, None, 20)))


def _nest(luck: random.Random, names: list[Any], depth: int) -> tuple[Any, ...]:
    """Some neighbours in groups, and some neighbours in those, as deep as `depth` + 1."""
    if depth == 0 or len(names) < 2 or luck.random() < 0.3:
        return tuple(names)
    start = luck.randrange(len(names) - 1)
    end = luck.randrange(start + 2, len(names) + 1)
    return (*names[:start], _nest(luck, names[start:end], depth - 1), *names[end:])


def _step(luck: random.Random, name: str, earlier: list[str]) -> Step:
    several = luck.random() < 0.2
    works = tuple(_work(luck) for _ in range(luck.choice((2, 2, 3)) if several else 1))
    condition = luck.choice(_CONDITIONS) if luck.random() < 0.15 else None
    reads = tuple(luck.sample(earlier, min(len(earlier), luck.choice((0, 0, 1, 2)))))
    if reads and luck.random() < 0.2:
        condition = f"steps.{reads[0]}.value != None"
    return Step(
        name,
        works,
        reads,
        tuple(luck.sample(earlier, min(len(earlier), luck.choice((0, 0, 0, 1))))),
        condition,
        continue_on_error=luck.random() < 0.2,
        timeout=luck.choice((None, 15)) if several else None,
    )


def _work(luck: random.Random) -> Work:
    flavour = luck.choice(FLAVOURS)
    work = _any_work(luck, flavour)
    if work.fails and luck.random() < 0.7:
        work = replace(work, retry=max(work.fails, work.retry or 0))
    endless = work.timeout and work.timeout <= work.polls * (work.seconds + 3)  # lost each time, again for ever
    return replace(work, on_lost="hold") if endless and work.on_lost == "retry" else work


def _any_work(luck: random.Random, flavour: str) -> Work:
    return Work(
        flavour,
        fails=luck.choice((0, 0, 0, 0, 0, 0, 1, 2)),
        polls=luck.choice((1, 1, 1, 1, 2, 3)),
        seconds=luck.choice((0.0, 0.1, 0.5, 2.0, 6.0)),
        retry=luck.choice((None, None, 1, 2)),
        timeout=luck.choice((None, None, None, None, 3, 10)),
        on_lost=luck.choice((None, None, "hold", "retry", "fail")),
        max_calls=luck.choice((None, None, None, 2)),
        cancel=luck.random() < 0.3,
        limit=luck.choice((None, None, None, None, 1)),
        shared=luck.random() < 0.3,
        targets=luck.choice((0, 0, 1, 1, 2)) if flavour == "container" else 1,
    )


def _operations(luck: random.Random, flows: tuple[Flow, ...], faults: frozenset[str]) -> tuple[Operation, ...]:
    tasks = [f"t{number}" for number in range(luck.choice((1, 1, 1, 2, 3)))]
    found = [Operation(0.0, "add", name, luck.choice(flows).name) for name in tasks]
    at = 0.0
    kinds = ["remove", "add", "move", "drift", "suspend", "resume", "policy", "run", "change", "revert"]
    kinds += ["revoke"] * 3
    kinds += [kind for kind in ("force_push", "empty_tree") if kind in faults for _ in range(2)]
    kinds += ["bad_file", "bad_flow", "mend"] if "bad_file" in faults else []
    for _ in range(luck.choice((0, 0, 1, 1, 2, 3, 4))):
        at = round(at + luck.uniform(0, 6), 3)
        flow = luck.choice(flows).name
        found.append(Operation(at, luck.choice(kinds), luck.choice(tasks), flow))
    return tuple(found)
