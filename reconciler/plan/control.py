"""What the control part of a task file asks for: suspend, resume, revoke. Each takes effect once and says why."""

from collections.abc import Iterator
from functools import partial

from definitions.desired import Complete, Desired
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


def control(observed: Observed, desired: Desired) -> Iterator[Action]:
    """What the recorded controls of live tasks ask for and their phases do not show yet."""
    for task in observed.snapshot.tasks.values():
        action = _wanted(task.record, desired)
        if action:
            yield action


def _wanted(record: TaskRecord, desired: Desired) -> Action | None:
    make = partial(_action, record, desired)
    wanted, reason = record.control.get("state", "running"), str(record.control.get("reason", ""))
    if wanted == "suspended" and record.phase in STARTING_TASKS:
        return make("~", Signal.SUSPEND, "Suspended", reason)
    if wanted == "running" and record.phase is TaskPhase.SUSPENDED:
        return make("~", Signal.RESUME, "", "")
    if wanted == "revoked" and record.live and record.phase is not TaskPhase.REVOKING:
        return make("x", Signal.REVOKE, "Revoked", reason)
    return None


def _cause(record: TaskRecord, desired: Desired) -> Cause:
    """The commit that asks for it: the one that brought the file as it is; without a file the one that began the run."""
    file = desired.library.task(*record.identity) if isinstance(desired, Complete) else None
    if file is None or not isinstance(desired, Complete):
        return Cause("commit", record.origin.commit, record.origin.author, record.origin.subject)
    brought = desired.library.tree.origin(file.path)
    return Cause("commit", brought.commit, brought.author, brought.subject)


def _action(record: TaskRecord, desired: Desired, sign: Sign, signal: Signal, reason: str, message: str) -> Action:
    change = TaskAdvanced(record.uid, signal, _cause(record, desired), reason, message)
    what = {Signal.SUSPEND: "suspended", Signal.RESUME: "resumed"}.get(signal, "revoked")
    return Action(
        sign, record.uid, f"{record.namespace}/{record.name}", f"{what}: {message}" if message else what, (change,)
    )
