"""What plan sees of the world: a snapshot joined with the programs behind its pins.

The one place where definitions and state meet. Everything here is a value; what is in flight in this process comes in
as `flying`, so a restart (nothing flies) and a running loop are one case for the planner.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from definitions.definition import Definition
from definitions.library import program_of
from definitions.program import Program
from state.changes import Change
from state.fold import apply
from state.records import Identity, Pin, Snapshot, TaskRecord, TaskSnapshot, Uid

Place = tuple[Uid, str]
"""(task, step path): where at most one call flies."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be going on at a time; None is no bound."""

    total: int | None = None
    namespace: int | None = None
    drivers: Mapping[str, int] = field(default_factory=dict)
    output_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Observed:
    """The slice of the world that a plan is about."""

    snapshot: Snapshot
    programs: Mapping[tuple[str, ...], Program] = field(default_factory=dict)  # by the pins of a task
    identities: frozenset[Identity] = frozenset()  # whose files are to be compared with what has run
    flying: frozenset[Place] = frozenset()
    limits: Limits = Limits()
    served: str = ""  # the namespace that was given room last: the others come before it
    triggers: frozenset[Identity] = frozenset()  # to be decided about
    changed: frozenset[str] = frozenset()  # the paths of the repository that the revisions since the last turn changed

    def program(self, record: TaskRecord) -> Program:
        return self.programs[record.pins]

    def after(self, changes: Iterable[Change], at: datetime) -> "Observed":
        """The same slice once `changes` are written."""
        changes = tuple(changes)
        return replace(self, snapshot=apply(self.snapshot, changes, at).snapshot) if changes else self

    def knowing(self, programs: Mapping[tuple[str, ...], Program]) -> "Observed":
        """The same slice with the programs of other pins, too."""
        return replace(self, programs={**self.programs, **programs}) if programs else self

    def runs(self, identity: Identity) -> list[TaskSnapshot]:
        """What has run under this identity and still has rows, the latest run last."""
        found = [task for task in self.snapshot.tasks.values() if task.record.identity == identity]
        return sorted(found, key=lambda task: task.record.run)


def pins_of(closure: Iterable[Definition]) -> tuple[Pin, ...]:
    """What a run keeps of the definitions that it uses, its target's first."""
    return tuple(Pin(d.kind, d.namespace, d.name, d.digest, d.text, d.commit, d.path) for d in closure)


class Programs:
    """Compiled programs by the digests of their pins: a bounded cache in front of `definitions.library.program_of`."""

    def __init__(self, read: Callable[[Sequence[str]], Mapping[str, Pin]], size: int = 2048) -> None:
        self._read = read
        self._size = size
        self._programs: OrderedDict[tuple[str, ...], Program] = OrderedDict()

    def get(self, pins: tuple[str, ...]) -> Program:
        """The program of these pins (target first); raises KeyError for a digest that the store does not know."""
        if pins not in self._programs:
            texts = self._read(pins)
            found = [texts[digest] for digest in pins]
            self.remember(pins, program_of([(pin.kind, pin.namespace, pin.name, pin.text, pin.path) for pin in found]))
        self._programs.move_to_end(pins)
        return self._programs[pins]

    def remember(self, pins: tuple[str, ...], program: Program) -> None:
        """Keep a program that was compiled elsewhere (at admission)."""
        self._programs[pins] = program
        while len(self._programs) > self._size:
            self._programs.popitem(last=False)
