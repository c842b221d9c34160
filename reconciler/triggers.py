"""How a trigger stands, for readers: rows and its definition in, a JSON-ready dict out, the same for the API and the CLI.

What fired and what was skipped comes from its history; when it fires next is computed anew, because a row knows the
next time only.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from definitions.models import Trigger, TriggerSpec
from definitions.slots import slots_of
from reconciler.reasons import argument
from reconciler.status import API_VERSION, Document, moment
from reconciler.waiting import duration_text
from state.phases import PUBLIC, TriggerPhase
from state.records import DefinitionRecord, Event, TaskRecord, TriggerRecord
from state.triggers import ALREADY_RAN

SHOWN = 5
"""So many times are shown, the last ones and the next ones."""
_INSTANT = re.compile(r"\d{8}T\d{6}Z")
_REASONS = {
    TriggerPhase.SUSPENDED: "Suspended",
    TriggerPhase.UNADOPTED: "Unadopted",
    TriggerPhase.REMOVED: "Removed",
}


def trigger(
    record: TriggerRecord,
    definition: DefinitionRecord | None,
    firings: Sequence[Event],
    last: TaskRecord | None,
    now: datetime,
) -> Document:
    """One trigger. `firings` are its last decisions, the latest first; `last` is the task that it made last."""
    body: dict[str, Any] = json.loads(definition.text) if definition and definition.text else {}
    spec = _spec(body)
    origin = record.origin
    metadata = {
        "namespace": record.namespace,
        "name": record.name,
        "uid": record.uid,
        "labels": (body.get("metadata") or {}).get("labels", {}),
        "annotations": (body.get("metadata") or {}).get("annotations", {}),
    }
    status = {
        "state": record.phase.value.upper(),
        "reason": _reason(record, spec),
        "message": _message(record, spec, now) + _not_again(record, firings),
        "since": moment(record.since),
        "last": [_decision(each) for each in firings],
        "next": [moment(each) for each in upcoming(spec, record, now)],
        "lastTask": _task(last),
        "source": {"name": record.source, **asdict(origin)},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Trigger",
        "metadata": metadata,
        "spec": body.get("spec"),
        "status": status,
    }


def upcoming(spec: TriggerSpec | None, record: TriggerRecord, now: datetime) -> list[datetime]:
    """The next times of a trigger; none if it does not fire at times, or not now."""
    if spec is None or spec.cron is None or record.phase is not TriggerPhase.ACTIVE:
        return []
    return slots_of(spec.cron, spec.timezone).upcoming(max(record.decided, now), SHOWN)


def _spec(body: dict[str, Any]) -> TriggerSpec | None:
    """What the definition in force says; None if another release kept it in a form that is none any more."""
    try:
        return Trigger.model_validate(body).spec
    except ValueError:
        return None


def _reason(record: TriggerRecord, spec: TriggerSpec | None) -> str:
    if record.phase in _REASONS:
        return _REASONS[record.phase]
    if spec is not None and spec.on_commit is not None:
        return "WaitingForCommit"
    return "WaitingForChange" if spec is not None and spec.on_change else "Scheduled"


def _message(record: TriggerRecord, spec: TriggerSpec | None, now: datetime) -> str:
    match record.phase:
        case TriggerPhase.SUSPENDED:
            return f"{record.message}; to go on: `reconciler resume --trigger {argument(record)}`".lstrip("; ")
        case TriggerPhase.UNADOPTED:
            return "not adopted: this state folder is new to it; run `reconciler adopt` to let it fire"
        case TriggerPhase.REMOVED:
            return record.message
    if spec is not None and spec.on_commit is not None:
        return f"fires at a commit that changes {' or '.join(spec.on_commit.paths)}"
    if spec is not None and spec.on_change:
        return "fires when what its task runs with changes"
    if record.wake_at is None:
        return "has no further time"
    when = f"{record.wake_at:%Y-%m-%d %H:%M:%SZ}"
    if record.wake_at <= now:
        return f"is due since {when}: the controller has not decided about it yet"
    return f"fires next at {when}, in {duration_text((record.wake_at - now).total_seconds())}"


def _not_again(record: TriggerRecord, firings: Sequence[Event]) -> str:
    """That what it looks at has come back to where it fired before, so that it waits although something has changed."""
    last = firings[0] if firings and record.phase is TriggerPhase.ACTIVE else None
    if last is None or last.reason != ALREADY_RAN:
        return ""
    return f"; not for {last.path}, because {last.message} and a slot fires at most once"


def _decision(event: Event) -> Document:
    at = _instant(event.path) or event.at
    fired = event.after == "fired"
    return {
        "slot": event.path,
        "at": moment(at),
        "decidedAt": moment(event.at),
        "outcome": event.after,
        "reason": event.reason,
        "message": "" if fired else event.message,
        "task": event.message if fired else None,
    }


def _instant(slot: str) -> datetime | None:
    return datetime.strptime(slot, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if _INSTANT.fullmatch(slot) else None


def _task(record: TaskRecord | None) -> Document | None:
    if record is None:
        return None
    return {"name": record.name, "run": record.run, "state": PUBLIC[record.phase].value, "reason": record.reason}
