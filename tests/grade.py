"""The grade workflow of seed 1 as values: a program, and runs of it at any point, for tests of the read side."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from definitions.expressions import template
from definitions.program import Node, Program, Unit
from state.phases import AttemptPhase, StepPhase, TaskPhase
from state.records import (
    AttemptRecord,
    Origin,
    StepRecord,
    TaskRecord,
    TaskSnapshot,
    attempt_key,
    external_name,
    task_uid,
)

START = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
FLOW = ("step1", ["step2", "step3"], "step4")
UID = task_uid("main", "demo", "grade-alice", 1)
DAY = timedelta(days=1)
REQUEST = template({"method": "GET", "url": "http://127.0.0.1:9/"})


def unit(job: str) -> Unit:
    return Unit(job, f"jobs/{job}.yaml", "http", REQUEST, {}, inner=True, owner=job)


def node(path: str, job: str = "", **fields: Any) -> Node:
    kind = "unit" if job else "calls"
    return Node(path, path.rpartition(".")[2], kind, unit=unit(job) if job else None, **fields)


def grade() -> Program:
    """`[step1, [step2, step3], step4]`, where step3 also waits for step2, and each step is expected to take a day."""
    calls2 = (node("step2.api2", "api2"), node("step2.api3", "api3", after=("api2",)))
    calls4 = (node("step4.api5", "api5"), node("step4.api6", "api6", after=("api5",)))
    steps = (
        node("step1", "api1", expect=DAY),
        node("step2", after=("step1",), children=calls2, expect=DAY),
        node("step3", "api4", after=("step1", "step2"), expect=DAY),
        node("step4", after=("step2", "step3"), children=calls4, expect=DAY),
    )
    nodes = {each.path: each for step in steps for each in (step, *step.children)}
    return Program("Workflow", "grade", {}, steps, ("step1", "step2", "step3", "step4"), nodes=nodes, flow=FLOW)


def parallel() -> Program:
    """As `grade`, but step2 and step3 really stand beside each other."""
    program = grade()
    steps = tuple(replace(each, after=("step1",)) if each.path == "step3" else each for each in program.steps)
    return replace(program, steps=steps, nodes={**program.nodes, "step3": steps[2]})


def record(phase: TaskPhase = TaskPhase.RUNNING, **fields: Any) -> TaskRecord:
    origin = Origin("c0ffee", "tasks/alice.yaml", "b10b", "Ada", "ada@example.org", "Grade Alice")
    started = None if phase in {TaskPhase.CREATED, TaskPhase.UNADOPTED} else START
    given = {"phase": phase, "started_at": started, "number": 1, **fields}
    return TaskRecord(
        UID,
        "main",
        "demo",
        "grade-alice",
        1,
        "Workflow",
        "grade",
        origin,
        "d1",
        "d2",
        ("p1",),
        {"name": "alice"},
        START,
        **given,
    )


def step(path: str, phase: StepPhase = StepPhase.RUNNING, **fields: Any) -> StepRecord:
    return StepRecord(UID, path, phase, **{"attempt": 1, "started_at": START, **fields})


def attempt(path: str, phase: AttemptPhase = AttemptPhase.STARTED, number: int = 1, **fields: Any) -> AttemptRecord:
    key = attempt_key(UID, path, number)
    request = {"method": "GET", "url": "http://127.0.0.1:9/", "query": {"name": "****"}}
    given = {"phase": phase, "started_at": START, **fields}
    return AttemptRecord(UID, path, number, key, external_name(key), "demo", "http", "api", request, {}, 1, **given)


def run(*rows: StepRecord | AttemptRecord, task: TaskRecord | None = None) -> TaskSnapshot:
    steps = {each.path: each for each in rows if isinstance(each, StepRecord)}
    return TaskSnapshot(task or record(), steps, {each.path: each for each in rows if isinstance(each, AttemptRecord)})


def done(path: str, **fields: Any) -> StepRecord:
    return step(path, StepPhase.SUCCEEDED, finished_at=START + timedelta(seconds=5), **fields)
