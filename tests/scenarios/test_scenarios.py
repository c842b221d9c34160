"""Every YAML file here is a test, named as a sentence: definitions, what happens in the world, and each decision.

`given` are the first files (jobs, workflows, tasks without their envelope) and the limits; each part of `story` says
what happens (`when`) and, exactly, the lines of the plan, the rows that differ, outputs, notes and wake-ups, triggers with the day and time of their next slot, and the slots that were decided (`then`).
After each part planning again must give nothing.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from definitions.models import parse_duration
from reconciler.actions import Plan
from reconciler.approval import plan_digest
from reconciler.drivers.protocol import Ended, NotStarted, Observation, Running, Unknown
from reconciler.judgement import Report
from reconciler.observed import Limits
from reconciler.position import locate
from state.changes import Change, TaskAdvanced
from state.phases import Signal, TaskPhase, TriggerPhase
from state.records import Cause, Event
from state.triggers import TriggerAdopted
from tests.stage import Stage

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
GROUPS = ("jobs", "workflows", "tasks", "triggers")
PARTS = {"commit", "pass", "crash", "adopt", "forget", "reports"}
CLAIMS = {"plan", "rows", "outputs", "notes", "wakes", "conditions", "request", "handle", "causes", "secrets"}
CLAIMS |= {"triggers", "slots"}

OBSERVATIONS: Mapping[str, Callable[[Any], Observation]] = {
    "ended": lambda said: Ended(succeeded=True, **(said or {})),
    "failed": lambda said: Ended(succeeded=False, **(said or {})),
    "running": lambda said: Running({"id": 7}, float(said)),
    "unknown": Unknown,
    "not_started": NotStarted,
    "refused": lambda said: NotStarted(said, refused=True),
}


class Play:
    """One scenario on its stage."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.stage = Stage(limits=Limits(**given.get("limits", {})), hold=given.get("hold", False))
        self.stage.commit({group: given.get(group, {}) for group in GROUPS})
        self.rows: dict[str, str] = {}
        self.told = 0

    def act(self, when: Mapping[str, Any] | str) -> Plan:
        """What happens, then one turn."""
        said: Mapping[str, Any] = {} if isinstance(when, str) else when
        self.told = len(self.stage.events)
        assert said.keys() <= PARTS, f"unknown: {said.keys() - PARTS}"
        if "pass" in said:
            self.stage.wait(parse_duration(said["pass"]))
        if "forget" in said:
            self.stage.forget(said["forget"])
        if "commit" in said:
            self._commit(dict(said["commit"]))
        if said.get("crash"):
            self.stage.crash()
        asked = self._adoption() if said.get("adopt") else []
        reports = [each for where, what in said.get("reports", {}).items() for each in self._reports(where, what)]
        return self.stage.turn(reports, asked)

    def _commit(self, said: dict[str, Any]) -> None:
        trailers = tuple(said.pop("trailers", {}).items())
        paths = said.pop("paths", ())
        who = {name: said.pop(word) for word, name in (("by", "author"), ("because", "subject")) if word in said}
        self.stage.commit(self._approving(said), paths, trailers=trailers, **who)

    def _approving(self, said: Any) -> Any:
        """The same with `digest of STEP` as what status shows at that step."""
        if isinstance(said, dict):
            return {key: self._approving(value) for key, value in said.items()}
        if not isinstance(said, str) or not said.startswith("digest of "):
            return said
        task = self.stage.task()
        return plan_digest(task, locate(self.stage.observed().program(task.record), said.removeprefix("digest of ")))

    def _adoption(self) -> list[Change]:
        cause, snapshot = Cause("operator", "adopt"), self.stage.snapshot
        tasks = [task.record.uid for task in snapshot.tasks.values() if task.record.phase is TaskPhase.UNADOPTED]
        held = [trigger.uid for trigger in snapshot.triggers.values() if trigger.phase is TriggerPhase.UNADOPTED]
        return [
            *(TaskAdvanced(uid, Signal.ADOPT, cause) for uid in tasks),
            *(TriggerAdopted(uid, cause) for uid in held),
        ]

    def _reports(self, where: str, said: Mapping[str, Any]) -> list[Report]:
        options = dict(said)
        times = 2 if options.pop("twice", False) else 1
        (kind,) = options.keys() & OBSERVATIONS.keys()
        seen = OBSERVATIONS[kind](options.pop(kind))
        task, _, path = where.rpartition(" ")
        return [self.stage.report(path, seen, task, **options)] * times

    # -- what is to be seen afterwards -------------------------------------------------------------------------------

    def seen(self) -> dict[str, str]:
        """Every task and step with its phase and reason."""
        tasks = sorted(self.stage.snapshot.tasks.values(), key=lambda task: task.record.run)
        several = len({task.record.identity for task in tasks}) > 1
        found: dict[str, str] = {}
        for task in tasks:
            found[task.record.name] = f"{task.record.phase} {task.record.reason}".strip()
            for path, row in task.steps.items():
                found[f"{task.record.name} {path}" if several else path] = f"{row.phase} {row.reason}".strip()
        return found

    def changed(self) -> dict[str, str]:
        """What `seen` says otherwise than at the last call."""
        now = self.seen()
        different = {name: said for name, said in now.items() if self.rows.get(name) != said}
        self.rows = now
        return different

    def value(self, claim: str) -> Any:
        """The rest of what a scenario may ask for."""
        match claim:
            case "triggers":
                found = self.stage.snapshot.triggers.values()
                return {each.name: f"{each.phase} {_time(each.wake_at)}".strip() for each in found}
            case "slots":
                told = [each for each in self.stage.events[self.told :] if each.subject == "trigger" and each.path]
                return [f"{each.path} {each.after} {each.reason}" for each in told]
        task = self.stage.task()
        match claim:
            case "outputs":
                steps = {path: row.outputs for path, row in task.steps.items() if row.outputs is not None}
                return steps | ({task.record.name: task.record.outputs} if task.record.outputs is not None else {})
            case "wakes":
                return None if task.wake_at is None else (task.wake_at - self.stage.now) / timedelta(seconds=1)
            case "conditions":
                return dict(task.record.conditions)
            case "request":
                return {path: dict(attempt.request) for path, attempt in task.attempts.items()}
            case "secrets":
                return {path: dict(attempt.secrets) for path, attempt in task.attempts.items()}
            case "causes":
                return [_cause(event) for event in self.stage.events[self.told :]]
            case "handle":
                return {path: attempt.handle for path, attempt in task.attempts.items()}
        raise AssertionError(claim)


def _cause(event: Event) -> str:
    """`subject path before > after: kind author reference message`, without what is not there."""
    cause = event.cause
    what = f"{event.subject} {event.path} {event.before} > {event.after}".replace("  ", " ")
    return f"{what}: " + " ".join(part for part in (cause.kind, cause.author, cause.message) if part)


def _time(at: datetime | None) -> str:
    return f"{at:%d %H:%M}" if at else ""


def check(play: Play, planned: Plan, then: Mapping[str, Any]) -> None:
    assert then.keys() <= CLAIMS, f"unknown: {then.keys() - CLAIMS}"
    assert [str(action) for action in planned] == then["plan"]
    assert play.changed() == then.get("rows", {})
    assert list(planned.notes) == then.get("notes", [])
    for claim in then.keys() - {"plan", "rows", "notes"}:
        assert play.value(claim) == then[claim], claim


def check_rest(play: Play, planned: Plan) -> None:
    if not (planned.again or planned.triggers or planned.look or planned.freed):
        again = play.stage.turn()
        assert not again.actions, f"planning again gives: {again}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path) -> None:
    scenario = yaml.safe_load(file.read_text(encoding="utf-8"))
    play = Play(scenario["given"])

    for part in scenario["story"]:
        planned = play.act(part["when"])

        check(play, planned, part["then"])
        check_rest(play, planned)


def test_there_are_scenarios_and_their_names_are_sentences():
    assert len(FILES) >= 40
    assert all(file.stem.count("_") >= 2 and file.stem == file.stem.lower() for file in FILES)
