"""What people do in random cases beyond changing files: they answer what they saw a while ago, and take away many files."""

import random
from dataclasses import replace

from tests.simulation.case import Case, Flow, Operation, Step

ANSWERS = ("retry", "retry", "skip", "resolve", "approve", "until", "repin", "expect")
CROWD = 7
"""More than may go without a word; such a case takes twice the time of others, so there are few."""


def answered(luck: random.Random, case: Case) -> Case:
    """The same case, in half of all with people who answer about steps, some of whom saw an older state."""
    if luck.random() < 0.5:
        return case
    flows = tuple(_approved(luck, flow) for flow in case.flows)
    names = sorted({each.subject for each in case.operations if each.kind == "add"})
    names += [each.name for each in case.schedules]
    kinds = ANSWERS + ("approve",) * 4 * any(step.approval for flow in flows for step in flow.steps)
    found, at = [*case.operations], 0.0
    for _ in range(luck.choice((1, 2, 3, 4, 6))):
        at = round(at + luck.uniform(0.5, 12), 3)
        kind, name = luck.choice(kinds), luck.choice(names)
        if kind == "repin":
            found.append(Operation(round(at - 0.4, 3), "change", "", luck.choice(flows).name))
        found.append(Operation(at, kind, name, seen=luck.choice((0.0, 0.0, 0.3, 2.0, 8.0))))
        if luck.random() < 0.15:
            found.append(replace(found[-1], at=round(at + luck.uniform(0, 3), 3)))
    return replace(case, flows=flows, operations=tuple(found))


def _approved(luck: random.Random, flow: Flow) -> Flow:
    """The same flow, sometimes with a step that nobody reads made an approval."""
    if luck.random() < 0.6:
        return flow
    free = [step for step in flow.steps if not _is_read(step, flow)]
    if not free or len(flow.steps) == 1:
        return flow
    chosen = luck.choice(free)
    made = replace(chosen, items=None, body="", pause=None, condition=None, timeout=None, approval=True)
    return replace(flow, steps=tuple(made if step is chosen else step for step in flow.steps))


def _is_read(step: Step, flow: Flow) -> bool:
    read = any(step.name in each.reads or f"steps.{step.name}." in (each.condition or "") for each in flow.steps)
    return read or step is flow.steps[0]


def crowded(luck: random.Random, case: Case) -> Case:
    """The same case, in a few of all with many tasks that one commit takes away, and perhaps one that means it."""
    if luck.random() < 0.96:
        return case
    found = [*case.operations, Operation(0.1, "crowd", value=luck.choice(case.flows).name)]
    at = round(luck.uniform(0.3, 4), 3)
    found.append(Operation(at, "disperse"))
    for _ in range(luck.choice((0, 1, 2))):
        at = round(at + luck.uniform(0.1, 6), 3)
        found.append(Operation(at, luck.choice(("confirm", "confirm", "confirm_few", "crowd", "empty_tree"))))
    return replace(case, operations=tuple(found))
