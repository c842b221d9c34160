"""What the control part of a task file asks for: suspend, resume, revoke. Each takes effect once and says why."""

from collections.abc import Iterator, Mapping

from definitions.models import Control
from reconciler.actions import Action, Sign
from reconciler.observed import Observed
from state.changes import TaskAdvanced
from state.phases import STARTING_TASKS, Signal, TaskPhase
from state.records import Cause, TaskRecord

LATER = ("until", "repin", "steps")
"""Parts of `control` that validate and are not acted on yet."""


def refused_controls(control: Control) -> dict[str, str]:
    """The condition that names the parts of a control which this version does not act on; empty without any."""
    names = [f"control.{name}" for name in LATER if getattr(control, name)]
    return {"ControlRefused": f"{', '.join(names)}: not part of this version, ignored"} if names else {}


def control(observed: Observed) -> Iterator[Action]:
    """What the recorded controls of live tasks ask for and their phases do not show yet."""
    for task in observed.snapshot.tasks.values():
        action = _wanted(task.record)
        if action:
            yield action


def _wanted(record: TaskRecord) -> Action | None:
    wanted, reason = record.control.get("state", "running"), str(record.control.get("reason", ""))
    if wanted == "suspended" and record.phase in STARTING_TASKS:
        return _action(record, "~", Signal.SUSPEND, "Suspended", reason)
    if wanted == "running" and record.phase is TaskPhase.SUSPENDED:
        return _action(record, "~", Signal.RESUME, "", "")
    if wanted == "revoked" and record.live and record.phase is not TaskPhase.REVOKING:
        return _action(record, "x", Signal.REVOKE, "Revoked", reason)
    return None


def _action(record: TaskRecord, sign: Sign, signal: Signal, reason: str, message: str) -> Action:
    origin: Mapping[str, str] = {"reference": record.origin.commit, "author": record.origin.author}
    change = TaskAdvanced(record.uid, signal, Cause("commit", **origin), reason, message)
    what = {Signal.SUSPEND: "suspended", Signal.RESUME: "resumed"}.get(signal, "revoked")
    return Action(
        sign, record.uid, f"{record.namespace}/{record.name}", f"{what}: {message}" if message else what, (change,)
    )
