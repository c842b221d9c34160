"""What the controller would do next, computed beside it: the real plan over a copy of what it knows, and nothing done.

Either a source's tip against a state folder, or one commit against another for the check of a pull request. There the
base counts as fully applied: every task that it wants has been admitted, none is under way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from definitions.desired import Complete
from definitions.library import Library, build
from definitions.problems import Problem
from definitions.program import Program
from definitions.repins import changed_since
from definitions.revision import Source
from reconciler.actions import Action
from reconciler.cli.explanation import short
from reconciler.cli.failure import Failure
from reconciler.cli.memory import Memory
from reconciler.cli.opening import opened
from reconciler.cli.prospects import prospects
from reconciler.cli.repository import Repository
from reconciler.cli.work_tree import DRIVERS
from reconciler.last_good import LastGood, keeping, remembered
from reconciler.observed import Observed, Programs
from reconciler.plan.acceptance import refusal
from reconciler.plan.due import candidates
from reconciler.plan.whole import plan
from reconciler.settings import Settings, SourceSettings
from state.changes import Admitted, Repinned
from state.phases import TaskPhase
from state.records import Identity, Pin, Snapshot, TaskSnapshot


@dataclass(frozen=True, slots=True)
class Forecast:
    """The actions as signed lines, what the plan remarks beside them, and one sentence about all of it.

    `refused` says why the revision would not be put in force at all; "" if it would.
    """

    actions: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    summary: str
    refused: str = ""

    @property
    def wrong(self) -> bool:
        """Whether something would be kept out: the revision, or one of its files."""
        return bool(self.refused) or any(not problem.warning for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "actions": list(self.actions),
            "notes": list(self.notes),
            "problems": [problem.as_dict() for problem in self.problems],
            "refused": self.refused,
            "summary": self.summary,
        }


def next_turn(settings: Settings) -> Forecast:
    """The next turn of a controller over the state folder, which need not exist. Raises SourceUnavailable, StateError."""
    place, memory = settings.source, Memory(settings.state)
    rows = memory.definitions()
    known = memory.source(place.name)
    with opened(place) as source:
        desired = _desired(source, LastGood(rows))
        changed = source.changed(known.commit if known else "", desired.revision.commit) or frozenset()
    if known is None:
        desired = replace(desired, hold=settings.cold_start == "hold")
    desired, stays = _standing(desired, remembered(known, rows)[1] if known and desired.library.rejected else None)
    now, wanted = datetime.now(UTC), _wanted(desired.library)
    seen = _with_triggers(Observed(memory.snapshot(wanted)), desired.library, changed)
    snapshot = memory.snapshot(wanted | frozenset(candidates(desired, seen, now)))
    observed = _with_triggers(_observed(snapshot, memory.pins(snapshot), wanted), desired.library, changed)
    memory.close()
    where = f"{place.path} at {place.ref or 'HEAD'} ({_short(desired)})"
    if refused := _refusal(desired, snapshot, len(rows)):
        return _refused(refused, desired, where)
    planned = plan(desired, observed, now)
    return _forecast(planned, (*stays, *planned.notes, *prospects(planned, desired.library, now)), desired, where)


def between(place: SourceSettings, base: str, head: str) -> Forecast:
    """What merging `head` into `base` would do. Raises SourceUnavailable, Failure for a commit that is not there."""
    before, after = (_at(place, commit) for commit in (base, head))
    after, stays = _standing(after, before.library)
    with opened(place.model_copy(update={"ref": after.revision.commit})) as source:
        source.revision()
        changed = source.changed(before.revision.commit, after.revision.commit) or frozenset()
    now = datetime.now(UTC)
    identities = _wanted(before.library) | _wanted(after.library)
    first = plan(before, _with_triggers(Observed(Snapshot(), identities=identities), before.library), now)
    admitted = [change for action in first if action.sign == "+" for change in action.changes]
    applied = Observed(Snapshot(), identities=identities).after(admitted, now).snapshot
    where = f"{place.path} at {head} ({_short(after)})"
    if refused := _refusal(after, applied, len(before.library.definitions)):
        return _refused(refused, after, where)
    observed = _with_triggers(_observed(applied, _pins_of(admitted), identities), after.library, changed)
    unchanged = {str(action) for action in plan(before, observed, now)}
    planned = plan(after, observed, now)
    actions = [action for action in planned if str(action) not in unchanged]
    note = f"assuming {base} ({_short(before)}) fully applied: every task that it wants is admitted, none has begun"
    return _forecast(actions, (note, *stays, *planned.notes, *prospects(actions, after.library, now)), after, where)


def _desired(source: Source, good: LastGood | None = None) -> Complete:
    revision = source.revision()
    library = build(source.tree(revision), source.read, good=good, drivers=DRIVERS)
    return Complete(revision, library, removes=not library.rejected, since=changed_since(source, library))


def _standing(desired: Complete, before: Library | None) -> tuple[Complete, tuple[str, ...]]:
    """The same with what it would remove and must not, because it has rejected files, and a remark on each of that."""
    library = desired.library
    if before is None or not library.rejected:
        return desired, ()
    gone = [each for each in before.triggers() if library.trigger(each.namespace, each.name) is None]
    left = [each for each in before.tasks() if library.task(each.namespace, each.name) is None]
    why = "because a revision with rejected files removes nothing"
    said = [f"{each.namespace}/{each.name}: its file is gone, and the trigger fires on, {why}" for each in gone]
    said += [f"{each.namespace}/{each.name}: its file is gone, and the task goes on, {why}" for each in left]
    return replace(desired, library=keeping(library, before)), tuple(said)


def _at(place: SourceSettings, commit: str) -> Complete:
    if place.location.startswith("dir:"):
        raise Failure("a folder has no commits to compare; give --source a Git repository")
    full = Repository(Path(place.location.removeprefix("file://"))).resolve(commit)
    with opened(place.model_copy(update={"ref": full})) as source:
        return _desired(source)


def _observed(snapshot: Snapshot, pins: Mapping[str, Pin], wanted: frozenset[Identity]) -> Observed:
    """The world as a controller sees it whose calls are all still in the air."""
    tasks = snapshot.tasks.values()
    flying = frozenset((each.uid, each.path) for task in tasks for each in task.attempts.values() if each.in_flight)
    identities = wanted | {task.record.identity for task in tasks}
    return Observed(snapshot, _programs(tasks, pins), identities, flying)


def _with_triggers(observed: Observed, library: Library, changed: frozenset[str] = frozenset()) -> Observed:
    """The same world with every trigger to be decided about; `changed` are the paths that the revision changes."""
    known = {trigger.identity for trigger in observed.snapshot.triggers.values()}
    files = {(trigger.namespace, trigger.name) for trigger in library.triggers()}
    return replace(observed, triggers=frozenset(known | files), changed=changed)


def _programs(tasks: Iterable[TaskSnapshot], pins: Mapping[str, Pin]) -> Mapping[tuple[str, ...], Program]:
    programs = Programs(lambda digests: {digest: pins[digest] for digest in digests})
    return {pinned: programs.get(pinned) for pinned in {task.record.pins for task in tasks if task.record.pins}}


def _pins_of(changes: Iterable[object]) -> Mapping[str, Pin]:
    return {pin.digest: pin for change in changes if isinstance(change, Admitted | Repinned) for pin in change.pins}


def _wanted(library: Library) -> frozenset[Identity]:
    return frozenset((task.namespace, task.name) for task in library.tasks())


def _refusal(desired: Complete, snapshot: Snapshot, had: int) -> str:
    """Why the revision as a whole would be refused, "" if it would not."""
    records = [task.record for task in snapshot.tasks.values()]
    live = {each.identity for each in records if each.live and each.phase is not TaskPhase.REMOVED and not each.trigger}
    refused = refusal(desired.revision, desired.library, live, had)
    return f"{refused.reason}: {refused.message}" if refused else ""


def _refused(refused: str, desired: Complete, where: str) -> Forecast:
    return Forecast((), (), desired.library.problems, f"refused: {where}: {refused}", refused)


def _forecast(actions: Iterable[Action], notes: tuple[str, ...], desired: Complete, where: str) -> Forecast:
    lines = tuple(str(action) for action in actions)
    files = len({task.path for task in desired.library.tasks()})
    found = f"{files} task file{'' if files == 1 else 's'} under {where}"
    summary = f"{len(lines)} to do: {found}" if lines else f"nothing to do: {found}"
    return Forecast(lines, notes, desired.library.problems, summary)


def _short(desired: Complete) -> str:
    return short(desired.revision.commit)
