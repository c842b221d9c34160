"""Safety and liveness of the planner as properties: random flows, random histories, and what must hold whatever happens.

A history is a list of small numbers, so hypothesis can shrink it; the world around the planner is `tests.stage`.
"""

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from definitions.desired import Complete
from reconciler.actions import Plan, Verb
from reconciler.drivers.protocol import Ended, NotStarted, Observation, Running, Unknown
from reconciler.failures import BROKEN
from reconciler.judgement import Report
from reconciler.observed import Limits, Observed
from reconciler.plan.whole import plan
from reconciler.position import Position, locate
from state.changes import Admitted, StepAdvanced, TaskAdvanced
from state.phases import ENDED_STEPS, AttemptPhase, Signal, StepPhase, TaskPhase
from state.records import AttemptRecord, Cause, Identity, TaskSnapshot
from tests.stage import Stage, intended

STEPS = ("a", "b", "c", "d", "e", "f")
STATES = ("running", "suspended", "revoked")
POLICIES = ("queue", "queue", "skip", "replace")
HUGE = "x" * 200_000
DEEP: Any = 0
for _ in range(90):
    DEEP = [DEEP]

# -- what is run ---------------------------------------------------------------------------------------------------------


def rule(dice: random.Random, chance: float, group: str) -> dict[str, Any]:
    """A concurrency rule, with its limit as the last digit of its group, whoever uses that."""
    if dice.random() >= chance:
        return {}
    limit = dice.randint(1, 2)
    return {"concurrency": {"limit": limit, "group": f"{group}{limit}", "policy": dice.choice(POLICIES)}}


def job(dice: random.Random) -> dict[str, Any]:
    """A job that reads or writes, with some of every option."""
    block: dict[str, Any] = {"method": dice.choice(["GET", "POST"]), "url": "http://127.0.0.1:9/${{ params.name }}"}
    if dice.random() < 0.2:
        block["idempotent"] = True
    made: dict[str, Any] = {"params": {"name": {"type": "string", "default": "x"}}, "outputs": {"age": "result.age"}}
    made |= {"http": block} if dice.random() < 0.8 else {"process": {"command": ["true"]}}
    made |= {"until": "result.age > 2", "every": dice.choice(["1s", "4s"])} if dice.random() < 0.4 else {}
    made |= {"maxCalls": dice.randint(1, 3)} if "until" in made and dice.random() < 0.5 else {}
    made |= {"timeout": dice.choice(["3s", "20s"])} if dice.random() < 0.4 else {}
    made |= {"onLost": dice.choice(["hold", "retry", "fail"])} if dice.random() < 0.5 else {}
    made |= rule(dice, 0.3, "calls ")
    if dice.random() < 0.5:
        made["retry"] = {"limit": dice.choice([1, 2, "unlimited"]), "every": "2s", "backoff": dice.choice([1, 2])}
    return made


def nested(dice: random.Random, names: list[str], depth: int = 0) -> list[Any]:
    """A flow of these names, at most four lists deep."""
    if len(names) < 2 or depth == 3:
        return list(names)
    cut = dice.randint(1, len(names) - 1)
    parts = [names[:cut], names[cut:]]
    return [part[0] if len(part) == 1 else nested(dice, part, depth + 1) for part in parts]


def step(dice: random.Random, earlier: list[str]) -> dict[str, Any]:
    """A step that may read what came before it."""
    seen = dice.choice(earlier) if earlier and dice.random() < 0.5 else ""
    value = f"${{{{ steps.{seen}.age }}}}" if seen else "y"
    given_with = {"with": {"name": value}} if dice.random() < 0.5 else {}
    if dice.random() < 0.25:
        calls = {key: {"job": dice.choice(["one", "two"]), **given_with} for key in ("p", "q")[: dice.randint(1, 2)]}
        made: dict[str, Any] = {"calls": calls, "outputs": {"age": "calls.p.age"}}
        made |= {"timeout": "6s"} if dice.random() < 0.4 else {}
    elif dice.random() < 0.2:
        made = {"workflow": "inner"}
    else:
        made = {"job": dice.choice(["one", "two"]), **given_with}
    made |= {"if": f"steps.{seen}.age != 1" if seen else "params.go"} if dice.random() < 0.3 else {}
    made |= {"continueOnError": True} if dice.random() < 0.3 else {}
    made |= {"needs": [dice.choice(earlier)]} if earlier and dice.random() < 0.2 else {}
    return made


def workflow(dice: random.Random) -> dict[str, Any]:
    names = list(STEPS[: dice.randint(1, 6)])
    made: dict[str, Any] = {
        "params": {"go": {"type": "boolean", "default": True}},
        "steps": {name: step(dice, names[:index]) for index, name in enumerate(names)},
        "outputs": {"last": f"steps.{names[-1]}.age"},
    }
    made |= {"flow": nested(dice, names)} if dice.random() < 0.7 else {}
    made |= {"timeout": "15s"} if dice.random() < 0.3 else {}
    return made | rule(dice, 0.4, "runs ")


def inner(dice: random.Random) -> dict[str, Any]:
    """A workflow for inside."""
    return {"steps": {"z": {"job": "two"}}, "outputs": {"age": "steps.z.age"}, **rule(dice, 0.5, "runs ")}


def definitions(dice: random.Random) -> dict[str, Any]:
    tasks = {
        f"{dice.choice(['demo', 'other'])}/t{number}": {
            "spec": {"workflow": "flow", "with": {"go": dice.random() < 0.8}}
        }
        for number in range(dice.randint(1, 4))
    }
    workflows = {"flow": workflow(dice), "inner": inner(dice)}
    return {"jobs": {"one": job(dice), "two": job(dice)}, "workflows": workflows, "tasks": tasks}


def without_groups(found: dict[str, Any]) -> dict[str, Any]:
    """The same definitions without concurrency rules."""
    for each in (*found["jobs"].values(), *found["workflows"].values()):
        each.pop("concurrency", None)
    return found


# -- what happens --------------------------------------------------------------------------------------------------------


def observation(dice: random.Random) -> Observation:
    age: Any = dice.choice([0, 1, 2, 3, 3, 3, None, "old", HUGE, DEEP])
    result: Any = dice.choice([{"age": age}, {"age": age}, {"age": age}, None, [], {"other": 1}])
    seen: list[Observation] = [
        Ended(succeeded=True, result=result, handle={"id": 1}, cleanup=dice.random() < 0.3),
        Ended(succeeded=True, result={"age": 3}),
        Ended(succeeded=False, code=500, message="no"),
        Ended(succeeded=False, message="never again", repeatable=False),
        Ended(succeeded=False, message="cancelled", cancelled=True),
        Ended(succeeded=False, message="too late", timed_out=True),
        Running({"id": 1}, 1.0),
        Running({"id": 1}, 0.0),
        NotStarted("refused", refused=True),
        NotStarted("never arrived"),
        Unknown("cut off"),
    ]
    return dice.choice(seen)


@dataclass
class Watched(Stage):
    """A stage on which every turn is checked. With `slices` each turn sees only some of the tasks."""

    slices: random.Random | None = None

    def observed(self, identities: Iterable[Identity] = ()) -> Observed:
        whole = super().observed(identities)
        if self.slices is None:
            return whole
        known = set(identities)
        tasks = {
            uid: task
            for uid, task in whole.snapshot.tasks.items()
            if task.record.identity in known or self.slices.random() < 0.5
        }
        return replace(whole, snapshot=replace(whole.snapshot, tasks=tasks))

    def turn(self, reports: Any = (), asked: Any = ()) -> Plan:
        before = dict(self.snapshot.tasks)
        planned = super().turn(reports, asked)
        check_decision(planned, before, self)
        check_groups(self)
        return planned


def check_decision(planned: Plan, before: dict[Any, TaskSnapshot], stage: Stage) -> None:
    places = [order.place for order in planned.orders]
    assert len(places) == len(set(places)), "two orders for one place"
    for order in planned.orders:
        now = stage.snapshot.tasks[order.attempt.uid].attempts[order.attempt.path]
        assert now == order.attempt or order.verb is not Verb.START, "what is sent is what is recorded"
        if order.verb is Verb.START:
            assert not now.ended and now.in_flight
    for attempt in intended(planned.changes):
        task = stage.snapshot.tasks[attempt.uid]
        known = before.get(attempt.uid)
        if known and attempt.path in known.steps and attempt.path not in opened(planned, attempt.uid):
            assert known.steps[attempt.path].phase not in ENDED_STEPS, "a finished step begins again"
        live = known is None or known.record.live or known.record.pins == ()
        assert live or opened(planned, attempt.uid), "a task that is over begins again"
        check_order(stage, task, attempt.path)


def opened(planned: Plan, uid: Any) -> set[str]:
    """The steps and (as "") the task that commits take up again in this plan."""
    signals = {Signal.RETRY, Signal.REOPEN, Signal.RESET}
    moved = [each for each in planned.changes if isinstance(each, StepAdvanced | TaskAdvanced) and each.uid == uid]
    return {getattr(each, "path", "") for each in moved if each.signal in signals and each.cause.kind == "commit"}


def check_groups(stage: Stage) -> None:
    """A group never has more than its limit, counted from the rows; and usage is what the rows say."""
    tasks = stage.snapshot.tasks.values()
    runs = Counter(task.record.group for task in tasks if task.record.entered)
    runs.update(row.group for task in tasks for row in task.steps.values() if row.holds)
    assert dict(runs) == stage.snapshot.usage.runs
    calls = Counter(attempt.job for attempt in stage.attempts() if not attempt.ended)
    for group, count in (*runs.items(), *calls.items()):
        assert group[:5] not in {"runs ", "calls"} or count <= int(group[-1]), f"{count} in {group}"


def check_order(stage: Stage, task: TaskSnapshot, path: str) -> None:
    """I4: everything before a step has ended in a way that lets it start."""
    position: Position | None = locate(stage.observed().program(task.record), path)
    while position:
        for earlier in position.before:
            phase = task.steps[earlier.path].phase
            assert phase in ENDED_STEPS, f"{path} starts while {earlier.path} is {phase}"
            assert phase not in BROKEN or earlier.node.continue_on_error
        position = position.around


def check_rest(stage: Stage) -> None:
    """I7: a live task has something under way, a time, a place in line, or a reason that a person can name."""
    first = stage.turn()
    second = stage.turn()
    more = first.again or first.look or first.freed
    assert not second.actions or more, f"planning again gives something: {second}"
    assert not second.orders
    for uid, task in stage.snapshot.tasks.items():
        record = task.record
        flies = any(where == uid for where, _ in stage.flying)
        held = record.phase in {TaskPhase.SUSPENDED, TaskPhase.REMOVED, TaskPhase.UNADOPTED} or (
            record.phase is TaskPhase.CREATED and record.reason in {"DefinitionRejected", "QueuedForGroup"}
        )
        held = held or any(row.reason == "QueuedForGroup" for row in task.steps.values())
        approval = any(row.reason == "WaitingForApproval" for row in task.steps.values())
        reasons = (not record.live, flies, task.wake_at, uid in second.parked, held, approval)
        assert any(reasons), f"stuck: {record.phase} {[(s.path, s.phase, s.reason) for s in task.steps.values()]}"
        wakes = [task.wake_at] if task.wake_at else []
        assert all(wake > stage.now for wake in wakes) or flies, "a time has passed and nothing happens"
    check_files(stage)


def check_files(stage: Stage) -> None:
    """Every task file has the run that it asks for, unless an earlier one is still under way."""
    assert isinstance(stage.desired, Complete)
    for file in stage.desired.library.tasks():
        runs = stage.observed().runs((file.namespace, file.name))
        asked = file.model.control.run
        assert runs, f"{file.name} has no run"
        assert runs[-1].record.live or runs[-1].record.run >= asked, f"nobody begins run {asked} of {file.name}"


def happen(stage: Stage, dice: random.Random, event: int) -> None:
    """One thing that happens in the world."""
    if event < 50 and stage.flying:
        report_one(stage, dice)
    elif event < 62:
        stage.wait(timedelta(seconds=dice.choice([0, 1, 1, 2, 5, 30])))
    elif event < 68:
        stage.crash()
    elif event < 74:
        report_late(stage, dice)
    elif event < 82:
        control(stage, dice)
    elif event < 86:
        name = dice.choice(
            sorted({f"{task.record.namespace}/{task.record.name}" for task in stage.snapshot.tasks.values()})
        )
        stage.commit({"tasks": {name: None}}) if f"tasks/{name}.yaml" in stage.shelf.files else None
    elif event < 90:
        bad = dice.random() < 0.5
        stage.commit({"jobs": {"one": "apiVersion: [" if bad else job(dice)}})
    elif event < 94:
        stage.commit(
            {"tasks": {f"demo/t{dice.randint(0, 4)}": {"spec": {"workflow": "flow"}, "deletePolicy": "revoke"}}}
        )
    elif event < 97:
        adopt(stage)
    stage.turn()


def adopt(stage: Stage) -> None:
    held = [task.record.uid for task in stage.snapshot.tasks.values() if task.record.phase is TaskPhase.UNADOPTED]
    stage.turn(asked=[TaskAdvanced(uid, Signal.ADOPT, Cause("operator")) for uid in held])


def report_one(stage: Stage, dice: random.Random) -> None:
    place = dice.choice(sorted(stage.flying))
    order = stage.flying[place]
    report = about(order.attempt, observation(dice), order.verb)
    stage.turn([report] * dice.choice([1, 1, 1, 2]))


def about(attempt: AttemptRecord, seen: Observation, verb: Verb = Verb.START) -> Report:
    return Report(attempt.uid, attempt.path, attempt.number, attempt.call, verb, seen)


def report_late(stage: Stage, dice: random.Random) -> None:
    attempts = list(stage.attempts())
    if attempts:
        attempt = dice.choice(attempts)
        number, call = max(1, attempt.number - dice.randint(0, 1)), max(1, attempt.call - dice.randint(0, 1))
        stage.turn([replace(about(attempt, observation(dice)), attempt=number, call=call)])


def control(stage: Stage, dice: random.Random) -> None:
    task = dice.choice(list(stage.snapshot.tasks.values())).record
    said: dict[str, Any] = {"state": dice.choice(STATES), "reason": "why not"}
    said |= {"run": dice.randint(1, 3)} if dice.random() < 0.3 else {}
    body = {
        "spec": {"workflow": "flow"},
        "control": said,
        "deletePolicy": dice.choice(["finish", "revoke"]),
    }
    stage.commit({"tasks": {f"{task.namespace}/{task.name}": body}})


def story(
    seed: int, events: list[int], limits: Limits, *, hold: bool = False, groups: bool = True, sliced: bool = False
) -> Watched:
    dice = random.Random(seed)
    stage = Watched(limits=limits, hold=hold, slices=random.Random(seed) if sliced else None)
    stage.commit(definitions(dice) if groups else without_groups(definitions(dice)))
    stage.turn()
    for event in events:
        happen(stage, dice, event)
    return stage


SEEDS = st.integers(0, 2**32)
EVENTS = st.lists(st.integers(0, 99), max_size=40)
LIMITS = st.sampled_from([Limits(), Limits(), Limits(total=1), Limits(namespace=1, drivers={"process": 1})])


# -- what must hold ------------------------------------------------------------------------------------------------------


@settings(max_examples=250)
@given(SEEDS, EVENTS, LIMITS, st.booleans())
def test_whatever_happens_no_task_is_stuck_and_planning_again_gives_nothing(seed, events, limits, hold):
    stage = story(seed, events, limits, hold=hold)

    stage.settle()

    check_rest(stage)


@settings(max_examples=150)
@given(SEEDS, EVENTS, LIMITS)
def test_a_group_never_has_more_than_its_limit_whatever_slices_a_turn_sees(seed, events, limits):
    stage = story(seed, events, limits, sliced=True)

    stage.slices = None
    stage.settle()

    check_rest(stage)


def answers_to_lost(task: TaskSnapshot) -> dict[str, Any]:
    """What a person says of the steps whose outcome is unknown: they keep their places in groups until then."""
    said = {"as": "failed", "reason": "seen"}
    rows = ((path, row) for path, row in task.steps.items() if row.phase is StepPhase.LOST and row.attempt)
    return {path: {"resolve": {"attempt": row.attempt, **said}} for path, row in rows}


@settings(max_examples=120)
@given(SEEDS, EVENTS)
def test_when_every_call_succeeds_from_now_on_every_task_comes_to_an_end(seed, events):
    stage = story(seed, events, Limits(total=2))
    tasks = {f"{task.record.namespace}/{task.record.name}": task for task in stage.snapshot.tasks.values()}
    adopt(stage)
    resumed = {
        name: {"spec": {"workflow": "flow"}, "control": {"run": task.record.run, "steps": answers_to_lost(task)}}
        for name, task in tasks.items()
    }
    stage.commit({"jobs": {"one": job(random.Random(seed))}, "tasks": resumed})

    for _ in range(400):
        stage.settle()
        if not any(task.record.live for task in stage.snapshot.tasks.values()):
            break
        if stage.flying:
            order = stage.flying[min(stage.flying)]
            seen = Ended(succeeded=order.verb is not Verb.CANCEL, result={"age": 3}, cancelled=True)
            stage.turn([about(order.attempt, seen, order.verb)])
        else:
            wakes = [task.wake_at for task in stage.snapshot.tasks.values() if task.wake_at]
            stage.now = max(stage.now, min(wakes)) if wakes else stage.now

    assert not [task.record for task in stage.snapshot.tasks.values() if task.record.live]


@settings(max_examples=60)
@given(SEEDS, EVENTS)
def test_the_plan_for_a_slice_is_the_plan_for_everything_restricted_to_it(seed, events):
    stage = story(seed, events, Limits(), groups=False)
    stage.commit({"jobs": {"one": {"http": {"url": "http://127.0.0.1:9/"}, "outputs": {"age": "result.age"}}}})
    stage.wait(timedelta(seconds=3))
    identities = [task.record.identity for task in stage.snapshot.tasks.values()]
    whole = plan(stage.desired, stage.observed(identities), stage.now)

    for identity in identities:
        observed = stage.observed([identity])
        tasks = {uid: task for uid, task in observed.snapshot.tasks.items() if task.record.identity == identity}
        part = plan(stage.desired, replace(observed, snapshot=replace(observed.snapshot, tasks=tasks)), stage.now)

        mine = {action.uid for action in part.actions} | set(tasks)
        expected = [action for action in whole.actions if action.uid in mine]
        assert sorted(map(str, part.actions)) == sorted(map(str, expected))
        assert sorted(map(repr, part.changes)) == sorted(repr(c) for action in expected for c in action.changes)


@settings(max_examples=60)
@given(SEEDS, EVENTS, LIMITS)
def test_the_same_world_gives_the_same_plan_byte_for_byte(seed, events, limits):
    stage = story(seed, events, limits)
    stage.wait(timedelta(seconds=3))
    observed = stage.observed(stage.waiting)

    first, second = (plan(stage.desired, observed, stage.now) for _ in range(2))

    assert repr(first) == repr(second)


@settings(max_examples=100)
@given(SEEDS, EVENTS)
def test_a_run_begins_once_and_an_attempt_has_one_number(seed, events):
    stage = story(seed, events, Limits())

    begun = [
        (event.uid, event.path, event.attempt)
        for event in stage.events
        if event.subject == "attempt" and not event.before
    ]
    assert len(begun) == len(set(begun))
    last: dict[tuple[str, str], int] = {}
    for uid, path, number in begun:
        assert number == last.get((uid, path), 0) + 1, "attempts are numbered without gaps"
        last[uid, path] = number


@settings(max_examples=60)
@given(SEEDS, EVENTS)
def test_what_has_ended_never_changes(seed, events):
    dice = random.Random(seed)
    stage = Watched()
    stage.commit(definitions(dice))
    stage.turn()
    ended: dict[Any, Any] = {}
    for event in events:
        happen(stage, dice, event)
        for task in stage.snapshot.tasks.values():
            if task.record.phase in {TaskPhase.FINISHED, TaskPhase.REVOKED}:
                ended.setdefault(task.record.uid, (task.record.phase, task.record.finished_at))
                assert ended[task.record.uid] == (task.record.phase, task.record.finished_at)
            for path, row in task.steps.items():
                if row.phase in {StepPhase.SUCCEEDED, StepPhase.SKIPPED}:
                    ended.setdefault((row.uid, path), (row.phase, row.outputs))
                    assert ended[row.uid, path] == (row.phase, row.outputs)


@settings(max_examples=60)
@given(SEEDS, EVENTS)
def test_success_is_recorded_only_from_the_targets_own_word(seed, events):
    stage = story(seed, events, Limits())

    for task in stage.snapshot.tasks.values():
        for path, row in task.steps.items():
            if row.phase is StepPhase.SUCCEEDED and path in task.attempts:
                assert task.attempts[path].phase is AttemptPhase.SUCCEEDED
    succeeded = [event for event in stage.events if event.subject == "attempt" and event.after == "succeeded"]
    assert all(event.cause.kind == "observation" for event in succeeded)


def trace(seeds: int) -> str:
    """What `seeds` short histories decide, as text."""
    dice = random.Random(7)
    lines: list[str] = []
    for seed in range(seeds):
        stage = story(seed, [dice.randint(0, 99) for _ in range(20)], Limits(total=2))
        lines += [repr(event) for event in stage.events]
        lines.append(str(plan(stage.desired, stage.observed(stage.waiting), stage.now)))
    return "\n".join(lines)


def test_the_seed_of_pythons_hashes_changes_nothing():
    command = [
        sys.executable,
        "-c",
        "from tests.unit import test_plan_properties as t; print(hash('x')); print(t.trace(12))",
    ]

    outputs = [
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\n", 1)
        for seed in ("1", "2")
    ]

    (first_hash, first), (second_hash, second) = outputs
    assert first_hash != second_hash
    assert first == second
    assert first.count("\n") > 100


@pytest.mark.parametrize(
    "value", [HUGE, DEEP, None, [], "", float("nan"), {"age": DEEP}, {"age": HUGE}, {"age": float("inf")}]
)
def test_odd_answers_end_a_step_and_break_nothing(value):
    stage = Stage()
    stage.commit(
        {
            "jobs": {
                "one": {"http": {"url": "http://127.0.0.1:9/"}, "outputs": {"age": "result.age", "all": "result"}}
            },
            "workflows": {"flow": {"steps": {"a": {"job": "one"}, "b": {"job": "one", "if": "steps.a.age == None"}}}},
            "tasks": {"t": {"spec": {"workflow": "flow"}}},
        }
    )
    stage.settle()

    stage.turn([stage.report("a", Ended(succeeded=True, result=value))])

    assert stage.task().steps["a"].phase in {StepPhase.SUCCEEDED, StepPhase.FAILED}
    check_rest(stage)


def test_an_unavailable_source_changes_nothing_about_the_files():
    stage = story(3, [], Limits())
    seen = stage.desired
    assert isinstance(seen, Complete)
    admitted = [event for event in stage.events if event.subject == "task" and not event.before]

    other = Watched()
    other.waiting = {("demo", "t0")}
    planned = other.turn()

    assert admitted
    assert not planned.actions
    assert not any(isinstance(change, Admitted) for change in planned.changes)
