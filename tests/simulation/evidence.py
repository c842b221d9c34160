"""What the outcome of an attempt rests on: the target's own word, or that nothing of it runs any more (I3, rule 6)."""

from collections.abc import Collection
from typing import Any

from state.phases import AttemptPhase
from state.records import AttemptRecord
from tests.simulation.target import Target, flavour_of_attempt

_TOLD_TO_END = frozenset({AttemptPhase.CANCELLED, AttemptPhase.TIMED_OUT})
_HARMLESS = frozenset({"get", "idempotent", "exists"})
"""Flavours that may go on at their target after they were told to end: doing them again changes nothing."""


def unproven(
    attempt: AttemptRecord, target: Target, elapsed: float, *, sure: bool, before: Collection[str] = ()
) -> str:
    """Why what is recorded of an attempt that has ended does not hold; "" if it does.

    `sure`: nothing has happened that could make its outcome unknown. `before` are the calls that were carried out
    before an older database was put in place.
    """
    key = f"{attempt.key}/{attempt.call}"
    words, work, flavour = target.said.get(key, []), target.work.get(key), flavour_of_attempt(attempt)
    if flavour == "find":
        return ""
    if attempt.phase is AttemptPhase.SUCCEEDED:
        right = [result for ok, result in words if ok]
        if not any(value_of(attempt.outputs) == result["value"] for result in right):
            return f"I3 {key} is recorded as succeeded, and the target said {words}"
    if attempt.phase is AttemptPhase.FAILED and words and all(ok for ok, _ in words):
        if not any(text in attempt.message for text in ("OutputTooLarge", "maxCalls")):
            return f"I3 {key} is recorded as failed ({attempt.message}), and the target said {words}"
    if attempt.phase is AttemptPhase.FAILED and work and not words and key not in before:
        return f"I3 {key} is recorded as failed ({attempt.message}); it was carried out, and the target said nothing"
    if attempt.phase is AttemptPhase.LOST and sure:
        return f"I3 {key} is Lost ({attempt.message}), and nothing was: {work}"
    if attempt.phase in _TOLD_TO_END and work and work.running(elapsed) and flavour not in _HARMLESS:
        return f"rule 6: {key} is recorded as {attempt.phase} and runs"
    return ""


def value_of(outputs: Any) -> Any:
    """What a step of the simulator gives."""
    return outputs.get("value") if isinstance(outputs, dict) else None
