"""What an operator asks for beside Git: request files in `<state>/requests/`, applied once and then gone.

Only adoption is asked for this way, because it is about this controller's past and not about what should run.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from state.changes import Held, TaskAdvanced
from state.phases import Signal, TaskPhase
from state.records import Cause, TaskRecord

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
