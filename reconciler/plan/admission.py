"""Task files against runs: which file becomes a run, which run lost its file, and what a file may no longer change."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

from definitions.definition import Definition
from definitions.desired import Complete, Desired
from definitions.library import Library
from definitions.models import Control, Task
from definitions.program import Program
from reconciler.actions import Action, Sign
from reconciler.observed import Observed
from reconciler.plan.beginning import going_on, revocation
from reconciler.plan.control import CONTROL_CONDITIONS
from reconciler.plan.entry import Wish, brought_by, control_json, enter, wish_of, wish_of_trigger, words_of
from reconciler.plan.sayings import of_its_run, written_before, written_for
from state.asking import differences
from state.changes import Controlled, TaskAdvanced, TaskChange
from state.phases import Signal, TaskPhase
from state.records import Cause, Identity, Json, TaskRecord, TaskSnapshot, task_uid

RUN_WAITING = "RunWaiting"
"""The condition of a run whose file asks for a later one already."""
RUN_OVER = "RunOver"
"""The condition of a run whose file asks for an earlier one."""
UNRESOLVED = frozenset({TaskPhase.CREATED, TaskPhase.RUNNING, TaskPhase.SUSPENDED, TaskPhase.REMOVED})
"""Where a run without pins stands while it waits for its definitions."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of the files of a slice: actions, the programs of new runs by their pins, and remarks."""

    actions: tuple[Action, ...] = ()
    programs: Mapping[tuple[str, ...], Program] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def admission(desired: Desired, observed: Observed, now: datetime) -> Admission:
    """Compare the files of `observed.identities` with their runs. An Unavailable source changes nothing."""
    if not isinstance(desired, Complete):
        return Admission()
    desk = _Desk(desired, observed, now)
    for identity in sorted(observed.identities):
        desk.compare(identity)
    return Admission(tuple(desk.actions), desk.programs, tuple(desk.notes))


class _Desk:
    """Where the files of one revision are compared with runs."""

    def __init__(self, desired: Complete, observed: Observed, now: datetime) -> None:
        self.desired = desired
        self.observed = observed
        self.now = now
        self.library: Library = desired.library
        self.actions: list[Action] = []
        self.programs: dict[tuple[str, ...], Program] = {}
        self.notes: list[str] = []
        self.cause = Cause("commit")
        self.words: Mapping[str, Cause] = {}

    def compare(self, identity: Identity) -> None:
        file = self.library.task(*identity)
        runs = self.observed.runs(identity)
        latest = runs[-1] if runs else None
        self.cause = brought_by(self.desired, file.path if file else latest.record.origin.path if latest else "")
        if file is None:
            self._without_file(latest)
            return
        task, self.words = cast("Task", file.model), words_of(self.desired, identity)
        wish = self._wish(file, task, latest)
        if wish is None:
            self._controls_nothing(file, latest, task)
            return
        uid = task_uid(self.desired.revision.source, file.namespace, file.name, task.control.run)
        if latest and latest.record.uid == uid:
            self._again(latest, file, task, wish)
        elif latest and task.control.run < latest.record.run:
            self._behind(latest, file, task)
        elif latest and latest.record.live:
            self._still_running(latest, file, task)
        elif self._ran(identity, uid, task.control.run, runs):
            self._executed(file, task)
        else:
            self._admit(replace(wish, dismissed=self._said_before(wish)))

    def _said_before(self, wish: Wish) -> dict[str, Json]:
        """What the control of a new run says of steps and cannot be about it: it was there for the run before."""
        gone = self.observed.snapshot.runs.get((wish.file.namespace, wish.name), ())
        control = control_json(wish.control)
        if wish.told:
            return written_before(control, wish.told)
        return written_for(control, max(each.run for each in gone)) if gone else {}

    def _wish(self, file: Definition, task: Task, latest: TaskSnapshot | None) -> Wish | None:
        """The run that a file desires; without a spec the file controls a run of a trigger, which knows the spec."""
        told = latest.record if latest else None
        if task.spec is not None:
            return replace(wish_of(file, task, task.spec, self.cause), told=told, words=self.words)
        made = self.library.trigger(file.namespace, told.trigger) if told and told.trigger else None
        return (
            replace(wish_of_trigger(made, file.name, self.cause, file), told=told, words=self.words) if made else None
        )

    def _controls_nothing(self, file: Definition, latest: TaskSnapshot | None, task: Task) -> None:
        """A file without a spec, and no trigger that is in force to say what it runs."""
        if latest and latest.record.trigger:
            self._without_trigger(latest, file, task)
            return
        said = "it has no spec, and no trigger has made a task of this name yet"
        self.notes.append(f"{file.namespace}/{file.name}: {said}")

    def _without_trigger(self, latest: TaskSnapshot, file: Definition, task: Task) -> None:
        """The runs that a trigger made can be controlled without it; a new one cannot be made."""
        run, record = task.control.run, latest.record
        if run < record.run:
            self._behind(latest, file, task)
        elif run == record.run:
            self._note_condition(latest, file, {}, file.digest)
        else:
            said = f"run {run} needs its trigger {record.trigger}, which is gone"
            self._note_condition(latest, file, {RUN_WAITING: said}, record.digest)
            self.notes.append(f"{file.namespace}/{file.name}: {said}")

    def _without_file(self, latest: TaskSnapshot | None) -> None:
        if latest is None:
            return
        record = latest.record
        made = self.library.trigger(record.namespace, record.trigger) if record.trigger else None
        if made and not record.pins and record.phase in UNRESOLVED:
            wish = wish_of_trigger(made, record.name, self.cause, None)
            self._admit(replace(wish, control=Control(run=record.run), told=record), record)
        elif record.trigger and self.desired.removes:
            self._let_go(latest)
        elif self.desired.removes:
            self._removed(latest)

    def _let_go(self, latest: TaskSnapshot) -> None:
        """Nothing controls a run of a trigger any more: it goes on as its trigger made it."""
        record = latest.record
        if record.live and (record.digest, record.control, record.conditions) != ("", {}, {}):
            said = "the file that controlled it was removed"
            self._do("~", record, said, Controlled(record.uid, "", {}, {}, "finish", self.cause, said))

    def _ran(self, identity: Identity, uid: str, run: int, runs: list[TaskSnapshot]) -> bool:
        gone = self.observed.snapshot.runs.get(identity, ())
        known = [(task.record.uid, task.record.run) for task in runs] + [(each.uid, each.run) for each in gone]
        return any(each == uid or number >= run for each, number in known)

    def _executed(self, file: Definition, task: Task) -> None:
        gone = self.observed.snapshot.runs.get((file.namespace, file.name), ())
        commit = next((each.commit for each in gone if each.run == task.control.run), "")
        where = f" at {self.desired.revision.source}@{commit[:12]}" if commit else ""
        run = task.control.run + 1
        self.notes.append(f"{file.namespace}/{file.name}: already executed{where}; use a new name or run: {run}")

    def _behind(self, latest: TaskSnapshot, file: Definition, task: Task) -> None:
        """The file asks for a run that was before the latest one, which goes on as it is."""
        run, last = task.control.run, latest.record.run
        said = f"the file asks for run {run}, and run {last} came after it; for a new one say run: {last + 1}"
        self._note_condition(latest, file, {RUN_OVER: said}, file.digest)

    def _still_running(self, latest: TaskSnapshot, file: Definition, task: Task) -> None:
        run, record = task.control.run, latest.record
        said = f"run {run} waits for the end of run {record.run}"
        if "steps" in control_json(task.control):
            said += f"; what is said of steps now goes for run {run}"
        # the digest stays that of the run under way, so a controller that starts after its end finds the difference
        self._note_condition(latest, file, {RUN_WAITING: said}, record.digest)
        if run > record.run and not record.pins and record.phase in UNRESOLVED:
            why = f"run {run} takes its place before it could begin"
            change = TaskAdvanced(record.uid, revocation(latest), self.cause, "Superseded", why)
            self._do("x", record, f"revoked: {why}", change)

    # -- a file that has its run -------------------------------------------------------------------------------------

    def _again(self, latest: TaskSnapshot, file: Definition, task: Task, wish: Wish) -> None:
        record = latest.record
        if not record.pins and record.phase in UNRESOLVED:
            return self._admit(wish, record)
        if record.phase is TaskPhase.REMOVED:
            self._do("~", record, "its file is back", going_on(record, Signal.RESTORE, self.cause))
        drift = "the spec changed after admission and is ignored; use run: N to run it anew"
        drifted = task.spec is not None and file.spec_digest != record.spec_digest
        conditions = {"SpecDrift": drift} if drifted else {}
        self._note_condition(latest, file, conditions, file.digest)
        return None

    def _note_condition(self, latest: TaskSnapshot, file: Definition, conditions: dict[str, str], digest: str) -> None:
        record = latest.record
        task = cast("Task", file.model)
        control = control_json(task.control)
        if task.control.run != record.run:
            control = of_its_run(control, record)
        told = (record.digest, record.conditions, record.control, record.delete_policy)
        kept = {name: text for name, text in record.conditions.items() if name in CONTROL_CONDITIONS}
        if told == (digest, conditions | kept, control, task.delete_policy):
            return
        said = "; ".join(f"{name}: {text}" for name, text in conditions.items())
        news = "; ".join(filter(None, (", ".join(differences(record.control, control)), said)))
        said_now = (control, conditions | kept, task.delete_policy, self.cause, news)
        change = Controlled(record.uid, digest, *said_now, words=self.words)
        self._do("~", record, f"its file changed{f' ({said})' if said else ''}", change)

    def _removed(self, latest: TaskSnapshot) -> None:
        record = latest.record
        if not record.live or record.phase in {TaskPhase.REMOVED, TaskPhase.REVOKING}:
            return None
        if record.delete_policy == "revoke":
            change = TaskAdvanced(record.uid, revocation(latest), self.cause, "Removed", "its file was removed")
            return self._do("x", record, "its file was removed; it is revoked", change)
        change = TaskAdvanced(record.uid, Signal.REMOVE, self.cause, "Removed", "its file was removed")
        return self._do("-", record, "its file was removed; what is under way finishes, nothing new starts", change)

    # -- a file that becomes a run -----------------------------------------------------------------------------------

    def _admit(self, wish: Wish, waiting: TaskRecord | None = None) -> None:
        entry = enter(self.desired, wish, self.now, waiting)
        self.actions += entry.actions
        self.programs.update(entry.programs)

    def _do(self, sign: Sign, record: TaskRecord, what: str, *changes: TaskChange) -> None:
        self.actions.append(Action(sign, record.uid, f"{record.namespace}/{record.name}", what, changes))
