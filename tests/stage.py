"""A loop without drivers, disk or clock: the real library, judgement and planner over a snapshot in memory.

What the store, the agenda and the dispatch do around a turn is done here in the plainest way, so a test says what
happens in the world (a commit, a report, time, a crash) and looks at what is decided.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from definitions.desired import Complete, Desired, Unavailable
from definitions.library import Library, program_of
from definitions.program import Program
from definitions.repins import changed_since
from definitions.revision import Revision, Source
from reconciler.actions import Order, Plan, Verb, place
from reconciler.drivers.protocol import Observation
from reconciler.judgement import Report, judge
from reconciler.last_good import keeping
from reconciler.observed import Limits, Observed, Place
from reconciler.plan.whole import plan
from state.changes import Admitted, Change, Intended, Repinned, Retired, TaskChange
from state.copies import replace as with_changes
from state.fold import apply
from state.records import (
    AttemptRecord,
    Cause,
    Event,
    Identity,
    Pin,
    Snapshot,
    TaskRecord,
    TaskSnapshot,
    Tombstone,
)
from tests.definition_files import Shelf

START = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
Documents = Mapping[str, Mapping[str, Any]]
KINDS = {"jobs": "Job", "workflows": "Workflow", "tasks": "Task", "triggers": "Trigger"}


def document(kind: str, name: str, body: Mapping[str, Any]) -> str:
    """One definition as a file: of a task or trigger the body is what stands beside `metadata`, else it is the spec."""
    namespace, _, plain = name.rpartition("/")
    desires = kind in {"Task", "Trigger"}
    metadata = {"name": plain, "namespace": namespace or ("demo" if desires else "default"), **body.get("metadata", {})}
    rest = {key: value for key, value in body.items() if key != "metadata"}
    said = rest if desires else {"spec": rest}
    whole = {"apiVersion": "reconciler/v1", "kind": kind, "metadata": metadata, **said}
    return json.dumps(whole, ensure_ascii=False)  # which is YAML, and has no aliases for parts that are shared


@dataclass
class Stage:
    """The world around the planner. `flying` are the orders under way, by place."""

    limits: Limits = field(default_factory=Limits)
    hold: bool = False
    now: datetime = START
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(epoch=1))
    force: Library | None = None
    desired: Desired = field(default_factory=lambda: Unavailable("NotRead", "not read yet"))
    flying: dict[Place, Order] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    served: str = ""
    shelf: Shelf = field(default_factory=Shelf)
    waiting: set[Identity] = field(default_factory=set)
    looks: set[Identity] = field(default_factory=set)  # triggers to decide about
    changed: set[str] = field(default_factory=set)
    pins: dict[str, Pin] = field(default_factory=dict)
    programs: dict[tuple[str, ...], Program] = field(default_factory=dict)
    origins: dict[str, Revision] = field(default_factory=dict)
    number: int = 0

    # -- the world ---------------------------------------------------------------------------------------------------

    def commit(self, documents: Documents, paths: Iterable[str] = (), **revision: Any) -> None:
        """A revision with these definitions put in or (None) taken away, which also changes the files `paths`."""
        files = {
            f"{group}/{name}.yaml": None if body is None else self._text(group, name, body)
            for group, found in documents.items()
            for name, body in found.items()
        }
        library = self.shelf.commit(files)
        seen = replace(library.tree.revision, **revision)
        self.origins.update(dict.fromkeys(files, seen))
        library = replace(library, tree=replace(library.tree, revision=seen, origins=dict(self.origins)))
        library = keeping(library, self.force) if library.rejected and self.force else library
        self.force = library
        since = changed_since(cast("Source", self.shelf), library)
        self.desired = Complete(seen, library, removes=not library.rejected, hold=self.hold, since=since)
        self.hold = False
        self.waiting |= {(task.namespace, task.name) for task in library.tasks()}
        self.waiting |= {task.record.identity for task in self.snapshot.tasks.values()} | set(self.snapshot.runs)
        self.looks |= {(trigger.namespace, trigger.name) for trigger in library.triggers()}
        self.looks |= {trigger.identity for trigger in self.snapshot.triggers.values()}
        self.changed |= {*files, *paths}

    @staticmethod
    def _text(group: str, name: str, body: Any) -> str:
        return body if isinstance(body, str) else document(KINDS[group], name, body)

    def crash(self) -> None:
        """The controller is gone and a new one has taken its place: nothing flies."""
        self.flying.clear()
        self.served = ""
        self.snapshot = replace(self.snapshot, epoch=self.snapshot.epoch + 1)

    def forget(self, name: str) -> None:
        """Retention: the rows of a run that is over go, its tombstone stays."""
        record = self.task(name).record
        stone = Tombstone(
            record.uid, record.namespace, record.name, record.run, record.origin.commit, record.phase, "", self.now
        )
        after = apply(self.snapshot, [Retired(record.uid, Cause("timer", "retention"))], self.now).snapshot
        gone = {**self.snapshot.runs, record.identity: (*self.snapshot.runs.get(record.identity, ()), stone)}
        self.snapshot = replace(after, runs=gone)

    def wait(self, span: timedelta) -> None:
        """Time passes."""
        self.now += span

    # -- one turn ----------------------------------------------------------------------------------------------------

    def observed(self, identities: Iterable[Identity] = ()) -> Observed:
        """What the planner sees."""
        pinned = {task.record.pins for task in self.snapshot.tasks.values() if task.record.pins}
        for digests in pinned - self.programs.keys():
            pins = [self.pins[digest] for digest in digests]
            self.programs[digests] = program_of([(p.kind, p.namespace, p.name, p.text, p.path) for p in pins])
        slices = (frozenset(identities), frozenset(self.flying), self.limits, self.served)
        return Observed(
            self.snapshot, self.programs, *slices, frozenset(self.looks | self._due()), frozenset(self.changed)
        )

    def _due(self) -> set[Identity]:
        found = self.snapshot.triggers.values()
        return {each.identity for each in found if each.wake_at and each.wake_at <= self.now}

    def turn(self, reports: Iterable[Report] = (), asked: Iterable[Change] = ()) -> Plan:
        """One turn of the loop: what was asked for, the reports, the decision, the commit, the calls."""
        self._apply(asked)
        for report in reports:
            self.judge(report)
        planned = plan(self.desired, self.observed(self.waiting), self.now)
        if isinstance(self.desired, Complete):
            self.waiting, self.looks, self.changed = set(), set(), set()
        self.waiting |= planned.again
        self.looks |= planned.triggers
        self._apply(planned.changes)
        self.served = planned.served or self.served
        for order in planned.orders:
            self.flying[order.place] = order
        return planned

    def judge(self, report: Report) -> tuple[TaskChange, ...]:
        """What a report changes, written at once."""
        where = place(report.uid, report.path, report.attempt, report.verb)
        order = self.flying.get(where)
        if order and not report.prepared and self._about(order) == (report.verb, report.attempt, report.call):
            del self.flying[where]
        task = self.snapshot.tasks[report.uid]
        said = judge(report, task, self.observed().program(task.record), self.limits, self.now)
        self._apply(said)
        return said

    @staticmethod
    def _about(order: Order) -> tuple[Verb, int, int]:
        return order.verb, order.attempt.number, order.attempt.call

    def settle(self) -> list[str]:
        """Turns until nothing more is decided; all their lines. More than a few in a row never end."""
        lines: list[str] = []
        for _ in range(20):  # what is skipped for its group, or enters one, takes a turn each
            planned = self.turn()
            lines += map(str, planned)
            if not planned.actions:
                return lines
        raise AssertionError("the planner never comes to rest:\n" + "\n".join(lines))

    def report(self, path: str, observation: Observation, task: str = "", **about: Any) -> Report:
        """A report on the call that flies at `path`, or on the one that `about` names."""
        uid = self.task(task).record.uid
        order = self.flying.get((uid, path))
        attempt = order.attempt if order else self.snapshot.tasks[uid].attempts[path]
        given = {
            "attempt": attempt.number,
            "call": attempt.call,
            "verb": order.verb if order else Verb.START,
            "prepared": False,
            **about,
        }
        return Report(
            uid, path, given["attempt"], given["call"], Verb(given["verb"]), observation, prepared=given["prepared"]
        )

    # -- looking -----------------------------------------------------------------------------------------------------

    def task(self, name: str = "") -> TaskSnapshot:
        """The latest run of the task called `name` (or namespace/name); without a name the only task."""
        found = [each for each in self.snapshot.tasks.values() if not name or name in _names(each.record)]
        return max(found, key=lambda each: (each.record.live, each.record.run))

    def attempts(self) -> Iterable[AttemptRecord]:
        """The latest attempt of every step of every task."""
        return [attempt for task in self.snapshot.tasks.values() for attempt in task.attempts.values()]

    # -- writing -----------------------------------------------------------------------------------------------------

    def _apply(self, changes: Iterable[Change]) -> None:
        changes = list(changes)
        kept = [change.pins for change in changes if isinstance(change, Admitted | Repinned)]
        self.pins.update({pin.digest: pin for pins in kept for pin in pins})
        numbered: list[Change] = [self._numbered(each) if isinstance(each, Admitted) else each for each in changes]
        applied = apply(self.snapshot, numbered, self.now)
        self.snapshot = applied.snapshot
        self.events += applied.events

    def _numbered(self, change: Admitted) -> Admitted:
        """The store numbers runs as they come; one that is admitted again keeps its number."""
        known = self.snapshot.tasks.get(change.task.uid)
        self.number += known is None
        number = known.record.number if known else self.number
        assert change.task.number in {0, number}, "a run that is admitted again keeps its age"
        return replace(change, task=with_changes(change.task, number=number))


def _names(record: TaskRecord) -> set[str]:
    return {record.name, f"{record.namespace}/{record.name}"}


def intended(changes: Iterable[Change]) -> list[AttemptRecord]:
    """The attempts that `changes` begin."""
    return [change.attempt for change in changes if isinstance(change, Intended)]
