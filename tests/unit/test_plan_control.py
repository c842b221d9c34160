"""Controls by commit against every state and in random histories: each fits or is remarked on, and nothing runs twice."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from definitions.desired import Unavailable
from reconciler.actions import Plan
from reconciler.approval import plan_digest
from reconciler.observed import Limits
from reconciler.plan.answers import answers, remarks
from reconciler.plan.control import control, noted
from reconciler.plan.sayings import PENDING, REFUSED, STALE, Remark, Said, dismissed, sayings
from reconciler.plan.verdict import Fits, verdict
from reconciler.position import locate
from state.changes import StepAdvanced, apply_one
from state.phases import AttemptPhase, Signal, StepPhase, TaskPhase
from state.records import Cause, StepRecord, TaskSnapshot
from tests.histories import attempt, task
from tests.stage import START, Stage
from tests.unit import test_plan_properties as stories

COMMIT = Cause("commit", "c0ffee", "Ada", "say it")
NOWHERE = Unavailable("NotRead", "not read yet")
JOBS = {
    "one": {"http": {"method": "POST", "url": "http://api/"}, "outputs": {"age": "result.age"}},
    "two": {"http": {"url": "http://api/"}, "outputs": {"age": "result.age"}, "retry": {"limit": 1, "every": "2s"}},
}
INNER = {"steps": {"x": {"job": "one"}, "y": {"job": "two", "needs": ["x"]}}, "onExit": {"job": "two"}}
STEPS: dict[str, Any] = {
    "a": {"job": "one"},
    "b": {"calls": {"p": {"job": "one"}, "q": {"job": "two"}}, "outputs": {"age": "calls.q.age"}},
    "c": {"forEach": "[1, 2, 3]", "parallelism": 2, "job": "one"},
    "d": {"workflow": "inner"},
    "e": {"approval": {"message": "go on?"}},
    "f": {"wait": {"for": "5s"}},
    "g": {"forEach": "[1, 2]", "workflow": "inner"},
}
PATHS = (
    *STEPS,
    *(
        "b.p",
        "b.q",
        "c.0",
        "c.2",
        "c.9",
        "d.x",
        "d.y",
        "d.onExit",
        "g.0",
        "g.1.x",
        "onExit",
        "nope",
        "a.b.c",
        "c.x",
        "",
    ),
)
VERBS = ("retry", "skip", "resolve", "approve", "expect")


def flow(dice: random.Random) -> dict[str, Any]:
    """All kinds of steps, some of them allowed to fail, in some order."""
    steps = {
        name: body | ({"continueOnError": True} if dice.random() < 0.3 else {})
        for name, body in STEPS.items()
        if dice.random() < 0.6 or name == "a"
    }
    made: dict[str, Any] = {"steps": steps, "flow": stories.nested(dice, list(steps))}
    made |= {"timeout": "20s"} if dice.random() < 0.3 else {}
    made |= {"onExit": {"calls": {"m": {"job": "one"}}} if dice.random() < 0.5 else {"job": "two"}}
    return made


def words(stage: Stage, dice: random.Random) -> dict[str, Any]:
    """What somebody says about a few steps, more or less in step with what is."""
    return {path: said for path in dice.sample(PATHS, 4) if (said := _of_step(stage, dice, path))}


def _of_step(stage: Stage, dice: random.Random, path: str) -> dict[str, Any]:
    row = stage.task().steps.get(path)
    number = max(1, (row.attempt if row else 0) + dice.choice([-1, 0, 0, 0, 1]))
    outputs = dice.choice([{}, {"age": 1}, {"results": []}, {"odd": 1}])
    entries: dict[str, Any] = {
        "retry": {"failed": number},
        "skip": {"reason": dice.choice(["by hand", "no need"]), "outputs": outputs},
        "resolve": {
            "attempt": number,
            "as": dice.choice(["succeeded", "failed"]),
            "reason": "seen",
            "outputs": outputs,
        },
        "approve": {"plan": _digest(stage, dice)},
        "expect": "2h",
    }
    return {verb: entries[verb] for verb in dice.sample(VERBS, dice.choice([1, 1, 1, 2]))}


def _digest(stage: Stage, dice: random.Random) -> str:
    record = stage.task().record
    program = stage.observed().programs.get(record.pins)
    right = program and "e" in program.nodes and dice.random() < 0.7
    return plan_digest(stage.task(), locate(program, "e")) if program and right else "sha256:" + "0" * 64


class Story(stories.Watched):
    """A history in which every retry is remembered. `rewritten`: what has begun may stand elsewhere in the order now."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.granted: set[tuple[str, str, int]] = set()
        self.rewritten = False

    def turn(self, reports: Any = (), asked: Any = ()) -> Plan:
        before = dict(self.snapshot.tasks)
        planned = Stage.turn(self, reports, asked) if self.rewritten else super().turn(reports, asked)
        self.check_dismissed(before, planned)
        for change in planned.changes:
            if isinstance(change, StepAdvanced) and change.signal is Signal.RETRY and change.cause.kind == "commit":
                given = (str(change.uid), change.path, int(str(change.inputs["retried"])))
                assert given not in self.granted, "one word lets two attempts begin"
                self.granted.add(given)
        return planned

    def check_dismissed(self, before: Mapping[Any, TaskSnapshot], planned: Plan) -> None:
        """What was dismissed once and is still said in the same words never takes effect."""
        moved = {(change.uid, change.path) for change in planned.changes if _by_commit(change)}
        for uid, known in before.items():
            now = self.snapshot.tasks[uid].record
            said = [each for each in sayings(now.control) if dismissed(known.record, each)]
            assert all(dismissed(now, each) for each in said), "a final remark is forgotten"
            paths = {each.path for each in said if each.verb == "retry"} - {
                each.path for each in sayings(now.control) if each.verb != "retry"
            }
            assert not {(uid, path) for path in paths} & moved, "a dismissed word takes effect"


def _by_commit(change: Any) -> bool:
    own = {Signal.RETRY, Signal.SKIP, Signal.SUCCEED, Signal.FAIL}
    return isinstance(change, StepAdvanced) and change.cause.kind == "commit" and change.signal in own


def tell(stage: Story, dice: random.Random) -> None:
    """A commit with controls, of the whole task and of steps."""
    said: dict[str, Any] = {"steps": words(stage, dice)} if dice.random() < 0.9 else {}
    said |= {"state": dice.choice(["running"] * 6 + ["suspended", "suspended", "revoked"]), "reason": "why not"}
    said |= {"until": (stage.now + timedelta(seconds=dice.choice([-5, 5]))).isoformat()} if dice.random() < 0.2 else {}
    said |= (
        {"repin": f"{max(1, len(stage.shelf.history) - dice.choice([0, 0, 1, 2])):07}"} if dice.random() < 0.3 else {}
    )
    files: dict[str, Any] = {"tasks": {"t": {"spec": {"workflow": "flow"}, "control": said}}}
    if dice.random() < 0.2:
        files["workflows"] = {"flow": flow(dice)}
        stage.rewritten = True
    stage.commit(files)


def story(seed: int, events: list[int], limits: Limits) -> Story:
    dice = random.Random(seed)
    stage = Story(limits=limits)
    flows = {"inner": INNER, "flow": flow(dice)}
    stage.commit({"jobs": JOBS, "workflows": flows, "tasks": {"t": {"spec": {"workflow": "flow"}}}})
    stage.turn()
    for event in events:
        if event < 60 and stage.flying:
            stories.report_one(stage, dice)
        elif event < 70:
            stage.wait(timedelta(seconds=dice.choice([1, 2, 5, 30])))
        elif event < 75:
            stage.crash()
        elif event < 97:
            tell(stage, dice)
        else:
            stage.commit({"tasks": {"t": None}}) if "tasks/t.yaml" in stage.shelf.files else None
        stage.turn()
    return stage


# -- random histories ----------------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 99), max_size=40), stories.LIMITS)
def test_whatever_is_said_planning_again_gives_nothing_and_no_word_counts_twice(seed, events, limits):
    stage = story(seed, events, limits)

    stage.settle()

    stories.check_rest(stage)


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 99), max_size=40))
def test_whatever_is_said_a_step_that_has_finished_stays_so(seed, events):
    stage = story(seed, events, Limits())

    ended: set[tuple[str, str]] = set()
    for event in stage.events:
        place = (event.subject, event.path)
        if event.subject == "step" and "onExit" not in event.path:
            assert place not in ended, f"{event.path} has finished and becomes {event.after}"
            if event.after in {StepPhase.SUCCEEDED.value, StepPhase.SKIPPED.value}:
                ended.add(place)


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 99), max_size=40))
def test_what_was_lost_is_tried_again_only_after_somebody_said_what_became_of_it(seed, events):
    stage = story(seed, events, Limits())

    lost: set[str] = set()
    for event in stage.events:
        if event.subject == "step" and event.after == StepPhase.LOST.value:
            lost.add(event.path)
        elif event.subject == "step" and event.reason in {"Resolved", "Skipped"}:
            lost.discard(event.path)
        elif event.subject == "attempt" and not event.before and "onExit" not in event.path:
            assert event.path not in lost


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 99), max_size=30))
def test_conditions_are_written_when_they_change_and_only_then(seed, events):
    stage = story(seed, events, Limits())

    said = [event.message for event in stage.events if event.reason in {PENDING, REFUSED, STALE, "ControlSettled"}]

    assert all(earlier != later for earlier, later in pairwise(said))


# -- every control against every state -----------------------------------------------------------------------------------


def program(**steps: Any) -> Any:
    made = Stage()
    flows = {"inner": INNER, "flow": {"steps": steps or STEPS, "onExit": {"job": "two"}}}
    made.commit({"jobs": JOBS, "workflows": flows, "tasks": {"t": {"spec": {"workflow": "flow"}}}})
    made.turn()
    return made.observed().program(made.task().record)


PROGRAM = program()
UNITS = ("a", "b.p", "c.0", "d.x", "d.onExit", "g.1.x", "onExit")


def standing(path: str, phase: StepPhase, task_phase: TaskPhase, **fields: Any) -> TaskSnapshot:
    """A task whose step at `path` has made two attempts and stands at `phase`, with what it is part of as it then is."""
    record = task(phase=task_phase, **fields)
    around = StepPhase.RUNNING if phase not in {StepPhase.FAILED, StepPhase.LOST, StepPhase.CANCELLED} else phase
    parts = path.split(".")
    rows = {".".join(parts[:n]): around for n in range(1, len(parts))} | {path: phase}
    steps = {where: _row(record.uid, where, each) for where, each in rows.items()}
    ended = AttemptPhase.LOST if phase is StepPhase.LOST else AttemptPhase.FAILED
    attempts = {path: attempt(record.uid, path, 2, phase=ended)} if path in UNITS else {}
    return TaskSnapshot(record, steps, attempts)


def _row(uid: Any, path: str, phase: StepPhase) -> StepRecord:
    inputs: dict[str, Any] = {"items": [1, 2, 3]} if path in {"c", "g"} else {}
    reason = "WaitingForApproval" if path == "e" else ""
    return StepRecord(uid, path, phase, reason, attempt=2 if path in UNITS else 0, inputs=inputs)


def entries(snapshot: TaskSnapshot) -> Iterator[dict[str, Any]]:
    yield from ({"retry": {"failed": number}} for number in (1, 2, 3))
    for number, outcome in product((1, 2, 3), ("succeeded", "failed")):
        yield {"resolve": {"attempt": number, "as": outcome, "reason": "seen", "outputs": {}}}
        yield {"retry": {"failed": number}, "resolve": {"attempt": number, "as": outcome, "reason": "seen"}}
    yield {"skip": {"reason": "by hand", "outputs": {"age": 1}}}
    yield {"skip": {"reason": "by hand"}, "retry": {"failed": 2}}
    yield {"approve": {"plan": plan_digest(snapshot, locate(PROGRAM, "e"))}, "expect": "1h"}
    yield {}


@pytest.mark.parametrize("task_phase", TaskPhase, ids=str)
@pytest.mark.parametrize("path", ["a", "b", "b.p", "c", "c.0", "d", "d.x", "d.onExit", "e", "f", "g.1.x", "onExit"])
def test_every_control_has_an_answer_in_every_state_and_takes_effect_one_time(path, task_phase):
    for phase, held, state in product(StepPhase, ("", "restored"), ("running", "suspended", "revoked")):
        snapshot = standing(path, phase, task_phase, held=held)
        for entry in entries(snapshot):
            said = {"state": state, "reason": "x", "steps": {path: entry, "nope": entry}}
            asked = replace(snapshot, record=replace(snapshot.record, control=said))
            unpinned = replace(asked, record=replace(asked.record, pins=()))

            after = done(asked, [*control(asked, PROGRAM, START)])

            assert not list(answers(after, PROGRAM, START)), (phase, entry)
            told = noted(after, PROGRAM, NOWHERE, START)
            assert told is None or not noted(done(after, [told]), PROGRAM, NOWHERE, START)
            assert not list(control(unpinned, None, START))[:-1]


def done(snapshot: TaskSnapshot, actions: list[Any]) -> TaskSnapshot:
    for change in (each for action in actions for each in action.changes):
        snapshot, _ = apply_one(snapshot, change, START)
    return snapshot


FITS = "fits"
W, Q, R, Y = StepPhase.WAITING, StepPhase.QUEUED, StepPhase.RUNNING, StepPhase.RETRYING
F, L, C, OK, SKIP = (
    StepPhase.FAILED,
    StepPhase.LOST,
    StepPhase.CANCELLED,
    StepPhase.SUCCEEDED,
    StepPhase.SKIPPED,
)
TABLE: dict[str, dict[StepPhase, str]] = {
    "retry": {W: STALE, Q: STALE, R: REFUSED, Y: STALE, F: FITS, L: PENDING, C: FITS, OK: STALE, SKIP: STALE},
    "skip": {W: FITS, Q: FITS, R: PENDING, Y: FITS, F: FITS, L: FITS, C: FITS, OK: STALE, SKIP: STALE},
    "resolve": {W: STALE, Q: STALE, R: REFUSED, Y: STALE, F: STALE, L: FITS, C: STALE, OK: STALE, SKIP: STALE},
}
ABOUT: dict[str, dict[str, Any]] = {
    "retry": {"failed": 2},
    "skip": {"reason": "by hand"},
    "resolve": {"attempt": 2, "as": "succeeded", "reason": "seen"},
}


@pytest.mark.parametrize("verb", TABLE)
@pytest.mark.parametrize("phase", StepPhase, ids=str)
@pytest.mark.parametrize("path", UNITS)
def test_what_is_said_of_the_latest_attempt_is_answered_as_the_table_says(verb, phase, path):
    snapshot = standing(path, phase, TaskPhase.FAILED if phase in {F, L, C} else TaskPhase.RUNNING)

    assert word(verdict(snapshot, PROGRAM, Said(path, verb, ABOUT[verb]))) == TABLE[verb][phase]


@pytest.mark.parametrize(
    ("phase", "fields", "expected"),
    [
        (TaskPhase.CREATED, {}, FITS),
        (TaskPhase.RUNNING, {}, FITS),
        (TaskPhase.SUSPENDED, {}, FITS),
        (TaskPhase.FAILED, {}, FITS),
        (TaskPhase.UNADOPTED, {}, PENDING),
        (TaskPhase.RUNNING, {"held": "restored"}, PENDING),
        (TaskPhase.FAILED, {"held": "restored"}, PENDING),
        (TaskPhase.REMOVED, {}, PENDING),
        (TaskPhase.REVOKING, {}, STALE),
        (TaskPhase.REVOKED, {}, STALE),
        (TaskPhase.FINISHED, {}, STALE),
        (TaskPhase.FAILED, {"control": {"state": "revoked"}}, STALE),
    ],
)
@pytest.mark.parametrize("verb", TABLE)
def test_a_task_listens_as_the_table_says(verb, phase, fields, expected):
    step = L if verb == "resolve" else F
    found = verdict(standing("a", step, phase, **fields), PROGRAM, Said("a", verb, ABOUT[verb]))

    assert word(found) == expected


def test_what_a_run_continues_with_changes_what_it_sends_and_what_is_to_be_approved():
    made = Stage()
    flows = {"flow": {"flow": ["e", "a"], "steps": {"a": {"job": "one"}, "e": {"approval": {"message": "go?"}}}}}
    made.commit({"jobs": JOBS, "workflows": flows, "tasks": {"t": {"spec": {"workflow": "flow"}}}})
    made.turn()
    before = plan_digest(made.task(), locate(made.observed().program(made.task().record), "e"))
    made.commit({"jobs": {"one": {"http": {"method": "POST", "url": "http://api/new"}}}})
    made.turn()

    approved = {"repin": "0000002", "steps": {"e": {"approve": {"plan": before}}}}
    made.commit({"tasks": {"t": {"spec": {"workflow": "flow"}, "control": approved}}})
    made.turn()
    stale = dict(made.task().record.conditions)
    after = plan_digest(made.task(), locate(made.observed().program(made.task().record), "e"))
    approved["steps"] = {"e": {"approve": {"plan": after}}}
    made.commit({"tasks": {"t": {"spec": {"workflow": "flow"}, "control": approved}}})
    made.turn()

    assert stale == {STALE: f"steps.e.approve: what waits for approval is {after}"}
    assert after != before
    assert made.task().attempts["a"].request["url"] == "http://api/new"


def test_the_events_of_a_control_say_what_is_new_in_the_file_and_what_does_not_count():
    made = Stage()
    made.commit(
        {"jobs": JOBS, "tasks": {"t": {"spec": {"job": "one"}, "control": {"steps": {"job": {"expect": "1h"}}}}}}
    )
    made.turn()
    begun = len(made.events)

    said = {"run": 2, "steps": {"job": {"retry": {"failed": 9}}}}
    made.commit({"tasks": {"t": {"spec": {"job": "one"}, "control": said}}})
    made.turn()
    made.commit({"tasks": {"t": {"spec": {"job": "one"}, "control": {**said, "run": 1}}}})
    made.turn()

    waits = "RunWaiting: run 2 waits for the end of run 1; what is said of steps now goes for run 2"
    refused = "steps.job.retry: when this was seen, it had not failed; to say it anew, change its reason"
    assert [(event.reason, event.message) for event in made.events[begun:]] == [
        ("FileChanged", f"run.2, without steps.job.expect; {waits}"),
        ("FileChanged", "run.1, steps.job.retry"),
        (REFUSED, refused),
    ]


def word(found: Any) -> str:
    return FITS if isinstance(found, Fits) else found.condition if isinstance(found, Remark) else "nothing to say"


def test_what_is_said_of_a_held_task_is_compared_when_it_is_let_go():
    said = {"steps": {"a": {"retry": {"failed": 9}}}}
    waits = done(standing("a", F, TaskPhase.FAILED, held="older"), [])
    told = noted(standing("a", F, TaskPhase.FAILED, held="older", control=said), PROGRAM, NOWHERE, START)
    then = noted(standing("a", F, TaskPhase.FAILED, control=said), PROGRAM, NOWHERE, START)

    assert not waits.record.dismissed
    assert told is not None
    assert told.changes[0].conditions == {PENDING: "steps.a.retry: the task waits for `reconciler adopt`"}
    assert not told.changes[0].dismissed
    assert then is not None
    assert list(then.changes[0].dismissed) == ["steps.a.retry"]


def test_a_task_without_definitions_waits_for_them():
    snapshot = standing("a", F, TaskPhase.CREATED, control={"steps": {"a": {"skip": {"reason": "x"}}}})

    ((said, remark),) = remarks(snapshot, None)

    assert (str(said), remark) == ("steps.a.skip", Remark(PENDING, "the task waits for its definition"))
