"""Task files against runs: which file becomes a run, which run lost its file, and what a file may no longer change."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

from definitions.definition import Definition
from definitions.desired import Complete, Desired
from definitions.library import Library
from definitions.models import Control, Task, TaskSpec
from definitions.params import ParamError, bind
from definitions.program import Program
from reconciler.actions import Action, Sign
from reconciler.observed import Observed
from reconciler.plan.control import CONTROL_CONDITIONS
from state.changes import Admitted, Controlled, TaskAdvanced, TaskChange
from state.phases import Signal, TaskPhase
from state.records import Cause, Identity, Json, Origin, Pin, TaskRecord, TaskSnapshot, task_uid

RUN_WAITING = "RunWaiting"
"""The condition of a run whose file asks for another one already."""
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

    def compare(self, identity: Identity) -> None:
        file = self.library.task(*identity)
        runs = self.observed.runs(identity)
        latest = runs[-1] if runs else None
        self.cause = self._cause(file.path if file else latest.record.origin.path if latest else "")
        if file is None:
            if latest and self.desired.removes:
                self._removed(latest)
            return
        task = cast("Task", file.model)
        if task.spec is None:
            self.notes.append(
                f"{file.namespace}/{file.name}: it has no spec; a task that only controls a trigger's task waits for triggers"
            )
            return
        uid = task_uid(self.desired.revision.source, file.namespace, file.name, task.control.run)
        if latest and latest.record.uid == uid:
            self._again(latest, file, task)
        elif latest and latest.record.live:
            self._still_running(latest, file, task)
        elif self._ran(identity, uid, task.control.run, runs):
            self._executed(file, task)
        else:
            self._admit(file, task, task.spec)

    def _cause(self, path: str) -> Cause:
        """The commit that changed the file, not the one that happened to be the tip."""
        brought = self.library.tree.origin(path)
        return Cause("commit", brought.commit, brought.author, brought.subject)

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

    def _still_running(self, latest: TaskSnapshot, file: Definition, task: Task) -> None:
        run, record = task.control.run, latest.record
        said = f"run {run} waits for the end of run {latest.record.run}"
        if run < latest.record.run:
            said = f"run {latest.record.run} is under way; run {run} is behind it and means nothing"
        # the digest stays that of the run under way, so a controller that starts after its end finds the difference
        self._note_condition(latest, file, {RUN_WAITING: said}, record.digest)
        if run > record.run and not record.pins and record.phase in UNRESOLVED:
            why = f"run {run} takes its place before it could begin"
            change = TaskAdvanced(record.uid, Signal.REVOKE, self.cause, "Superseded", why)
            self._do("x", record, f"revoked: {why}", change)

    # -- a file that has its run -------------------------------------------------------------------------------------

    def _again(self, latest: TaskSnapshot, file: Definition, task: Task) -> None:
        record = latest.record
        if not record.pins and record.phase in UNRESOLVED and task.spec:
            return self._admit(file, task, task.spec, record)
        if record.phase is TaskPhase.REMOVED:
            self._do("~", record, "its file is back", TaskAdvanced(record.uid, Signal.RESTORE, self.cause))
        drift = "the spec changed after admission and is ignored; use run: N to run it anew"
        conditions = {"SpecDrift": drift} if file.spec_digest != record.spec_digest else {}
        self._note_condition(latest, file, conditions, file.digest)
        return None

    def _note_condition(self, latest: TaskSnapshot, file: Definition, conditions: dict[str, str], digest: str) -> None:
        record = latest.record
        task = cast("Task", file.model)
        control = control_json(task.control)
        told = (record.digest, record.conditions, record.control, record.delete_policy)
        kept = {name: text for name, text in record.conditions.items() if name in CONTROL_CONDITIONS}
        if told == (digest, conditions | kept, control, task.delete_policy):
            return
        change = Controlled(record.uid, digest, control, conditions | kept, task.delete_policy, self.cause)
        said = "; ".join(f"{name}: {text}" for name, text in conditions.items())
        self._do("~", record, f"its file changed{f' ({said})' if said else ''}", change)

    def _removed(self, latest: TaskSnapshot) -> None:
        record = latest.record
        if not record.live or record.phase in {TaskPhase.REMOVED, TaskPhase.REVOKING}:
            return None
        if record.delete_policy == "revoke":
            change = TaskAdvanced(record.uid, Signal.REVOKE, self.cause, "Removed", "its file was removed")
            return self._do("x", record, "its file was removed; it is revoked", change)
        change = TaskAdvanced(record.uid, Signal.REMOVE, self.cause, "Removed", "its file was removed")
        return self._do("-", record, "its file was removed; what is under way finishes, nothing new starts", change)

    # -- a file that becomes a run -----------------------------------------------------------------------------------

    def _admit(self, file: Definition, task: Task, spec: TaskSpec, waiting: TaskRecord | None = None) -> None:
        """Make the run, or the row that waits for a definition which is rejected at the moment."""
        record = self._record(file, task, spec)
        if waiting and waiting.restored:
            record = replace(record, held=waiting.held, restored=True)
        if blocked := self.library.unresolved(file):
            self._wait(replace(record, params=spec.with_, reason="DefinitionRejected", message=blocked), waiting)
            return
        program = self.library.program(record.kind, record.namespace, record.target)
        pins = self._pins(record)
        digests = tuple(pin.digest for pin in pins)
        self.programs[digests] = program
        if self.desired.hold:
            record = replace(record, phase=TaskPhase.UNADOPTED, reason="Unadopted")
        self._bound(replace(record, pins=digests), program, spec, pins)

    def _wait(self, record: TaskRecord, before: TaskRecord | None) -> None:
        """Write the waiting row, unless it says the same already."""
        if before and before.phase in {TaskPhase.CREATED, TaskPhase.SUSPENDED} and before.digest == record.digest:
            return
        what = f"waits, its definition is rejected: {record.message}"
        self._do("~" if before else "+", record, what, Admitted(record, (), self.cause))

    def _bound(self, record: TaskRecord, program: Program, spec: TaskSpec, pins: tuple[Pin, ...]) -> None:
        """Admit with the parameters of the file; if they do not fit the definition, the run has failed at once."""
        what = f"run {record.run} of {record.kind.lower()} {record.target}"
        try:
            record = replace(record, params=bind(program.params, spec.with_))
        except ParamError as error:
            failed = TaskAdvanced(record.uid, Signal.FAIL, self.cause, "ParamError", str(error))
            record = replace(record, params=spec.with_, phase=TaskPhase.CREATED)
            return self._do("!", record, f"{what}: {error}", Admitted(record, pins, self.cause), failed)
        return self._do("+", record, what, Admitted(record, pins, self.cause))

    def _pins(self, record: TaskRecord) -> tuple[Pin, ...]:
        closure = self.library.closure(record.kind, record.namespace, record.target)
        return tuple(Pin(d.kind, d.namespace, d.name, d.digest, d.text, d.commit, d.path) for d in closure)

    def _record(self, file: Definition, task: Task, spec: TaskSpec) -> TaskRecord:
        revision, run = self.desired.revision, task.control.run
        return TaskRecord(
            uid=task_uid(revision.source, file.namespace, file.name, run),
            source=revision.source,
            namespace=file.namespace,
            name=file.name,
            run=run,
            kind="Workflow" if spec.workflow else "Job",
            target=spec.workflow or spec.job or "",
            origin=self._origin(file),
            digest=file.digest,
            spec_digest=file.spec_digest,
            pins=(),
            params={},
            created_at=self.now,
            labels=task.metadata.labels,
            annotations=task.metadata.annotations,
            control=control_json(task.control),
            delete_policy=task.delete_policy,
            held=self.desired.older,
            restored=bool(self.desired.older),
        )

    def _origin(self, file: Definition) -> Origin:
        brought = self.library.tree.origin(file.path)
        who = (brought.author, brought.email, brought.subject, brought.signer or "")
        return Origin(brought.commit, file.path, file.blob, *who)

    def _do(self, sign: Sign, record: TaskRecord, what: str, *changes: TaskChange) -> None:
        self.actions.append(Action(sign, record.uid, f"{record.namespace}/{record.name}", what, changes))


def control_json(control: Control) -> dict[str, Json]:
    """The control part as plain JSON, only what the file says."""
    return cast("dict[str, Json]", control.model_dump(mode="json", by_alias=True, exclude_defaults=True))
