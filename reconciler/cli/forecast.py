"""What the controller would do next, computed beside it: the real plan over a copy of what it knows, and nothing done.

Either a source's tip against a state folder, or one commit against another for the check of a pull request. There the
base counts as fully applied: every task that it wants has been admitted, none is under way.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from definitions.desired import Complete
from definitions.library import Library, build
from definitions.problems import Problem
from definitions.program import Program
from definitions.revision import Source
from reconciler.actions import Action
from reconciler.cli.explanation import short
from reconciler.cli.failure import Failure
from reconciler.cli.opening import opened
from reconciler.cli.repository import Repository
from reconciler.cli.work_tree import DRIVERS
from reconciler.observed import Observed, Programs
from reconciler.plan.whole import plan
from reconciler.settings import SourceSettings
from state.changes import Admitted
from state.reader import Reader
from state.records import Identity, Pin, Snapshot, TaskSnapshot

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Forecast:
    """The actions as signed lines, what the plan remarks beside them, and one sentence about all of it."""

    actions: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    summary: str

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "actions": list(self.actions),
            "notes": list(self.notes),
            "problems": [problem.as_dict() for problem in self.problems],
            "summary": self.summary,
        }


def next_turn(place: SourceSettings, state: Path) -> Forecast:
    """The next turn of a controller over `state`, which need not exist. Raises SourceUnavailable, StateError."""
    with opened(place) as source:
        desired = _desired(source)
    wanted = _wanted(desired.library)
    observed = _observed(*_known(state, wanted), wanted)
    planned = plan(desired, observed, datetime.now(UTC))
    where = f"{place.path} at {place.ref or 'HEAD'} ({_short(desired)})"
    return _forecast(planned, planned.notes, desired, where)


def between(place: SourceSettings, base: str, head: str) -> Forecast:
    """What merging `head` into `base` would do. Raises SourceUnavailable, Failure for a commit that is not there."""
    before, after = (_at(place, commit) for commit in (base, head))
    now = datetime.now(UTC)
    identities = _wanted(before.library) | _wanted(after.library)
    first = plan(before, Observed(Snapshot(), identities=identities), now)
    admitted = [change for action in first if action.sign == "+" for change in action.changes]
    applied = Observed(Snapshot(), identities=identities).after(admitted, now).snapshot
    observed = Observed(applied, _programs(applied.tasks.values(), _pins_of(admitted).__getitem__), identities)
    unchanged = {str(action) for action in plan(before, observed, now)}
    planned = plan(after, observed, now)
    actions = [action for action in planned if str(action) not in unchanged]
    note = f"assuming {base} ({_short(before)}) fully applied: every task that it wants is admitted, none has begun"
    return _forecast(actions, (note, *planned.notes), after, f"{place.path} at {head} ({_short(after)})")


def _desired(source: Source) -> Complete:
    revision = source.revision()
    return Complete(revision, build(source.tree(revision), source.read, drivers=DRIVERS))


def _at(place: SourceSettings, commit: str) -> Complete:
    if place.location.startswith("dir:"):
        raise Failure("a folder has no commits to compare; give --source a Git repository")
    full = Repository(Path(place.location)).resolve(commit)
    with opened(place.model_copy(update={"ref": full})) as source:
        return _desired(source)


def _known(state: Path, wanted: frozenset[Identity]) -> tuple[Snapshot, Callable[[str], Pin]]:
    """The tasks that the state folder has under the wanted identities or alive, and how to look up their pins."""
    if not (state / "state.db").exists():
        nothing: Mapping[str, Pin] = {}
        return Snapshot(), nothing.__getitem__
    reader = Reader(state)
    tasks = {task.record.uid: task for task in _tasks(reader, wanted)}
    missing = wanted - {task.record.identity for task in tasks.values()}
    gone = {identity: runs for identity in missing if (runs := reader.gone(*identity))}
    pins = reader.pins({digest for task in tasks.values() for digest in task.record.pins})
    reader.close()
    return Snapshot(tasks, gone, epoch=0), pins.__getitem__


def _tasks(reader: Reader, wanted: frozenset[Identity]) -> Iterator[TaskSnapshot]:
    cursor = None
    while True:
        page = reader.tasks(cursor=cursor, limit=_PAGE)
        uids = [record.uid for record in page.items if record.live or record.identity in wanted]
        yield from reader.snapshots(uids).values()
        cursor = page.next
        if cursor is None:
            return


def _observed(snapshot: Snapshot, pin: Callable[[str], Pin], wanted: frozenset[Identity]) -> Observed:
    """The world as a controller sees it whose calls are all still in the air."""
    tasks = snapshot.tasks.values()
    flying = frozenset((each.uid, each.path) for task in tasks for each in task.attempts.values() if each.in_flight)
    return Observed(snapshot, _programs(tasks, pin), wanted | {task.record.identity for task in tasks}, flying)


def _programs(tasks: Iterable[TaskSnapshot], pin: Callable[[str], Pin]) -> Mapping[tuple[str, ...], Program]:
    programs = Programs(lambda digests: {digest: pin(digest) for digest in digests})
    return {pins: programs.get(pins) for pins in {task.record.pins for task in tasks if task.record.pins}}


def _pins_of(changes: Iterable[object]) -> Mapping[str, Pin]:
    return {pin.digest: pin for change in changes if isinstance(change, Admitted) for pin in change.pins}


def _wanted(library: Library) -> frozenset[Identity]:
    return frozenset((task.namespace, task.name) for task in library.tasks())


def _forecast(actions: Iterable[Action], notes: tuple[str, ...], desired: Complete, where: str) -> Forecast:
    lines = tuple(str(action) for action in actions)
    files = len({task.path for task in desired.library.tasks()})
    found = f"{files} task file{'' if files == 1 else 's'} under {where}"
    summary = f"{len(lines)} to do: {found}" if lines else f"nothing to do: {found}"
    return Forecast(lines, notes, desired.library.problems, summary)


def _short(desired: Complete) -> str:
    return short(desired.revision.commit)
