"""How often a step has failed: the number that status shows and a retry names, so that both count alike."""

from state.phases import StepPhase
from state.records import StepRecord

BROKEN = frozenset({StepPhase.FAILED, StepPhase.LOST, StepPhase.CANCELLED})
"""In which a step has ended without what others wait for."""
_NOT_FAILED = frozenset({StepPhase.RUNNING, StepPhase.SUCCEEDED})
"""In which the latest attempt has not failed."""
RETRIED = "retried"
"""What the row of a step keeps: how often it had failed when it was taken up again the last time."""


def times_failed(row: StepRecord) -> int:
    """How often a step has failed: in attempts, and at times without any.

    An attempt whose outcome is unknown counts. What fails again after it was taken up has failed one time more.
    """
    taken_up = row.inputs.get(RETRIED)
    before = taken_up if isinstance(taken_up, int) else 0
    if row.phase in BROKEN:
        return max(row.attempt, before + 1)
    return max(row.attempt - (row.phase in _NOT_FAILED), before)
