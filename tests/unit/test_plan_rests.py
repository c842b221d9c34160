"""Files that come, go and break in any order, and a loop that asks only what is dirty: nothing that may happen is left.

After each step of a history everything is asked anew; if more is done then, a wake-up was lost. The definitions change
under their tasks here, which the properties of one flow (`test_plan_properties`) do not do.
"""

import os
import random
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from reconciler.actions import Verb
from reconciler.drivers.protocol import Ended, Observation, Running, Unknown
from reconciler.judgement import Report
from reconciler.observed import Limits
from tests.stage import Stage

HISTORIES = int(os.environ.get("HISTORIES", "24"))
FIRST = int(os.environ.get("FIRST", "0"))
STEPS = 40
TURNS = 30
"""After so many turns in which something happens the planner does not come to rest."""
POLICIES = ("queue", "skip", "replace")
NAMES = {
    "jobs": ("j1", "j2"),
    "workflows": ("w1", "w2"),
    "tasks": ("t1", "t2", "t3", "t4"),
    "triggers": ("r1", "r2"),
}
PATHS = ("a", "b", "job", "c.0", "w.a", "onExit")
Body = dict[str, Any]


def some(dice: random.Random, chances: Mapping[str, tuple[float, Any]]) -> Body:
    """The entries that chance lets in."""
    return {name: value for name, (chance, value) in chances.items() if dice.random() < chance}


def group(dice: random.Random, *limits: int) -> Body:
    """A concurrency rule, of the group that all share or of its own."""
    shared = some(dice, {"group": (0.5, "g")})
    return {"limit": dice.choice(limits), "policy": dice.choice(POLICIES), **shared}


def job(dice: random.Random) -> Body:
    """A call that reads or writes."""
    chances = {
        "retry": (0.3, {"limit": 1}),
        "onLost": (0.3, dice.choice(["retry", "hold", "fail"])),
        "concurrency": (0.4, group(dice, 1)),
        "timeout": (0.2, "1h"),
    }
    called = {"method": dice.choice(["POST", "GET"]), "url": "http://api/"}
    return {"http": called, "outputs": {"v": "result.v"}, **some(dice, chances)}


def workflow(dice: random.Random, *, outer: bool) -> Body:
    """Steps of every kind; the outer one may call the other."""
    called = partial(dice.choice, NAMES["jobs"])
    first = {"job": called(), **some(dice, {"continueOnError": (0.3, True)})}
    chances = {
        "c": (0.3, {"forEach": "[1, 2]", "job": "j1"}),
        "p": (0.3, {"approval": {"message": "?"}}),
        "z": (0.3, {"wait": {"for": "30m"}}),
        "w": (0.5 if outer else 0.0, {"workflow": "w2"}),
    }
    steps = {"a": first, "b": {"job": called(), "needs": ["a"]}, **some(dice, chances)}
    around = {
        "onExit": (0.3, {"job": "j2"}),
        "concurrency": (0.6, group(dice, 1, 1, 2)),
        "timeout": (0.2, "2h"),
    }
    return {"steps": steps, **some(dice, around)}


def runs(dice: random.Random) -> Body:
    """What a task asks for."""
    kind = dice.choice(["job", "workflow"])
    return {kind: dice.choice(NAMES[f"{kind}s"])}


def trigger(dice: random.Random) -> Body:
    """By the clock, at commits, or when what its task runs with is another."""
    overlap = dice.choice(["skip", "queue", "queue", "replace"])
    by_clock = {"cron": dice.choice(["0 * * * *", "*/30 * * * *"]), "missed": dice.choice(["skip", "latest", "all"])}
    (when,) = dice.choices(
        ({**by_clock, "overlap": overlap}, {"onCommit": {"paths": ["jobs/*"]}, "overlap": overlap}, {"onChange": True}),
        (14, 3, 3),
    )
    return {
        "spec": {"task": runs(dice), **when},
        **some(dice, {"control": (0.15, {"state": "suspended", "reason": "r"})}),
    }


def control(dice: random.Random, stage: Stage) -> Body:
    """What a person may say of a task, fitting or not."""
    until = (stage.now + timedelta(minutes=dice.choice([-5, 40]))).isoformat()
    states = (
        {"state": "running"},
        {"state": "suspended", "reason": "r", **some(dice, {"until": (0.3, until)})},
        {"state": "revoked", "reason": "r"},
    )
    commit = max(1, len(stage.shelf.history) - dice.choice([0, 1]))
    said = some(dice, {"run": (0.3, dice.choice([1, 2, 2, 3])), "repin": (0.2, f"{commit:07}")})
    words = (
        {"retry": {"failed": dice.choice([1, 2])}},
        {"skip": {"reason": "s"}},
        {"resolve": {"attempt": 1, "as": dice.choice(["succeeded", "failed"]), "reason": "r"}},
    )
    steps = some(dice, {path: (0.25, dice.choice(words)) for path in PATHS})
    state = dice.choice(states) if dice.random() < 0.5 else {}
    return {**state, **said, **({"steps": steps} if steps else {})}


def task(dice: random.Random, stage: Stage) -> Body:
    """A file that wants a run."""
    return {"spec": runs(dice), **some(dice, {"control": (0.5, control(dice, stage)), "deletePolicy": (0.2, "revoke")})}


def body(dice: random.Random, stage: Stage, kind: str, name: str) -> Body:
    """What a file says of this name; sometimes nothing that a model takes."""
    if dice.random() < 0.12:
        return {"metadata": {"name": name}, "spec": {"odd": 1}, "odd": 1}
    if kind == "workflows":
        return workflow(dice, outer=name == "w1")
    return {"jobs": job, "triggers": trigger}[kind](dice) if kind in {"jobs", "triggers"} else task(dice, stage)


def commit(dice: random.Random, stage: Stage) -> None:
    """Some files made, changed, broken or taken away; also those that control what a trigger made."""
    documents: dict[str, dict[str, Any]] = {}
    made = [each.record.name for each in stage.snapshot.tasks.values() if each.record.trigger]
    for kind in dice.choices([*NAMES, "made"], (1, 1, 3, 1, 1), k=dice.choice([1, 1, 2, 3])):
        if kind == "made" and not made:
            continue
        folder, name = ("tasks", dice.choice(made)) if kind == "made" else (kind, dice.choice(NAMES[kind]))
        stands = f"{folder}/{name}.yaml" in stage.shelf.files
        said = (
            {"control": control(dice, stage) or {"state": "running"}}
            if kind == "made"
            else body(dice, stage, kind, name)
        )
        documents.setdefault(folder, {})[name] = None if stands and dice.random() < 0.2 else said
    stage.commit(documents)


def report(dice: random.Random, stage: Stage) -> list[Report]:
    """How something that is under way went on."""
    if not stage.flying:
        return []
    order = stage.flying[dice.choice(list(stage.flying))]
    seen: Observation
    if order.verb is Verb.CLEAN:
        seen = Ended(succeeded=True)
    elif order.verb is Verb.CANCEL:
        seen = dice.choice((Ended(succeeded=False, cancelled=True), Unknown("?")))
    else:
        (seen,) = dice.choices(
            (
                Ended(succeeded=True, result={"v": 1}),
                Ended(succeeded=False, message="no"),
                Unknown("?"),
                Running({"id": 1}, 5.0),
            ),
            (5, 2, 2, 1),
        )
    attempt = order.attempt
    return [Report(attempt.uid, attempt.path, attempt.number, attempt.call, order.verb, seen)]


def happens(dice: random.Random, stage: Stage) -> list[Report]:
    """One thing: a commit, a report, a crash, or time."""
    (kind,) = dice.choices(("commit", "report", "crash", "wait"), (35, 35, 10, 20))
    if kind == "report":
        return report(dice, stage)
    if kind == "commit":
        commit(dice, stage)
    elif kind == "crash":
        stage.crash()
    else:
        stage.wait(timedelta(minutes=dice.choice([1, 30, 61, 180])))
    return []


def come_to_rest(stage: Stage) -> None:
    """Turn until nothing happens of itself."""
    for _ in range(TURNS):
        if not stage.turn().actions:
            return
    raise AssertionError("it never rests")


def asked_anew(stage: Stage) -> list[str]:
    """What is done once everything is asked, as after a start."""
    assert stage.force is not None
    stage.waiting |= {(each.namespace, each.name) for each in stage.force.tasks()}
    stage.waiting |= {each.record.identity for each in stage.snapshot.tasks.values()}
    stage.looks |= {(each.namespace, each.name) for each in stage.force.triggers()}
    stage.looks |= {each.identity for each in stage.snapshot.triggers.values()}
    return [str(action) for action in stage.turn().actions]


@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
def test_whatever_becomes_of_the_files_nothing_that_may_happen_is_left(seed):
    dice = random.Random(seed)
    stage = Stage(limits=Limits(total=dice.choice([None, 1, 3])), hold=dice.random() < 0.05)
    jobs = {name: job(dice) for name in NAMES["jobs"]}
    workflows = {name: workflow(dice, outer=name == "w1") for name in NAMES["workflows"]}
    stage.commit(
        {"jobs": jobs, "workflows": workflows, "tasks": {"t1": task(dice, stage)}, "triggers": {"r1": trigger(dice)}}
    )
    began = 0
    for _ in range(STEPS):
        began += bool(stage.turn(happens(dice, stage)).actions)
        come_to_rest(stage)
        assert asked_anew(stage) == []

    assert began
