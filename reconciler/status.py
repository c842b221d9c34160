"""What everybody reads: records and the time in, JSON-ready dicts out, the same for the API, the pages and the CLI.

Objects have the form of the files, `{apiVersion, kind, metadata, spec, status}`. The six public states come from
`state.phases`, the sentences from `reconciler.waiting`; nothing here decides anything.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Any

from definitions.models import format_duration
from definitions.program import Program
from reconciler.approval import plan_digest
from reconciler.expectation import expected_finish, heard, node_span
from reconciler.failures import times_failed
from reconciler.position import Position, below, locate, target_of, whole
from reconciler.reasons import ATTEMPT_REASONS, condition, conditions, step_reason, task_reason
from reconciler.waiting import Place, focus, place, step_sentence, tally, task_sentence
from state.phases import ENDED_STEPS, ENDED_TASKS, PUBLIC, StepPhase
from state.records import (
    AttemptRecord,
    Cause,
    DefinitionRecord,
    Event,
    Origin,
    Pin,
    RevisionRecord,
    SourceRecord,
    TaskRecord,
    TaskSnapshot,
)

API_VERSION = "reconciler/v1"
Document = dict[str, Any]


def task(snapshot: TaskSnapshot, program: Program | None, now: datetime, pins: Sequence[Pin] = ()) -> Document:
    """One task whole: `status.steps` is the tree in flow order, also what has not started (empty without a program)."""
    steps = [step(snapshot, each, now) for each in whole(program).places.values()] if program else []
    whole_ = {"ahead": _ahead(snapshot, ""), "definitions": [_pin(pin) for pin in pins], "steps": steps}
    return _task_object(snapshot.record, _task_status(snapshot, program, now) | whole_)


def summary(snapshot: TaskSnapshot, program: Program | None, now: datetime) -> Document:
    """One task as lists show it: as `task`, without its steps."""
    return _task_object(snapshot.record, _task_status(snapshot, program, now))


def step(snapshot: TaskSnapshot, position: Position, now: datetime) -> Document:
    """One step, call or item, with its own `steps` below it: an element of the tree in `task`."""
    where, node = place(snapshot, position), position.node
    row, phase = where.step, where.phase
    span = node_span(node, heard(snapshot.record), position.path)
    finish = row.started_at + span if row.started_at and span is not None else None
    ended = phase in ENDED_STEPS
    shown: Document = {
        "name": position.name,
        "path": position.path,
        "title": node.title,
        "state": PUBLIC[phase].value,
        "reason": step_reason(row, where.attempt),
        "message": step_sentence(snapshot, where, now),
        "ahead": _ahead(snapshot, position.path),
        "attempt": row.attempt,
        "failed": times_failed(row),
        "calls": where.attempt.call if where.attempt else 0,
        "outputs": row.outputs,
        "startedAt": moment(row.started_at),
        "finishedAt": moment(row.finished_at),
        "expect": format_duration(span) if span is not None else None,
        "expectedFinish": moment(finish),
        "remainingSeconds": remaining(finish, now, ended=ended),
        "wakeAt": None if ended else moment(_wake(where)),
        "waitsFor": [each.path for each in position.before],
        "steps": [step(snapshot, each, now) for each in below(snapshot, position)],
    }
    if position.item is not None and (target := _target(snapshot, position, where.attempt)):
        shown["target"] = target
    if phase is StepPhase.RUNNING and node.kind == "approval":
        shown["plan"] = plan_digest(snapshot, position)
    return shown | {"skip": True} if phase is StepPhase.SKIPPED else shown


def _target(snapshot: TaskSnapshot, position: Position, attempt_: AttemptRecord | None) -> Document:
    """The container that an item is about, and the exit code there; empty for everything else."""
    found = target_of(snapshot, position)
    if not isinstance(found, dict):
        return {}
    return {**{key: found.get(key) for key in ("id", "name", "host")}, "exitCode": attempt_.code if attempt_ else None}


def step_object(snapshot: TaskSnapshot, program: Program, path: str, now: datetime) -> Document:
    """One step by its path as an object of its own; raises KeyError for a path that the program does not have."""
    position = locate(program, path)
    node, unit = position.node, position.node.unit
    metadata = {"namespace": snapshot.record.namespace, "task": snapshot.record.name, "run": snapshot.record.run}
    spec = {
        "kind": node.kind,
        "job": unit.job if unit else None,
        "workflow": node.body.name if node.body else None,
        "driver": unit.driver if unit else None,
        "if": str(node.condition.text) if node.condition else None,
        "waitsFor": [each.path for each in position.before],
        "continueOnError": node.continue_on_error,
    }
    shown = step(snapshot, position, now)
    return _object("Step", {**metadata, "name": position.name, "path": path}, spec, shown)


def attempt(record: AttemptRecord, task_name: str = "") -> Document:
    """One attempt: what was asked (secrets as `***`), how often it was called and what it answered."""
    metadata = {"namespace": record.namespace, "task": task_name, "path": record.path, "number": record.number}
    spec = {"driver": record.driver, "job": record.job, "request": record.request}
    status = {
        "state": PUBLIC[record.phase].value,
        "reason": ATTEMPT_REASONS[record.phase],
        "message": record.message,
        "calls": record.call,
        "resends": record.resends,
        "answer": record.answer,
        "outputs": record.outputs,
        "code": record.code,
        "exitCode": record.code if record.driver != "http" else None,
        "handle": record.handle,
        "startedAt": moment(record.started_at),
        "finishedAt": moment(record.ended_at),
        "deadline": moment(record.deadline),
        "wakeAt": moment(record.wake_at),
    }
    return _object("Attempt", {**metadata, "key": record.key, "externalName": record.name}, spec, status)


def event(record: Event, identity: tuple[str, str] = ("", "")) -> Document:
    """One state change with its cause. `identity` is (namespace, name) of its task or trigger, empty if that is gone."""
    of_trigger = record.subject == "trigger"
    return {
        "sequence": record.sequence,
        "at": moment(record.at),
        "uid": record.uid,
        "namespace": identity[0],
        "task": "" if of_trigger else identity[1],
        "trigger": identity[1] if of_trigger else "",
        "subject": record.subject,
        "path": record.path,
        "attempt": record.attempt,
        "before": record.before,
        "after": record.after,
        "reason": record.reason,
        "message": record.message,
        "cause": _cause(record.cause),
        "hash": record.hash,
    }


def definition(record: DefinitionRecord) -> Document:
    """One document of the active revision, accepted or with its problems; `spec` is what is in force, else None."""
    body = json.loads(record.text) if record.text else {}
    metadata = {"namespace": record.namespace, "name": record.name} | body.get("metadata", {})
    status = {
        "accepted": record.accepted,
        "inForce": bool(record.digest),
        "digest": record.digest,
        "source": {"commit": record.commit, "path": record.path, "blob": record.blob, "document": record.index},
        "problems": [dict(problem) for problem in record.problems],
    }
    return _object(record.kind, metadata, body.get("spec"), status)


def source(record: SourceRecord) -> Document:
    """Where definitions come from, what is in force of it, and the conditions that keep something newer out."""
    revision_ = {
        "commit": record.commit,
        "author": record.author,
        "email": record.email,
        "subject": record.subject,
        "committedAt": moment(record.committed_at),
        "activatedAt": moment(record.activated_at),
    }
    bad = [each for each in record.conditions if each.get("status") != "False" and each.get("type") != "Ready"]
    reason = bad[0].get("reason", "") if bad else "Active" if record.commit else "Unseen"
    ready = condition("Ready", reason, bad[0].get("message", "") if bad else "", met=bool(record.commit) and not bad)
    given = [dict(each) for each in record.conditions]
    conditions = given if any(each.get("type") == "Ready" for each in given) else [ready, *given]
    status = {"revision": revision_, "observedAt": moment(record.observed_at), "conditions": conditions}
    spec = {"location": record.location, "ref": record.ref.removeprefix("refs/heads/"), "path": record.path}
    return _object("Source", {"name": record.name}, spec, status)


def revision(record: RevisionRecord) -> Document:
    """One revision that was in force, and from when; of a source once more for each time it came into force."""
    fields = {
        "commit": record.commit,
        "author": record.author,
        "email": record.email,
        "subject": record.subject,
        "committedAt": moment(record.committed_at),
        "activatedAt": moment(record.activated_at),
    }
    metadata = {"name": record.commit, "source": record.source}
    return _object("Revision", metadata, {"source": record.source}, fields)


@lru_cache(maxsize=8192)
def moment(at: datetime | None) -> str | None:
    """A time as RFC 3339 in UTC with milliseconds, or None."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def remaining(finish: datetime | None, now: datetime, *, ended: bool) -> int | None:
    """Whole seconds until `finish`, below zero when overdue, 0 once ended; None where nothing is expected."""
    if finish is None:
        return None
    return 0 if ended else ceil((finish - now).total_seconds())


def _object(kind: str, metadata: Mapping[str, Any], spec: Any, status: Document) -> Document:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": dict(metadata), "spec": spec, "status": status}


def _task_object(record: TaskRecord, status: Document) -> Document:
    metadata = {
        "namespace": record.namespace,
        "name": record.name,
        "uid": record.uid,
        "run": record.run,
        "number": record.number,
        "labels": dict(record.labels),
        "annotations": dict(record.annotations),
        "createdAt": moment(record.created_at),
    }
    return _object("Task", metadata, {record.kind.lower(): record.target, "with": dict(record.params)}, status)


def _task_status(snapshot: TaskSnapshot, program: Program | None, now: datetime) -> Document:
    """What lists and the task itself say alike."""
    record, about = snapshot.record, focus(snapshot, program)
    reason = task_reason(record, step_reason(about.place.step, about.place.attempt) if about else "")
    message = task_sentence(snapshot, program, now, about)
    finish = expected_finish(program, record)
    done, total = tally(snapshot, program) if program else (0, 0)
    return {
        "state": PUBLIC[record.phase].value,
        "reason": reason,
        "message": message,
        "progress": {"done": done, "total": total},
        "conditions": conditions(record, reason, message),
        "createdAt": moment(record.created_at),
        "startedAt": moment(record.started_at),
        "finishedAt": moment(record.finished_at),
        "expectedFinish": moment(finish),
        "remainingSeconds": remaining(finish, now, ended=record.phase in ENDED_TASKS),
        "deadline": moment(record.deadline),
        "outputs": record.outputs,
        "control": dict(record.control),
        "asked": {part: _cause(cause) for part, cause in record.asked.items()},
        "repinned": record.repinned,
        "deletePolicy": record.delete_policy,
        "source": {"name": record.source, "trigger": record.trigger, **_origin(record.origin)},
    }


def _origin(origin: Origin) -> Document:
    return {
        "commit": origin.commit,
        "path": origin.path,
        "blob": origin.blob,
        "author": origin.author,
        "email": origin.email,
        "committer": origin.committer,
        "subject": origin.subject,
        "signer": origin.signer,
    }


def _cause(cause: Cause) -> Document:
    return {"kind": cause.kind, "reference": cause.reference, "author": cause.author, "message": cause.message}


def _pin(pin: Pin) -> Document:
    place_ = {"commit": pin.commit, "path": pin.path}
    return {"kind": pin.kind, "namespace": pin.namespace, "name": pin.name, "digest": pin.digest, **place_}


def _ahead(snapshot: TaskSnapshot, path: str) -> int | None:
    """How many stand in line before the task or step; None for what stands in no line."""
    line = snapshot.lines.get(path)
    return line.ahead if line else None


def _wake(where: Place) -> datetime | None:
    """When a step that has not ended is looked at next."""
    return where.step.wake_at or (where.attempt.wake_at if where.attempt and not where.attempt.ended else None)
