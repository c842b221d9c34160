"""Slips of those who take up what was committed, planted one by one: the oracle sees each that takes no effect."""

import pytest

from reconciler.plan import admission, control
from tests.simulation.case import Case, Flow, Operation, Step, Work
from tests.simulation.play import play


def told(kind: str) -> Case:
    """A task of two steps, and what somebody says of it while the first one works."""
    steps = (Step("a", (Work("process", seconds=3.0),)), Step("b", (Work("get"),), needs=("a",)))
    added = Operation(0.0, "add", "t0", "flow")
    return Case(7, (Flow("flow", steps),), (added, Operation(1.0, kind, "t0")))


def waiting(kind: str) -> Case:
    """The same of a task that only waits for an approval."""
    added = Operation(0.0, "add", "t0", "flow")
    flow = Flow("flow", (Step("a", (Work("get"),), approval=True),))
    return Case(7, (flow,), (added, Operation(1.0, kind, "t0")))


STATES = {"suspend": "suspended", "revoke": "revoked"}


def test_what_is_planted_here_is_what_breaks():
    cases = [made(kind) for made in (told, waiting) for kind in (*STATES, "remove")]
    assert [play(case).violation for case in cases] == [""] * 6


@pytest.mark.parametrize("kind", STATES)
def test_a_word_that_stops_nothing(kind, monkeypatch):
    monkeypatch.setattr(control, "_wanted", lambda *_: None)
    assert play(told(kind)).violation == f"rule 6: b begins in t0, which is told to be {STATES[kind]}"


def test_a_word_that_is_never_heard(monkeypatch):
    monkeypatch.setattr(admission._Desk, "_again", lambda *_: None)
    assert play(told("suspend")).violation.startswith("rule 6: t0 was told {}, and its file says {'state': 'suspended'")


def test_a_word_that_comes_when_nothing_is_left_to_begin(monkeypatch):
    monkeypatch.setattr(control, "_wanted", lambda *_: None)
    assert play(waiting("suspend")).violation == "rule 6: t0 is running (), and its file says suspended"


def test_a_file_that_is_gone_for_nobody(monkeypatch):
    monkeypatch.setattr(admission._Desk, "_removed", lambda *_: None)
    assert play(waiting("remove")).violation == "rule 6: t0 has no file any more and is running"
