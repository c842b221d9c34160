import pytest

from state.phases import (
    ENDED_ATTEMPTS,
    ENDED_TASKS,
    LIVE_TASKS,
    PUBLIC,
    TABLE,
    AttemptPhase,
    IllegalTransition,
    Signal,
    StepPhase,
    TaskPhase,
    advance,
)

PHASES = [*TaskPhase, *StepPhase, *AttemptPhase]


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: f"{type(phase).__name__}-{phase}")
@pytest.mark.parametrize("signal", list(Signal))
def test_a_signal_leads_where_the_table_says_or_raises(phase, signal):
    expected = next((after for (before, with_), after in TABLE.items() if before is phase and with_ is signal), None)
    if expected is None:
        with pytest.raises(IllegalTransition, match=f"{phase} cannot {signal}"):
            advance(phase, signal)
    else:
        assert advance(phase, signal) is expected


def test_a_phase_never_becomes_one_of_another_kind():
    assert {(before, after) for (before, _), after in TABLE.items() if type(before) is not type(after)} == set()


def test_the_phases_of_one_kind_are_not_mistaken_for_those_of_another():
    """They share words: were they equal as text, one would overwrite the other in the table."""
    words = {(phase.value, type(phase)) for phase in PHASES}
    assert len(set(PHASES)) == len(words) > len({phase.value for phase in PHASES})


def test_every_phase_has_a_public_state():
    assert {phase for phase in PHASES if phase not in PUBLIC} == set()


def test_an_ended_attempt_has_no_way_out():
    assert {before for before, _ in TABLE if isinstance(before, AttemptPhase)} & ENDED_ATTEMPTS == set()


def test_a_task_is_live_or_ended_and_never_both():
    assert set(TaskPhase) == LIVE_TASKS | ENDED_TASKS
    assert set() == LIVE_TASKS & ENDED_TASKS


@pytest.mark.parametrize("kind", [TaskPhase, StepPhase, AttemptPhase])
def test_every_phase_can_be_reached(kind):
    first = {TaskPhase.UNADOPTED, TaskPhase.CREATED, StepPhase.WAITING, AttemptPhase.INTENT}
    reached = {after for (before, _), after in TABLE.items() if isinstance(before, kind)}
    assert set(kind) - reached - first == set()
