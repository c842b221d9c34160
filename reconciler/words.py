"""Who made each part of a task's control say what it says, where several commits of its file came at the same time.

The last commit that changed a file is often about something else, so its versions are read backwards, each part as far
as it says the same.
"""

from collections.abc import Iterable, Mapping
from typing import cast

from definitions.definition import Definition
from definitions.files import parse_file
from definitions.models import Task
from definitions.revision import Blob, Revision
from reconciler.plan.entry import control_json
from state.asking import parts
from state.records import Json


def first_said(file: Definition, versions: Iterable[tuple[Revision, bytes]]) -> Mapping[str, Revision]:
    """By part of the control of the task `file`, the commit since which it says so; `versions` begin with the latest."""
    says = dict(parts(control_json(cast("Task", file.model).control)))
    found: dict[str, Revision] = {}
    same = set(says)
    for revision, data in versions:
        before = _control(file, data)
        same = {part for part in same if before is not None and before.get(part, _NOTHING) == says[part]}
        found |= dict.fromkeys(same, revision)
        if not same:
            break
    return found


_NOTHING = object()


def _control(file: Definition, data: bytes) -> Mapping[str, Json] | None:
    """The parts of the control of the same task in other bytes of its file; None where it is not in them."""
    parsed = parse_file(Blob(file.path, "", len(data), ""), data, "")
    known = (each for each in parsed.definitions if each.identity == file.identity)
    return next((dict(parts(control_json(cast("Task", each.model).control))) for each in known), None)
