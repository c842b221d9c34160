"""An oracle that cannot fail proves nothing: for each invariant a violation is planted, in the product or its world.

I10 (secrets) has no part here, because the simulator has none; `tests/mutants` plants one that the canaries find.
"""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler import follow, judgement, loop
from reconciler.actions import Plan
from reconciler.agenda import Agenda
from reconciler.plan import capacity, groups, progress, triggers, verdict
from reconciler.plan.whole import plan
from state import store, writing
from state.phases import Signal
from state.reading import Reading
from state.records import StepRecord
from state.store import Committed, Store
from tests.simulation import test_bad_files, world
from tests.simulation.campaign import LARGE, LEAST, Tally, play_all
from tests.simulation.canonical import CASES
from tests.simulation.case import Case, Flow, Operation, Schedule, Step, Work
from tests.simulation.drivers import Simulated, SimulatedProcess
from tests.simulation.generate import generate
from tests.simulation.oracle import Oracle
from tests.simulation.play import play
from tests.simulation.process import SimulatedStore
from tests.simulation.sometimes import SOMETIMES
from tests.simulation.target import Target
from tests.simulation.test_bad_files import Doubter, reads  # noqa: F401  # a fixture
from tests.simulation.test_simulation import DIGEST
from tests.simulation.world import World

ROOT = Path(__file__).parents[2]
ROW = CASES["every kind in a row"]
CRASHED = replace(ROW, crash_at=(60,))
SLOW = Work("get", seconds=6.0)


def caught(case: Case) -> str:
    """The first word of what the oracle says about a case."""
    return " ".join(play(case).violation.split()[:1])


def asking(*operations: Operation, tasks: int = 1, **options) -> Case:
    """Tasks of one step, and what people do to them."""
    work = options.pop("work", SLOW)
    flow = Flow("flow", (Step("a", (work,)),), **options)
    added = (Operation(0.0, "add", f"t{number}", "flow") for number in range(tasks))
    return Case(7, (flow,), (*added, *operations))


def test_what_is_planted_here_is_what_breaks():
    assert [play(case).violation for case in (ROW, CRASHED, asking(), STALE, CROWD, MISSED, LINE)] == [""] * 7


def test_i1_a_row_that_a_restart_does_not_find(monkeypatch):
    whole = SimulatedStore.snapshot

    def cut(self, *args):
        found = whole(self, *args)
        if vars(self).setdefault("looks", 0):
            return found
        self.looks = 1
        tasks = {uid: replace(task, steps=dict(list(task.steps.items())[:-1])) for uid, task in found.tasks.items()}
        return replace(found, tasks=tasks)

    monkeypatch.setattr(SimulatedStore, "snapshot", cut)
    assert caught(CRASHED) == "I1"


def test_i2_a_call_that_is_carried_out_twice(monkeypatch):
    act = Simulated._act

    def twice(self, call):
        act(self, call)
        return act(self, call)

    monkeypatch.setattr(Simulated, "_act", twice)
    assert caught(CASES["a post"]) == "I2"


def test_i3_a_success_that_the_target_did_not_tell_of(monkeypatch):
    def say(self, execution):
        self.said.setdefault(execution.key, []).append((False, execution.result))
        return True, execution.result

    monkeypatch.setattr(Target, "say", say)
    assert caught(CASES["a post"]) == "I3"


def test_i3_a_failure_that_is_a_guess(monkeypatch):
    change = judgement._Bench._change

    def guessed(self, signal, **values):
        return change(self, Signal.FAIL if signal is Signal.LOSE else signal, **values)

    case = replace(CASES["a post"], faults=frozenset({"lost_reply"}))
    monkeypatch.setitem(world.RATES, "lost_reply", 1.0)
    assert play(case).reached["attempt lost"]

    monkeypatch.setattr(judgement._Bench, "_change", guessed)
    assert play(case).violation.endswith("it was carried out, and the target said nothing")


@pytest.mark.parametrize("work", [Work("post", fails=1), Work("process", fails=1)])
def test_i3_a_loss_that_nothing_explains_where_something_else_is_unknown(work, monkeypatch):
    change = judgement._Bench._change

    def lazy(self, signal, **values):
        return change(self, Signal.LOSE if signal is Signal.FAIL else signal, **values)

    case = replace(asking(work=work), faults=frozenset({"stale_read", "name_taken", "lost_reply"}))
    monkeypatch.setattr(World, "strikes", unlucky)
    assert caught(case) == ""

    monkeypatch.setattr(judgement._Bench, "_change", lazy)
    assert caught(case) == "I3"


def unlucky(self, fault, *about):
    """Every fault strikes somebody else."""
    self.struck.add((fault, f"of another task/{fault}"))
    return False


def test_i4_a_step_that_does_not_wait_for_what_is_before_it(monkeypatch):
    monkeypatch.setattr(progress, "passed", lambda *_: True)
    assert caught(ROW) == "I4"


def test_i5_an_end_that_changes(monkeypatch):
    told = Oracle.committed

    def changed(self, process, changes, committed: Committed, at):
        tasks = {uid: replace(task, steps=_failed(task.steps)) for uid, task in committed.snapshot.tasks.items()}
        told(self, process, changes, replace(committed, snapshot=replace(committed.snapshot, tasks=tasks)), at)

    seen: Counter[str] = Counter()

    def _failed(steps):
        seen.update(path for path, row in steps.items() if row.outputs)
        return {path: _other(row) if seen[path] > 1 else row for path, row in steps.items()}

    monkeypatch.setattr(Oracle, "committed", changed)
    monkeypatch.setattr(Oracle, "read", lambda *_: None)
    assert caught(ROW) == "I5"


def _other(row: StepRecord) -> StepRecord:
    return replace(row, outputs={"value": "another"})


MISSED = Case(
    7,
    (Flow("flow", (Step("a", (Work("get"),)),)),),
    (
        Operation(0.0, "add", "t0", "flow"),
        Operation(5.0, "trigger_suspend", "k0"),
        Operation(190.0, "trigger_resume", "k0"),
        Operation(230.0, "trigger_resume", "k0"),
    ),
    schedules=(Schedule("k0", "flow", "* * * * *", missed="skip"),),
)


def test_i6_times_that_are_passed_over_without_a_word(monkeypatch):
    monkeypatch.setattr(triggers, "passed", lambda *_: None)
    assert caught(MISSED) == "I6"


def test_i7_a_time_that_wakes_nobody(monkeypatch):
    monkeypatch.setattr(SimulatedStore, "due", lambda *_: ([], None))
    assert caught(CASES["polls"]) == "I7"


def test_i8_a_decision_that_depends_on_a_bad_file(monkeypatch, reads):  # noqa: F811  # the fixture
    def timid(desired, observed, now):
        rejected = getattr(getattr(desired, "library", None), "rejected", None)
        return Plan() if rejected else plan(desired, observed, now)

    monkeypatch.setattr(test_bad_files, "plan", timid)
    monkeypatch.setattr(loop, "plan", Doubter(reads).plan)
    assert "AssertionError" in play(ROW).violation


def test_i9_chance_that_depends_on_the_hash_seed():
    planted = (
        "from tests.simulation.chance import Chance\nChance.roll = lambda self, *about: abs(hash(about)) % 99 / 99\n"
    )
    found = {_printed(planted + DIGEST.replace("range(12)", "range(3)"), seed) for seed in ("1", "2")}
    assert len(found) == 2


def _printed(script: str, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, check=True)
    return ran.stdout.decode()


def test_i11_an_answer_that_shows_what_is_not_committed(monkeypatch):
    opened = []
    begin = Store._begin

    def noted(self, new_name):
        opened.append(self._connection)
        begin(self, new_name)

    monkeypatch.setattr(Store, "_begin", noted)
    monkeypatch.setattr(Reading, "read", lambda self, work: work(opened[-1]))
    assert caught(ROW) == "I11"


def test_i12_a_history_that_is_no_chain(monkeypatch):
    monkeypatch.setattr(writing, "link", lambda *_: "0" * 64)
    assert caught(ROW) == "I12"


def test_i13_an_epoch_that_comes_again(monkeypatch):
    begin = Store._begin

    def first(self, new_name):
        begin(self, new_name)
        self.epoch = 2

    monkeypatch.setattr(Store, "_begin", first)
    assert caught(CRASHED) == "I13"


def test_i14_something_that_nobody_cleans_up(monkeypatch):
    monkeypatch.setattr(SimulatedProcess, "_remove", lambda *_: None)
    assert caught(CASES["a process"]) == "I14"


def test_i15_a_campaign_that_did_not_reach_everything():
    assert "crash at C5 committed, nothing sent" in play_all([ROW]).missing
    assert Tally(LARGE, reached=Counter(dict.fromkeys(SOMETIMES, LEAST - 1))).missing == sorted(SOMETIMES)
    assert Tally(LARGE, reached=Counter(dict.fromkeys(SOMETIMES, LEAST))).missing == []


CROWD = asking(Operation(0.1, "crowd", value="flow"), Operation(2.0, "disperse"))


def test_rule_5_a_revision_that_takes_away_too_much(monkeypatch):
    monkeypatch.setattr(follow, "refusal", lambda *_: None)
    assert play(CROWD).violation.startswith("rule 5")


STALE = asking(Operation(3.0, "retry", "t0", seen=2.5), work=Work("get", fails=9, seconds=0.1, retry=1))


def test_rule_7_an_answer_that_somebody_gave_who_saw_an_older_state(monkeypatch):
    monkeypatch.setattr(verdict, "_retry", lambda task, position, row, about: verdict.Fits(position, row))
    assert play(STALE).violation.startswith("rule 7")


LINE = asking(tasks=3, limit=1)


def test_more_runs_in_a_group_than_its_limit(monkeypatch):
    monkeypatch.setattr(groups, "_rule", lambda *_: None)
    assert "is number 2 of 1 in demo/flow" in play(LINE).violation


def test_more_attempts_in_a_group_than_its_limit(monkeypatch):
    monkeypatch.setattr(capacity.Room, "crowded", lambda *_: "")
    violation = play(asking(tasks=2, work=replace(SLOW, limit=1, group="main"))).violation
    assert violation.startswith("group: ")
    assert "is number 2 of 1 in main" in violation


def test_a_place_that_nobody_gives_to_the_next_in_line(monkeypatch):
    monkeypatch.setattr(Agenda, "_next_of_groups", lambda self: self._freed.clear() or [])
    assert caught(LINE) == "I7"


def test_an_older_database_that_nobody_recognises(monkeypatch):
    restored = (case for case in map(generate, range(200)) if "restore" in case.faults)
    case = next(case for case in restored if play(case).reached["restored by hand"])
    monkeypatch.setattr(store, "older", lambda *_: "")
    assert caught(case) == "C20"
