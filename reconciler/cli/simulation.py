"""A workflow run offline: the real planner and the real judgement over a fake target that answers with samples.

Time is only a number here, so a poll every five minutes costs nothing; whatever would be called is not.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
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
from state.records import Json, Origin, Snapshot, TaskRecord, TaskSnapshot, task_uid

TURNS = 20_000
CALLS = 3
NAMESPACE = "simulation"
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_PINS = ("simulated",)
_STRUCTURED = {ParamType.OBJECT, ParamType.ARRAY, ParamType.ANY}
_NO_SOURCE = Unavailable("Simulated", "no source takes part in a simulation")


def parse_values(given: Sequence[str]) -> dict[str, str]:
    """`key=value` texts as a mapping; raises Failure for one without `=`."""
    pairs = [text.partition("=") for text in given]
    if wrong := next((key for key, equals, _ in pairs if not equals or not key), None):
        raise Failure(f"--with {wrong}: write it as KEY=VALUE, for example --with name=alice")
    return {key: value for key, _, value in pairs}


def run(program: Program, given: Mapping[str, str]) -> dict[str, Any]:
    """The task as the API would show it at its end. Raises Failure where a sample is missing or never satisfies `until`."""
    _require_samples(program)
    simulated = _Simulation(program, _params(program, given))
    simulated.run()
    return status.task(simulated.task, program, simulated.now)


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


def _require_samples(program: Program) -> None:
    units = {unit.job: unit for node in program.nodes.values() if (unit := node.unit)}
    if missing := sorted(name for name, unit in units.items() if unit.uses_result and unit.sample is None):
        raise Failure(f"no sample answer: {', '.join(missing)}; write `sample:` into these jobs")


class _Simulation:
    """One task, its time, and the target behind the fake driver."""

    def __init__(self, program: Program, params: dict[str, Json]) -> None:
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
        self._driver = FakeDriver(FakeTarget(lambda call: Answer(result=self._sample(call), code=200)))

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
            if not planned.actions and not self._wait():
                return
        raise Failure(f"{self._program.name} was not over after {TURNS} turns; is there a retry without a limit?")

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

    def _sample(self, call: Call) -> Json:
        path = next(each.path for each in self.task.attempts.values() if each.key == call.key)
        return cast("Json", cast("Unit", self._program.nodes[path].unit).sample)


class _Silence:
    """A log that keeps nothing and secrets that are only their names."""

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Nothing is kept."""

    def resolve(self, reference: str) -> str:
        """The reference itself: no value is needed where nothing is called."""
        return reference
