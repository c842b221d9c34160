"""What people answer about a task that they saw: which step they mean, and the numbers that they read there.

They saw it some time ago, so it may fit no more when it arrives; that is what compare-and-set is for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from definitions.program import Program
from reconciler.approval import plan_digest
from reconciler.position import locate
from state.phases import StepPhase
from state.records import StepRecord, TaskSnapshot

ABOUT_STEPS = frozenset({"retry", "skip", "resolve", "approve", "expect"})
WITH_A_LOOK = ABOUT_STEPS | {"repin", "until"}
_WANTED = {
    "retry": frozenset({StepPhase.FAILED, StepPhase.CANCELLED}),
    "skip": frozenset({StepPhase.FAILED, StepPhase.LOST, StepPhase.QUEUED, StepPhase.RETRYING, StepPhase.WAITING}),
    "resolve": frozenset({StepPhase.LOST}),
    "approve": frozenset({StepPhase.RUNNING}),
    "expect": frozenset(StepPhase),
}


@dataclass(frozen=True, slots=True)
class View:
    """What somebody saw: the newest run of a task, its program as far as it is known, and the head of the branch."""

    task: TaskSnapshot | None
    program: Program | None
    head: str

    @property
    def name(self) -> str:
        """Of the task; a trigger's is not known before it fired."""
        return self.task.record.name if self.task else ""


def answer(kind: str, view: View, roll: Callable[..., float]) -> tuple[str, dict[str, Any]] | None:
    """(path of a step, what is said of it); None where nobody would say anything."""
    task = view.task
    rows = [row for _, row in sorted(task.steps.items()) if _fitting(kind, row, view)] if task else []
    if task is None or not rows:
        return None
    wanted = [row for row in rows if row.phase in _WANTED[kind]]
    rows = wanted if wanted and roll("wanted") < 0.8 else rows
    row = rows[int(roll("which") * len(rows))]
    by_hand = {"value": f"by-hand-{row.path}"} if roll("outputs") < 0.5 else {}
    said: Mapping[str, Callable[[], dict[str, Any]]] = {
        "retry": lambda: {"failed": max(1, row.attempt)},
        "skip": lambda: {"reason": "by hand", "outputs": by_hand},
        "resolve": lambda: _resolution(row, by_hand, succeeded=roll("succeeded") < 0.5),
        "approve": lambda: {"plan": _digest(task, view.program, row.path)},
    }
    return row.path, {kind: "1h" if kind == "expect" else said[kind]()}


def _fitting(kind: str, row: StepRecord, view: View) -> bool:
    if kind == "approve":
        return bool(view.program) and locate(view.program, row.path).node.kind == "approval"
    return kind in {"skip", "expect"} or row.attempt > 0


def _resolution(row: StepRecord, outputs: dict[str, str], *, succeeded: bool) -> dict[str, Any]:
    said = {"attempt": max(1, row.attempt), "reason": "looked at the target"}
    return {**said, "as": "succeeded", "outputs": outputs} if succeeded else {**said, "as": "failed"}


def _digest(task: TaskSnapshot, program: Program | None, path: str) -> str:
    return plan_digest(task, locate(program, path)) if program else f"sha256:{'0' * 64}"
