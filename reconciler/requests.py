"""What an operator asks for beside Git: request files in `<state>/requests/`, applied once and then gone.

Only adoption is asked for this way, because it is about this controller's past and not about what should run.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from state.changes import AttemptAdvanced, Held, TaskAdvanced
from state.phases import Signal, TaskPhase
from state.records import Cause, Identity, TaskRecord, TaskSnapshot, TriggerRecord
from state.triggers import TriggerAdopted

log = structlog.get_logger("reconciler.requests")


@dataclass(frozen=True, slots=True)
class Request:
    """`selection` holds namespace/name of each task to adopt; None is all of them."""

    file: Path
    by: str
    selection: frozenset[str] | None


def waiting(folder: Path) -> list[Request]:
    """The requests in `folder`, oldest first. One that cannot be read is put aside under a name that says so."""
    return [request for file in sorted(folder.glob("*.json")) if (request := _read(file))]


def _read(file: Path) -> Request | None:
    try:
        if not file.is_file():
            raise ValueError("this is no plain file")  # and a pipe would keep the loop waiting for good
        value = json.loads(file.read_text(encoding="utf-8"))
        selection = value["selection"]
        if isinstance(selection, str) and selection not in {"all", "none"}:
            raise ValueError(f"the selection is `all`, `none` or a list of namespace/name, not {selection!r}")
        chosen = None if selection == "all" else frozenset() if selection == "none" else frozenset(map(str, selection))
        return Request(file, str(value.get("by", "")), chosen)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("a request cannot be read and is put aside", file=file.name, error=str(error))
        file.replace(file.with_suffix(".unreadable"))
        return None


def holdings(why: str, tasks: Iterable[TaskSnapshot]) -> Iterator[Held | AttemptAdvanced]:
    """What a start with an older database writes first: none of `tasks` goes on by itself.

    That a call may be sent again was proven before what the database has forgotten, so it is looked at anew.
    """
    cause = Cause("recovery", message="cold start")
    for task in tasks:
        for attempt in task.attempts.values():
            if attempt.in_flight and attempt.wake_at:
                yield AttemptAdvanced(attempt.uid, attempt.path, None, cause, message=attempt.message)
        yield Held(task.record.uid, why, cause)


def adoptions(request: Request, records: Collection[TaskRecord]) -> Iterator[TaskAdvanced | Held]:
    """The tasks that `request` lets begin, or go on."""
    cause = Cause("operator", request.file.name, request.by, "reconciler adopt")
    for record in records:
        name = f"{record.namespace}/{record.name}"
        wanted = request.selection is None or name in request.selection
        if wanted and record.phase is TaskPhase.UNADOPTED:
            yield TaskAdvanced(record.uid, Signal.ADOPT, cause)
        if wanted and record.held:
            yield Held(record.uid, "", cause)


def adopted_triggers(request: Request, records: Collection[TriggerRecord]) -> Iterator[tuple[Identity, TriggerAdopted]]:
    """The triggers that `request` lets fire from now on."""
    cause = Cause("operator", request.file.name, request.by, "reconciler adopt")
    for record in records:
        if request.selection is None or f"{record.namespace}/{record.name}" in request.selection:
            yield record.identity, TriggerAdopted(record.uid, cause)
