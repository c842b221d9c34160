"""How a part of a run has ended: a workflow by its steps, a step by its calls, a list by its items.

Values in, values out; None means that something of it can still go on. A lost part makes the whole lost, because nobody
may call failed what may have worked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconciler.failures import BROKEN
from reconciler.plan.attempts import REVOKED
from reconciler.position import Frame, Position
from state.phases import ACTIVE_STEPS, ENDED_STEPS, Signal, State, StepPhase
from state.records import StepRecord

CUT = frozenset({"TimedOut", "Revoked"})
"""Reasons of steps that ended because time was over, which may have been the time of the task."""
_SIGNALS = {StepPhase.LOST: Signal.LOSE, StepPhase.CANCELLED: Signal.CANCEL}

Rows = Callable[[Position], StepRecord]
"""The row of a step, call or item as it is now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended. `signal` is SUCCEED, FAIL, LOSE or CANCEL."""

    signal: Signal
    reason: str = ""
    message: str = ""
    path: str = ""  # of the part that decided it, where one did

    @property
    def state(self) -> str:
        """What `task.state` says in the step that runs at the end."""
        ends = {Signal.SUCCEED: State.FINISHED, Signal.CANCEL: State.REVOKED}
        return ends.get(self.signal, State.FAILED).value


SUCCEEDED = Outcome(Signal.SUCCEED)


def passed(position: Position, row: StepRecord) -> bool:
    """Whether the steps behind it may start."""
    return row.phase in ENDED_STEPS and (row.phase not in BROKEN or position.node.continue_on_error)


def frame_outcome(frame: Frame, rows: Rows, over: str, ready: Callable[[Position], bool]) -> Outcome | None:
    """How a workflow ended. `over`: why nothing of it starts any more; `ready`: whether a waiting step could start."""
    steps = [(step, rows(step)) for step in frame.steps]
    if any(row.phase in ACTIVE_STEPS for _, row in steps):
        return None
    if over == REVOKED:
        return Outcome(Signal.CANCEL, "Revoked", over)
    fatal = [row for step, row in steps if row.phase in BROKEN and not step.node.continue_on_error]
    if over and any(row.phase not in ENDED_STEPS or row.reason in CUT for _, row in steps):
        own = [row for row in fatal if row.reason not in CUT]
        return broken(own) if own else Outcome(Signal.FAIL, "TimedOut", over)
    if all(passed(step, row) for step, row in steps):
        return SUCCEEDED
    if fatal and not any(row.phase is StepPhase.WAITING and ready(step) for step, row in steps):
        return broken(fatal)  # a branch that may start when the task is resumed still has its chance
    return None


def calls_outcome(calls: Sequence[Position], rows: Rows) -> Outcome | None:
    """How a step with calls ended: with the last one, or with the first that fails."""
    found = [(call, rows(call)) for call in calls]
    fatal = [row for call, row in found if row.phase in BROKEN and not call.node.continue_on_error]
    if fatal:
        return broken(fatal[:1])
    return SUCCEEDED if all(row.phase in ENDED_STEPS for _, row in found) else None


def list_outcome(items: Sequence[StepRecord]) -> Outcome | None:
    """How a list ended: every item has its chance, and one that fails makes the whole fail."""
    if any(row.phase not in ENDED_STEPS for row in items):
        return None
    bad = [row for row in items if row.phase in BROKEN]
    if not bad:
        return SUCCEEDED
    first = broken(bad)
    return Outcome(first.signal, first.reason, f"{len(bad)} of {len(items)} items failed; {first.message}", first.path)


def lost_before(row: StepRecord) -> str:
    """The attempts of a step that may still run although others have followed them; "" if none."""
    numbers = ", ".join(map(str, row.lost))
    return f"attempt{'s' * (len(row.lost) > 1)} {numbers}" if numbers else ""


def broken(rows: Sequence[StepRecord]) -> Outcome:
    """The outcome of what these failed parts belong to; a lost one speaks for all."""
    row = next((row for row in rows if row.phase is StepPhase.LOST), rows[0])
    message = f"{row.path}: {row.message}".rstrip(": ")
    return Outcome(_SIGNALS.get(row.phase, Signal.FAIL), row.reason, message, row.path)
