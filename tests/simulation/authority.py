"""Rule 7: what has ended goes on only because a commit says so that fits what its author saw, and one time for each word.

The judge knows what was committed and compares it with what took effect; whether the planner thought that it fitted is
nothing to it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from definitions.program import Program
from reconciler.approval import plan_digest
from reconciler.plan.attempts import OVERDUE
from reconciler.position import locate
from state.changes import Change, Controlled, Repinned, StepAdvanced
from state.phases import AttemptPhase, Signal, StepPhase
from state.records import EXIT, StepRecord, TaskSnapshot, Uid
from tests.simulation.source import Repository

DONE = frozenset({StepPhase.SUCCEEDED, StepPhase.SKIPPED})


@dataclass
class Authority:
    """Which answers took effect, as far as the database remembers it."""

    given: set[tuple[Uid, str, int]] = field(default_factory=set)
    opened: dict[Uid, set[str]] = field(default_factory=dict)  # by task: the steps that the last commit answered

    def copy(self) -> "Authority":
        """The same, to be put back with a backup."""
        return Authority(set(self.given))

    def heard(self, changes: Iterable[Change]) -> None:
        """Note which steps the changes of one commit answer, before anything is compared."""
        self.opened = {}
        for change in changes:
            if isinstance(change, Repinned):
                self.opened.setdefault(change.uid, set())
            elif isinstance(change, StepAdvanced) and (answered_by(change) or _begun_anew(change)):
                self.opened.setdefault(change.uid, set()).add(change.path)

    def reopens(self, old: StepRecord) -> bool:
        """Whether a step that had ended may go on: it was answered, is around one that was, or was cut off with it."""
        answered = self.opened.get(old.uid)
        if answered is None:
            return False
        if EXIT in old.path.split(".") or (old.message == OVERDUE and old.phase not in DONE):
            return True
        around = any(each == old.path or each.startswith(f"{old.path}.") for each in answered)
        return around and old.phase not in DONE

    def wrong(
        self, change: StepAdvanced, before: TaskSnapshot | None, after: TaskSnapshot, program: Program
    ) -> Iterator[str]:
        """What of an answer is not what a commit said and its author saw."""
        verb, path = answered_by(change), change.path
        steps: Any = after.record.control.get("steps", {})
        said = steps.get(path, {}).get(verb) if verb else {}
        if said is None:
            yield f"{path}: `{verb}` takes effect, and no commit says so"
            return
        old = before.steps.get(path) if before else None
        match verb:
            case "retry":
                yield from self._retried(change, old, said["failed"])
            case "skip" if said["reason"] != change.message:
                yield f"{path} is skipped ({change.message}), and what was said is {said}"
            case "resolve":
                seen = [task.attempts[path] for task in (before, after) if task and path in task.attempts]
                lost = (each for each in seen if not each.ended or each.phase is AttemptPhase.LOST)
                if said["attempt"] not in {each.number for each in lost}:
                    yield f"{path}: {said} resolves {seen}"
            case "approve" if said["plan"] != plan_digest(after, locate(program, path)):
                yield f"{path}: approved was {said['plan']}, which is not what it waits with"

    def _retried(self, change: StepAdvanced, old: StepRecord | None, number: int) -> Iterator[str]:
        if old is None or old.attempt != number:
            yield f"{change.path}: `failed: {number}` allows another attempt after attempt {old.attempt if old else 0}"
        if (change.uid, change.path, number) in self.given:
            yield f"{change.path}: `failed: {number}` allows another attempt a second time"
        self.given.add((change.uid, change.path, number))


def repinned_wrongly(change: Repinned, before: TaskSnapshot | None, after: TaskSnapshot, repository: Repository) -> str:
    """Why a task continues with definitions that its file does not name; "" if it does name them."""
    wanted = after.record.control.get("repin")
    if wanted != change.commit or (before and before.record.repinned == change.commit):
        return f"{after.record.name} continues with {change.commit}, and its file says {wanted}"
    return "" if change.commit in repository.commits else f"there is no commit {change.commit}"


def uncommitted(change: Controlled, name: str, written: Mapping[str, list[dict[str, Any]]]) -> str:
    """What a task is told that no commit ever said of it; "" if one did."""
    if not change.control or any(_says(change.control, each) for each in written.get(name, ())):
        return ""
    return f"{name} is told {change.control}, and no commit said so"


def _says(part: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Whether `whole` says all of `part`; of single steps it may say more, which goes for another run."""
    rest = {key: value for key, value in whole.items() if key != "steps"}
    steps = whole.get("steps", {})
    mine = part.get("steps", {})
    return rest == {key: value for key, value in part.items() if key != "steps"} and all(
        steps.get(path, {}).get(verb) == about for path, entry in mine.items() for verb, about in entry.items()
    )


def answered_by(change: StepAdvanced) -> str:
    """Which answer the change is; "" for what only follows from one, and for what no commit asked for."""
    if change.cause.kind != "commit":
        return ""
    if change.signal is Signal.RETRY:
        return "retry"
    return {"Skipped": "skip", "Resolved": "resolve", "Approved": "approve"}.get(change.reason, "")


def _begun_anew(change: StepAdvanced) -> bool:
    return change.cause.kind == "commit" and change.signal is Signal.RESET
