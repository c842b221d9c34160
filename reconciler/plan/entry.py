"""How a run comes to be, whoever desires it: the definitions that it keeps, its parameters, and where it comes from.

A task file and a trigger's slot go the same way, so a run that nobody wrote a file for is pinned, bound and accounted
for like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

from definitions.definition import Definition
from definitions.desired import Complete
from definitions.expressions import EvaluationError
from definitions.models import Control, Metadata, Task, TaskSpec, Trigger
from definitions.params import ParamError, bind
from definitions.program import Program
from reconciler.actions import Action, Sign
from reconciler.observed import pins_of
from reconciler.plan.beginning import DEFINITION_REJECTED
from reconciler.plan.scope import workflow_group
from state.asking import asked_anew, asked_by
from state.changes import Admitted, TaskAdvanced, TaskChange
from state.phases import Signal, TaskPhase
from state.records import Cause, Identity, Json, Origin, Pin, TaskRecord, task_uid
from state.room import QUEUED_FOR_TRIGGER


@dataclass(frozen=True, slots=True)
class Wish:
    """A run that is desired. `file` is the task's own, or that of the trigger that makes it."""

    file: Definition
    name: str
    spec: TaskSpec
    metadata: Metadata
    cause: Cause
    control: Control = field(default_factory=Control)
    delete_policy: str = "finish"
    digest: str = ""  # of the file that controls it; "" if there is none
    trigger: str = ""
    behind: str = ""  # the run whose end it waits for
    at: datetime | None = None  # the time of its slot, if it has one
    dismissed: Mapping[str, Json] = field(default_factory=dict)  # of its control: what was there for the run before
    origin: Origin | None = None  # where `file` comes from, if that is known better than from the revision
    word: Cause | None = None  # who wrote its control, if not who asked for the run
    words: Mapping[str, Cause] = field(default_factory=dict)  # by part of the control, where it is somebody else's
    told: TaskRecord | None = None  # its run before, or the row of this one that waits: what it was told already


@dataclass(frozen=True, slots=True)
class Entry:
    """What admits a run: the action, and the program of its pins; none while its definition is rejected."""

    actions: tuple[Action, ...] = ()
    programs: Mapping[tuple[str, ...], Program] = field(default_factory=dict)


def wish_of(file: Definition, task: Task, spec: TaskSpec, cause: Cause) -> Wish:
    """What a task file desires."""
    said = (task.metadata, cause, task.control, task.delete_policy, file.digest)
    return Wish(file, file.name, spec, *said)


def wish_of_trigger(file: Definition, name: str, cause: Cause, controlled: Definition | None) -> Wish:
    """What a trigger desires: its task called `name`, which the task file `controlled` may control."""
    trigger = cast("Trigger", file.model)
    wish = Wish(file, name, trigger.spec.task, trigger.metadata, cause, trigger=file.name)
    if controlled is None:
        return wish
    task = cast("Task", controlled.model)
    return replace(wish, control=task.control, digest=controlled.digest)


def enter(desired: Complete, wish: Wish, now: datetime, waiting: TaskRecord | None = None) -> Entry:
    """Make the run, or the row that waits for a definition which is rejected at the moment; `waiting` is that row."""
    if waiting:
        wish = replace(wish, behind=waiting.behind, dismissed=waiting.dismissed)
    asked = _asked(wish)
    wish = replace(wish, cause=asked.get(f"run.{wish.control.run}", wish.cause))
    record = replace(_record(desired, wish, now), asked=asked)
    if waiting:  # it keeps its age, by which it stands in line
        record = replace(record, number=waiting.number)
    if waiting and waiting.restored:
        record = replace(record, held=waiting.held, restored=True)
    if blocked := desired.library.unresolved(wish.file):
        return _waits(
            replace(record, params=wish.spec.with_, reason=DEFINITION_REJECTED, message=blocked), wish, waiting
        )
    program = desired.library.program(record.kind, record.namespace, record.target)
    pins = pins_of(desired.library.closure(record.kind, record.namespace, record.target))
    record = replace(record, pins=tuple(pin.digest for pin in pins))
    if desired.hold and not wish.trigger:
        record = replace(record, phase=TaskPhase.UNADOPTED, reason="Unadopted")
    return Entry((_bound(record, program, wish, pins),), {record.pins: program})


def _asked(wish: Wish) -> Mapping[str, Cause]:
    """Who asked for what of the new run; for the run itself where that is not who brought the bytes of its file."""
    told, control, own = wish.told, control_json(wish.control), f"run.{wish.control.run}"
    before: tuple[Mapping[str, Cause], Mapping[str, Json]] = (told.asked, told.control) if told else ({}, {})
    found = asked_anew(*before, control, wish.word or wish.cause, wish.words)
    asked = {part: cause for part, cause in found.items() if part == own or not part.startswith("run.")}
    if told and told.run == wish.control.run:
        asked[own] = asked_by(told, own)
    elif wish.cause.kind != "commit":
        asked[own] = wish.cause
    elif own in wish.words and wish.words[own] != wish.cause:
        asked[own] = wish.words[own]
    return asked


def words_of(desired: Complete, identity: Identity) -> Mapping[str, Cause]:
    """Who asked for what in the control of a task file, as far as that is known better than for the file as a whole."""
    known = desired.words.get(identity, {})
    return {part: Cause("commit", each.commit, each.author, each.subject) for part, each in known.items()}


def brought_by(desired: Complete, path: str) -> Cause:
    """The commit that changed the file at `path` last, not the one that happens to be the tip."""
    brought = desired.library.tree.origin(path)
    return Cause("commit", brought.commit, brought.author, brought.subject)


def origin_of(desired: Complete, file: Definition) -> Origin:
    """Which bytes `file` is, and who brought them."""
    brought = desired.library.tree.origin(file.path)
    who = (brought.author, brought.email, brought.subject, brought.signer or "", brought.committer)
    return Origin(brought.commit, file.path, file.blob, *who)


def control_json(control: Control) -> dict[str, Json]:
    """The control part as plain JSON, only what the file says."""
    return cast("dict[str, Json]", control.model_dump(mode="json", by_alias=True, exclude_defaults=True))


def _waits(record: TaskRecord, wish: Wish, before: TaskRecord | None) -> Entry:
    """The waiting row, unless it says the same already."""
    if before and before.phase in {TaskPhase.CREATED, TaskPhase.SUSPENDED} and before.digest == record.digest:
        return Entry()
    what = f"waits, its definition is rejected: {record.message}"
    return Entry((_action("~" if before else "+", record, what, Admitted(record, (), wish.cause)),))


def _bound(record: TaskRecord, program: Program, wish: Wish, pins: tuple[Pin, ...]) -> Action:
    """Admit with the parameters that are asked for; if they do not fit the definition, the run has failed at once."""
    what = f"run {record.run} of {record.kind.lower()} {record.target}"
    try:
        record = replace(record, params=bind(program.params, wish.spec.with_))
        record = replace(record, group=workflow_group(program.rule, record, program.name, record.params))
    except (ParamError, EvaluationError) as error:
        reason = "ParamError" if isinstance(error, ParamError) else "ExpressionError"
        failed = TaskAdvanced(record.uid, Signal.FAIL, wish.cause, reason, str(error))
        record = replace(record, params=wish.spec.with_, phase=TaskPhase.CREATED)
        return _action("!", record, f"{what}: {error}", Admitted(record, pins, wish.cause), failed)
    what += f", after the end of {record.behind}" if record.behind else ""
    return _action("+", record, what, Admitted(record, pins, wish.cause))


def _record(desired: Complete, wish: Wish, now: datetime) -> TaskRecord:
    revision, file, run = desired.revision, wish.file, wish.control.run
    older = "" if _comes_anew(desired, wish) else desired.older
    reason, message = (QUEUED_FOR_TRIGGER, f"waits for the end of {wish.behind}") if wish.behind else ("", "")
    return TaskRecord(
        uid=task_uid(revision.source, file.namespace, wish.name, run),
        source=revision.source,
        namespace=file.namespace,
        name=wish.name,
        run=run,
        kind="Workflow" if wish.spec.workflow else "Job",
        target=wish.spec.workflow or wish.spec.job or "",
        origin=wish.origin or origin_of(desired, file),
        digest=wish.digest,
        spec_digest=file.spec_digest,
        pins=(),
        params={},
        created_at=now,
        labels=wish.metadata.labels,
        annotations=wish.metadata.annotations,
        control=control_json(wish.control) if wish.digest else {},  # without a file nobody asks for anything
        delete_policy=wish.delete_policy,
        reason=reason,
        message=message,
        held=older,
        restored=bool(older),
        trigger=wish.trigger,
        behind=wish.behind,
        dismissed=wish.dismissed,
    )


def _comes_anew(desired: Complete, wish: Wish) -> bool:
    """Whether it is of a time after a person looked at the older database, in which it cannot have run before."""
    return wish.at is not None and desired.looked_at is not None and wish.at > desired.looked_at


def _action(sign: Sign, record: TaskRecord, what: str, *changes: TaskChange) -> Action:
    return Action(sign, record.uid, f"{record.namespace}/{record.name}", what, changes)
