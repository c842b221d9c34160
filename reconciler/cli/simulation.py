"""A workflow run offline: the real planner and the real judgement over a fake target that answers with samples.

Time is only a number here, so a poll every five minutes costs nothing; whatever would be called is not.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from definitions.desired import Unavailable
from definitions.models import ParamType
from definitions.params import ParamError, bind
from definitions.program import Program, Unit
from reconciler import status
from reconciler.actions import Order
from reconciler.cli.failure import Failure
from reconciler.drivers.fake import Answer, FakeDriver, FakeTarget
from reconciler.drivers.protocol import Call
from reconciler.judgement import Report, judge
from reconciler.observed import Limits, Observed
from reconciler.plan.whole import plan
from reconciler.position import Position, everything, locate
from state.changes import StepAdvanced
from state.phases import Signal, StepPhase
from state.records import Cause, Json, Origin, Snapshot, TaskRecord, TaskSnapshot, task_uid

TURNS = 20_000
CALLS = 3
NAMESPACE = "simulation"
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_PINS = ("simulated",)
_STRUCTURED = {ParamType.OBJECT, ParamType.ARRAY, ParamType.ANY}
_TARGET: Json = {"id": "simulated", "name": "simulated", "host": "simulated", "since": ""}
_ASKING = (StepPhase.RUNNING, "WaitingForApproval")
_APPROVED = Cause("operator", "simulate", message="a simulation approves")
_NO_SOURCE = Unavailable("Simulated", "no source takes part in a simulation")


def parse_values(given: Sequence[str]) -> dict[str, str]:
    """`key=value` texts as a mapping; raises Failure for one without `=`."""
    pairs = [text.partition("=") for text in given]
    if wrong := next((key for key, equals, _ in pairs if not equals or not key), None):
        raise Failure(f"--with {wrong}: write it as KEY=VALUE, for example --with name=alice")
    return {key: value for key, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Script:
    """What a simulation answers instead of samples, by step path; a path without indexes speaks for all items.

    `fails` counts the attempts that fail before one may succeed; None: all of them.
    """

    answers: Mapping[str, Json] = field(default_factory=dict)
    fails: Mapping[str, int | None] = field(default_factory=dict)

    def answer(self, position: Position) -> Json:
        """What the target answers at a step."""
        sample = cast("Json", cast("Unit", position.node.unit).sample)
        return self.answers.get(position.path, self.answers.get(position.key, sample))

    def fails_at(self, position: Position, attempt: int) -> bool:
        """Whether this attempt at a step fails."""
        number = self.fails.get(position.path, self.fails.get(position.key, 0))
        return number is None or attempt <= number


def parse_script(fail: Sequence[str], answer: Sequence[str]) -> Script:
    """`STEP` or `STEP=N`, and `STEP=FILE`, as a Script. Raises Failure for what cannot be read."""
    fails: dict[str, int | None] = {}
    for text in fail:
        path, _, number = text.partition("=")
        if number and not (number.isdecimal() and 0 < int(number[:6]) < 100_000):
            raise Failure(f"--fail {text}: write it as STEP, or as STEP=N for the first N attempts, from 1")
        fails[path] = int(number) if number else None
    return Script({path: _read(path, file) for path, file in (_pair(text) for text in answer)}, fails)


def _pair(text: str) -> tuple[str, str]:
    path, _, file = text.partition("=")
    if not path or not file:
        raise Failure(f"--answer {text}: write it as STEP=FILE, for example --answer build=answer.json")
    return path, file


def _read(path: str, file: str) -> Json:
    try:
        return cast("Json", json.loads(Path(file).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise Failure(f"--answer {path}={file}: {error}") from None


def run(program: Program, given: Mapping[str, str], script: Script = Script()) -> tuple[dict[str, Any], list[str]]:
    """The task as the API would show it at its end, and what of `script` was never used, because it never came to that.

    Raises Failure where a sample is missing or never satisfies `until`.
    """
    _require_steps(program, script)
    _require_samples(program, script)
    simulated = _Simulation(program, _params(program, given), script)
    simulated.run()
    return status.task(simulated.task, program, simulated.now), list(_unused(program, simulated.task, script))


def _unused(program: Program, task: TaskSnapshot, script: Script) -> Iterator[str]:
    called = {path for each in task.attempts for path in (each, locate(program, each).key)}
    for option, paths in (("--fail", script.fails), ("--answer", script.answers)):
        yield from (f"{option} {path}" for path in paths if path not in called)


def _require_steps(program: Program, script: Script) -> None:
    drawn = {each.path: each for each in everything(program)}
    for option, paths in (("--fail", script.fails), ("--answer", script.answers)):
        for path in paths:
            plain = ".".join(part for part in path.split(".") if not part.isdecimal())
            if plain not in drawn or drawn[plain].node.unit is None:
                raise Failure(f"{option} {path}: the workflow has no such step that calls something")


def _params(program: Program, given: Mapping[str, str]) -> dict[str, Json]:
    values = {name: _value(program, name, text) for name, text in given.items()}
    try:
        return bind(program.params, values)
    except ParamError as error:
        raise Failure(f"{error}; give it with --with KEY=VALUE") from None


def _value(program: Program, name: str, text: str) -> Json:
    """Structured parameters are given as JSON, the others as they are: their type casts them."""
    if name not in program.params or program.params[name].type not in _STRUCTURED:
        return text
    try:
        return cast("Json", json.loads(text))
    except ValueError:
        return text


def _require_samples(program: Program, script: Script) -> None:
    missing = {
        each.node.unit.job
        for each in everything(program)
        if each.node.unit
        and each.node.unit.uses_result
        and script.answer(each) is None
        and each.key not in script.fails
    }
    if missing:
        names = ", ".join(sorted(missing))
        raise Failure(f"no sample answer: {names}; write `sample:` beside their blocks, or give --answer STEP=FILE")


class _Simulation:
    """One task, its time, and the target behind the fake driver."""

    def __init__(self, program: Program, params: dict[str, Json], script: Script) -> None:
        uid = task_uid("simulation", NAMESPACE, program.name, 1)
        record = TaskRecord(
            uid,
            "simulation",
            NAMESPACE,
            program.name,
            1,
            program.kind,
            program.name,
            Origin(),
            "",
            "",
            _PINS,
            params,
            _BEGIN,
        )
        self.now = _BEGIN
        self._program = program
        self._observed = Observed(Snapshot({uid: TaskSnapshot(record)}), {_PINS: program})
        self._script = script
        self._driver = FakeDriver(FakeTarget(self._answer))

    @property
    def task(self) -> TaskSnapshot:
        """The task as it is now."""
        (task,) = self._observed.snapshot.tasks.values()
        return task

    def run(self) -> None:
        """Turn after turn until the task has ended, or nothing and no time would bring it on."""
        for _ in range(TURNS):
            planned = plan(_NO_SOURCE, self._observed, self.now)
            self._observed = self._observed.after(planned.changes, self.now)
            for order in planned.orders:
                self._carry_out(order)
            if not planned.actions and not self._approve() and not self._wait():
                return
        raise Failure(f"{self._program.name} was not over after {TURNS} turns; is there a retry without a limit?")

    def _approve(self) -> bool:
        """Approve what waits for it, as somebody would by a commit; False if nothing does."""
        rows = [row for row in self.task.steps.values() if (row.phase, row.reason) == _ASKING]
        changes = [StepAdvanced(row.uid, row.path, Signal.SUCCEED, _APPROVED, outputs={}) for row in rows]
        self._observed = self._observed.after(changes, self.now)
        return bool(changes)

    def _wait(self) -> bool:
        """Let the time pass until something is due; False if nothing ever is."""
        due = self.task.wake_at if self.task.record.live else None
        self.now = max(self.now, due) if due else self.now
        return due is not None

    def _carry_out(self, order: Order) -> None:
        attempt = order.attempt
        if attempt.call > CALLS:
            raise Failure(f"{attempt.path}: its sample never makes `until` true; {attempt.message}")
        call = Call(attempt.key, attempt.call, attempt.name, attempt.request, _Silence(), _Silence())
        seen = asyncio.run(self._driver.start(call, attempt.handle))
        report = Report(attempt.uid, attempt.path, attempt.number, attempt.call, order.verb, seen)
        changes = judge(report, self.task, self._program, Limits(), self.now)
        self._observed = self._observed.after(changes, self.now)

    def _answer(self, call: Call) -> Answer:
        attempt = next(each for each in self.task.attempts.values() if each.key == call.key)
        position = locate(self._program, attempt.path)
        if self._script.fails_at(position, attempt.number):
            return Answer(code=500, message="failed, as --fail says", succeeded=False)
        if position.finder:
            return Answer(result={"targets": [_TARGET]})
        return Answer(result=self._script.answer(position), code=200)


class _Silence:
    """A log that keeps nothing and secrets that are only their names."""

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Nothing is kept."""

    def resolve(self, reference: str) -> str:
        """The reference itself: no value is needed where nothing is called."""
        return reference
