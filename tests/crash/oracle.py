"""What must hold after every kill, said once: what the store records is held against what the target really saw."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from state.errors import StateError
from state.inspection import inspect
from state.phases import AttemptPhase, StepPhase, TaskPhase
from state.reader import Reader
from state.records import AttemptRecord, Json, TaskSnapshot, task_uid
from tests.crash.world import OUTPUTS, STEPS, World

Place = tuple[str, str]
"""(task name, step path)."""


@dataclass(frozen=True)
class Moment:
    """What the database said right after a kill, and how many requests the target had seen by then."""

    epoch: int = 0
    ended: Mapping[Place, tuple[StepPhase, Json]] = field(default_factory=dict)
    attempts: Mapping[Place, AttemptRecord] = field(default_factory=dict)  # under way
    requests: int = 0

    @property
    def in_flight(self) -> set[str]:
        """The call keys whose answers are not recorded."""
        return {f"{each.key}/{each.call}" for each in self.attempts.values() if each.in_flight}


def tasks_in(state: Path) -> dict[str, TaskSnapshot]:
    """Every task of the database by name; {} as long as there is none."""
    try:
        reader = Reader(state)
        try:
            records = reader.tasks(limit=500).items
            return {task.record.name: task for task in reader.snapshots([each.uid for each in records]).values()}
        finally:
            reader.close()
    except StateError:
        return {}


def moment(world: World) -> Moment:
    """What can be known when no controller runs."""
    tasks = tasks_in(world.state)
    if not tasks:
        return Moment(requests=len(world.target.requests))
    reader = Reader(world.state)
    epoch = reader.facts().epoch
    reader.close()
    rows = {(name, path): row for name, task in tasks.items() for path, row in task.steps.items()}
    ended = {place: (row.phase, row.outputs) for place, row in rows.items() if row.finished_at}
    made = {(name, path): each for name, task in tasks.items() for path, each in task.attempts.items()}
    return Moment(
        epoch, ended, {place: each for place, each in made.items() if not each.ended}, len(world.target.requests)
    )


@dataclass
class Tally:
    """What a campaign has seen; `violations` must stay empty."""

    COUNTS: ClassVar[tuple[str, ...]] = ("moments", "kills", "starts", "executed", "adopted", "lost", "duplicates")

    moments: int = 0  # times that everything was judged after an end
    kills: int = 0
    starts: int = 0
    executed: int = 0  # calls and commands that really happened
    adopted: int = 0  # commands under way at a kill whose result was recorded later
    lost: int = 0
    duplicates: int = 0  # deliveries of one call beyond the first, all under its key
    longest: float = 0.0  # seconds from SIGTERM to the end
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{getattr(self, word)} {word}" for word in self.COUNTS)
        return f"{counts} (under the same key), {len(self.violations)} violations"

    def counts(self) -> list[str]:
        """The numbers behind `COUNTS`, and how many violations there are."""
        return [*(str(getattr(self, word)) for word in self.COUNTS), str(len(self.violations))]

    def add(self, other: "Tally") -> None:
        """Count what another one has seen, too."""
        for word in self.COUNTS:
            setattr(self, word, getattr(self, word) + getattr(other, word))
        self.longest = max(self.longest, other.longest)
        self.violations += other.violations


class Oracle:
    """One world under judgement, from kill to kill."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tally = Tally()
        self.interrupted: Counter[str] = Counter()  # call key -> kills while its answer was not recorded
        self._last = Moment()
        self._commands: set[str] = set()  # attempt keys of commands that ran at a kill

    def killed(self) -> None:
        """Look at what a kill left behind."""
        self.tally.kills += 1
        self.terminated()

    def terminated(self) -> None:
        """Look at what an end left behind that was no kill."""
        now = moment(self.world)
        self.tally.violations += self._kept(now)
        self.interrupted.update(now.in_flight)
        self._commands |= {each.key for each in now.attempts.values() if self.world.runs()[each.key]}
        self._last = now

    def idle(self, code: int | None) -> None:
        """Judge everything, once a controller has ended by itself with exit code `code`."""
        now = moment(self.world)
        tasks = tasks_in(self.world.state)
        found = [*self._kept(now), *self._whole(), *self._calls(), *self._finished(tasks, code)]
        found += [line for name, task in tasks.items() for line in self._task(name, task)]
        self.tally.violations += found
        self._count(tasks)
        self._last = now

    def _kept(self, now: Moment) -> Iterator[str]:
        """I1, I5, I13: what was recorded as ended stays as it was, is not called again, and epochs only grow."""
        if now.epoch < self._last.epoch:
            yield f"epoch {now.epoch} after {self._last.epoch}"
        for place, said in self._last.ended.items():
            if now.ended.get(place) != said:
                yield f"{place} was recorded as {said} and is now {now.ended.get(place)}"
        ended = {f"{task_uid('main', 'default', name, 1)}/{path}" for name, path in self._last.ended}
        for request in self.world.target.requests[self._last.requests :]:
            if request.key.strip('"').rsplit("/", 3)[0] in ended:
                yield f"{request.key} was called although its step had ended"

    def _whole(self) -> Iterator[str]:
        """I12 and every reference between rows."""
        yield from (f"the database: {finding}" for finding in inspect(self.world.state))

    def _calls(self) -> Iterator[str]:
        """I2: more than one delivery of a call only where a kill came before its answer, never of a plain POST."""
        for request_key, count in self.world.deliveries().items():
            if count > 1 + self.interrupted[request_key]:
                yield f"{request_key} was delivered {count} times, interrupted {self.interrupted[request_key]} times"
            if count > 1 and "/once/" in request_key:
                yield f"{request_key} is a POST that nobody deduplicates and was delivered {count} times"
        for key, count in self.world.runs().items():
            if count > 1:
                yield f"the command of {key} ran {count} times"
        posts = Counter(key.rsplit("/", 3)[0] for key in self.world.deliveries() if "/once/" in key)
        yield from (f"{step} was posted under {count} keys" for step, count in posts.items() if count > 1)

    def _finished(self, tasks: Mapping[str, TaskSnapshot], code: int | None) -> Iterator[str]:
        """I7: everything wanted is there and over, and the exit code says how it went."""
        missing = set(self.world.tasks) - set(tasks)
        if missing:
            yield f"never admitted: {sorted(missing)}"
        failed = any(task.record.phase is TaskPhase.FAILED for task in tasks.values())
        if code != int(failed):
            yield f"the exit code is {code}"

    def _task(self, name: str, task: TaskSnapshot) -> Iterator[str]:
        if task.record.phase is TaskPhase.FINISHED:
            yield from self._as_wanted(name, task)
        elif task.record.phase is TaskPhase.FAILED and task.record.reason == "Lost":
            yield from self._lost_with_cause(name, task)
        else:
            yield f"{name} is {task.record.phase} {task.record.reason}: {task.record.message}"
        yield from self._in_order(name, task)

    def _as_wanted(self, name: str, task: TaskSnapshot) -> Iterator[str]:
        """I3: the outputs are right, and the target has done what is recorded as done."""
        if task.record.outputs != OUTPUTS:
            yield f"{name} has the outputs {task.record.outputs}"
        numbers = {path: row.attempt for path, row in task.steps.items()}
        if numbers != dict.fromkeys(STEPS, 1) | {"flaky": 2}:
            yield f"{name} made the attempts {numbers}"
        once, run = task.attempts["once"], task.attempts["run"]
        if self.world.target.executions[f'"{once.key}/1"'] != 1:
            yield f"{name} says that its POST was done, the target does not"
        if self.world.runs()[run.key] != 1:
            yield f"{name} says that its command ran, {self.world.runs()[run.key]} marks"

    def _lost_with_cause(self, name: str, task: TaskSnapshot) -> Iterator[str]:
        """Only the plain POST may be lost, and only if a kill came between its intent and its answer."""
        for path, row in task.steps.items():
            if row.phase is StepPhase.LOST:
                attempt = task.attempts[path]
                if path != "once" or not self.interrupted[f"{attempt.key}/1"]:
                    yield f"{name} {path} is lost without cause: {attempt.message}"
            elif row.phase is not StepPhase.SUCCEEDED:
                yield f"{name} {path} is {row.phase}"
        if "last" in task.steps:
            yield f"{name} went on behind a lost step"

    def _in_order(self, name: str, task: TaskSnapshot) -> Iterator[str]:
        """I4: no call before the calls that its step waits for."""
        place: dict[str, int] = {}
        for number, request in enumerate(self.world.target.requests):
            uid, _, rest = request.key.strip('"').partition("/")
            if uid == task.record.uid:
                place.setdefault(rest.split("/")[0], number)
        for before, after in (
            ("poll", "same"),
            ("poll", "flaky"),
            ("same", "once"),
            ("flaky", "once"),
            ("once", "last"),
        ):
            if place.get(after, 1 << 60) < place.get(before, 1 << 60):
                yield f"{name}: {after} was called before {before}"

    def _count(self, tasks: Mapping[str, TaskSnapshot]) -> None:
        attempts = [each for task in tasks.values() for each in task.attempts.values()]
        done = {each.key for each in attempts if each.phase is AttemptPhase.SUCCEEDED}
        deliveries = self.world.deliveries()
        self.tally.executed = len(deliveries) + len(self.world.runs())
        self.tally.adopted = len(self._commands & done)
        self.tally.lost = sum(each.phase is AttemptPhase.LOST for each in attempts)
        self.tally.duplicates = sum(count - 1 for count in deliveries.values())
