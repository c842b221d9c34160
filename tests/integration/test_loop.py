"""Turns of the loop over a real store: what was asked for is written whatever else comes in the same turn."""

from collections.abc import Sequence
from datetime import datetime

import pytest

from definitions.desired import Complete, Desired
from reconciler.actions import Plan
from reconciler.dispatch import Dispatch
from reconciler.inbox import Inbox
from reconciler.loop import Loop, tick
from reconciler.observed import Limits, Observed, Programs
from reconciler.plan.whole import plan
from state.changes import Change
from state.copies import replace
from state.phases import TriggerPhase
from state.reader import Reader
from state.records import Cause
from state.store import Committed, Store
from state.triggers import TriggerAdopted, TriggerSeen
from tests.definition_files import GOOD, Shelf
from tests.histories import COMMIT, START, trigger

HELD = [replace(trigger(name), phase=TriggerPhase.UNADOPTED) for name in ("a", "bad", "c")]
ADOPTED = [TriggerAdopted(each.uid, Cause("operator")) for each in HELD]
NAMES = [each.identity for each in HELD]


@pytest.fixture
def loop(tmp_path):
    store = Store.open(tmp_path / "state")
    reader = Reader(tmp_path / "state")
    store.commit([TriggerSeen(each, COMMIT, "Introduced") for each in HELD], START)

    async def commit(changes: Sequence[Change], at: datetime) -> Committed:
        return store.commit(changes, at)

    inbox = Inbox()
    dispatch = Dispatch({}, inbox.report, lambda _: None, None, None)
    yield Loop(store, Programs(reader.pins), dispatch, inbox, Limits(), commit)
    reader.close()
    store.close(keep_wal=False)


def phases(loop: Loop) -> set[str]:
    return {str(each.phase) for each in loop.store.snapshot((), (), NAMES).triggers.values()}


async def test_triggers_are_adopted_before_anybody_knows_what_their_files_say(loop):
    loop.inbox.ask(ADOPTED, [], NAMES)

    await tick(loop, START)

    assert phases(loop) == {"active"}
    library = Shelf().put(good=GOOD)
    loop.inbox.revise(Complete(library.tree.revision, library), [], None)
    planned = await tick(loop, START)
    assert [action.subject for action in planned] == ["demo/a", "demo/bad", "demo/c"], "they are looked at afterwards"


async def test_triggers_are_adopted_although_one_of_them_cannot_be_decided_about(loop, monkeypatch):
    def failing(desired: Desired, observed: Observed, now: datetime) -> Plan:
        if ("demo", "bad") in observed.triggers:
            raise ZeroDivisionError
        return plan(desired, observed, now)

    monkeypatch.setattr("reconciler.loop.plan", failing)
    library = Shelf().put(good=GOOD)
    loop.inbox.revise(Complete(library.tree.revision, library, removes=False), [], None, NAMES)
    loop.inbox.ask(ADOPTED, [], NAMES)

    await tick(loop, START)

    assert phases(loop) == {"active"}
