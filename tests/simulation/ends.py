"""How steps and tasks may begin and end: by what is recorded of their parts, whatever the planner made of it.

A part that failed and that nothing continues on fails the whole, one whose outcome is unknown makes it lost, and what
has no such part has finished, with the outputs that its definition makes of the recorded ones.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from definitions.models import OnLost
from reconciler.position import Frame, Position
from state.phases import ENDED_STEPS, AttemptPhase, StepPhase, TaskPhase
from state.records import AttemptRecord, StepRecord, TaskSnapshot
from state.room import REPLACED
from tests.simulation.reckoning import Run

_BROKEN = frozenset({StepPhase.FAILED, StepPhase.LOST, StepPhase.CANCELLED})
_ACTIVE = frozenset({StepPhase.QUEUED, StepPhase.RUNNING, StepPhase.RETRYING})
_NOT_BEGUN = frozenset({StepPhase.WAITING, StepPhase.QUEUED})
_BEGUN = frozenset({StepPhase.RUNNING, StepPhase.RETRYING, StepPhase.SUCCEEDED, StepPhase.LOST})
_REVOKED = frozenset({TaskPhase.REVOKING, TaskPhase.REVOKED})
_UNDONE = frozenset({AttemptPhase.FAILED, AttemptPhase.TIMED_OUT})
_NO_ATTEMPT = frozenset({"TimedOut", "ExpressionError", "ParamError"})
"""Reasons of a step that failed before anything was attempted."""
_ENDS = {
    TaskPhase.FINISHED: frozenset({StepPhase.SUCCEEDED}),
    TaskPhase.FAILED: frozenset({StepPhase.FAILED, StepPhase.CANCELLED}),
    TaskPhase.REVOKED: frozenset({StepPhase.CANCELLED}),
}
"""What its steps may have come to for a task that ends so; one with the reason `Lost` was lost with one of them."""


def moved_wrongly(before: TaskSnapshot | None, run: Run, answered: Collection[str], at: datetime) -> Iterator[str]:
    """What is wrong about the steps and the task that began or ended with one commit.

    `answered` are the steps about which it carries out what people said; others judge that.
    """
    judge = _Judge(run, at)
    for path, row in run.task.steps.items():
        old = before.steps.get(path) if before else None
        was = old.phase if old else StepPhase.WAITING
        if old is row or was is row.phase or path in answered:
            continue
        place = run.place(path)
        if was is StepPhase.WAITING and row.phase in _ACTIVE and place.item is not None:
            yield from judge.taken_up(place)
        if was in _NOT_BEGUN and (row.phase in _BEGUN or row.started_at != (old.started_at if old else None)):
            yield from judge.begun(place, row)
        if row.phase in ENDED_STEPS:
            yield from judge.ended(place, row)
    record = run.task.record
    if record.phase in _ENDS and (before is None or before.record.phase is not record.phase):
        yield from judge.task_ended()


class _Judge:
    """One run as it is recorded after a commit."""

    def __init__(self, run: Run, at: datetime) -> None:
        self.run = run
        self.at = at
        record = run.task.record
        self.revoked = record.phase in _REVOKED
        self.overdue = bool(record.deadline and record.deadline <= at)

    # -- begins ------------------------------------------------------------------------------------------------------

    def begun(self, place: Position, row: StepRecord) -> Iterator[str]:
        for earlier in place.before:
            if not self._passed(earlier):
                yield f"{place.path} begins, and {earlier.path} is {self.run.row(earlier).phase}"
        if not self.run.wanted(place):
            yield f"{place.path} begins although its condition is false"
        if place.node is place.frame.program.exit and place.item is None:
            yield from self._ending(place, row)
        if place.is_list and place.finder is None and row.inputs.get("items") != self.run.list_of(place):
            yield f"{place.path} goes over {row.inputs.get('items')}"
        elif place.body and row.inputs.get("params") != self.run.parameters(place, place.body.program):
            yield f"{place.path} runs its workflow with {row.inputs.get('params')}"

    def taken_up(self, place: Position) -> Iterator[str]:
        """Another item of a list is begun with only as long as fewer than may go at a time have not ended."""
        whole = place.holder
        if whole and whole.node.each:
            going = [row.path for _, row in self.run.rows(self.run.items(whole)) if row.phase in _ACTIVE]
            if len(going) > whole.node.each.parallelism:
                yield f"{place.path} is begun with while {', '.join(going)} go, and {whole.node.each.parallelism} may"

    def _stopped_in_time(self, place: Position) -> bool:
        """Whether the task's timeout ended it; the clock may have gone back since, and what was told stays told."""
        row = self.run.row(place)
        return row.phase is StepPhase.CANCELLED and row.reason == "TimedOut"

    def _ending(self, place: Position, row: StepRecord) -> Iterator[str]:
        """What runs at the end begins when nothing else of its workflow is under way, and is told how that ended."""
        steps = list(place.frame.steps)
        for step in steps:
            if self.run.row(step).phase in _ACTIVE:
                yield f"{place.path} begins at the end, and {step.path} is {self.run.row(step).phase}"
        good = all(map(self._passed, steps)) and not self.revoked
        late = self.overdue or any(map(self._stopped_in_time, steps))
        if not late and good != (row.inputs.get("state") == "FINISHED"):
            yield f"{place.path} is told {row.inputs.get('state')}, and the steps say {'' if good else 'not '}FINISHED"

    # -- ends --------------------------------------------------------------------------------------------------------

    def ended(self, place: Position, row: StepRecord) -> Iterator[str]:
        if row.phase is StepPhase.SKIPPED:
            yield from self._skipped(place, row)
        elif row.phase is StepPhase.CANCELLED and (self._cut(row) or place.unit or place.node.pause):
            if not self._cut(row):
                yield f"{place.path} is cancelled, and nobody asked for it"
        elif place.is_list and self.run.found(place):
            yield from self._whole(place, row, self._list(place))
        elif place.unit:
            yield from self._work(place, row, self.run.task.attempts.get(place.path))
        elif place.node.pause:
            yield from self._pause(place, row)
        else:
            body = place.body
            yield from self._whole(place, row, self._frame(body) if body else self._calls(place))

    def _cut(self, row: StepRecord) -> bool:
        """Whether it may have been cut off where it stood, because nothing of its task may go on."""
        return self.revoked or self.overdue or row.reason == REPLACED

    def _skipped(self, place: Position, row: StepRecord) -> Iterator[str]:
        rule = place.unit.rule if place.unit else place.body.program.rule if place.body else None
        if row.reason == "ConditionFalse":
            if self.run.wanted(place):
                yield f"{place.path} is skipped although its condition is true"
        elif row.reason != "GroupBusy" or rule is None or rule.policy != "skip":
            yield f"{place.path} is skipped ({row.reason}), and nobody said so"

    def _work(self, place: Position, row: StepRecord, attempt: AttemptRecord | None) -> Iterator[str]:
        fails_when_lost = bool(place.unit and place.unit.on_lost is OnLost.FAIL)
        if row.phase is StepPhase.FAILED and (attempt is None or attempt.ended) and row.reason in _NO_ATTEMPT:
            return
        may_be = {
            AttemptPhase.SUCCEEDED: StepPhase.SUCCEEDED,
            AttemptPhase.FAILED: StepPhase.FAILED,
            AttemptPhase.TIMED_OUT: StepPhase.FAILED,
            AttemptPhase.LOST: StepPhase.FAILED if fails_when_lost else StepPhase.LOST,
            AttemptPhase.CANCELLED: StepPhase.CANCELLED,
        }
        said = attempt.phase if attempt else None
        if attempt is None or attempt.number != row.attempt or may_be.get(attempt.phase) is not row.phase:
            yield f"{place.path} is {row.phase}, and its attempt {row.attempt} is {said}"
        elif row.phase is StepPhase.SUCCEEDED and row.outputs != attempt.outputs:
            yield f"{place.path} gives {row.outputs}, and its attempt gave {attempt.outputs}"

    def _pause(self, place: Position, row: StepRecord) -> Iterator[str]:
        until = row.inputs.get("until")
        end = datetime.fromisoformat(until) if isinstance(until, str) else None
        if row.phase is StepPhase.SUCCEEDED and (end is None or end > self.at):
            yield f"{place.path} is over, and it waits {f'until {end}' if end else 'for a commit'}"
        span = place.node.pause.span if place.node.pause else None
        if span and end and row.started_at and "reopened" not in row.inputs and end - row.started_at != span:
            yield f"{place.path} waits from {row.started_at} until {end}, which is not {span}"
        around = self.run.time_around(place, self.at)
        late = place.node.timeout or (around and around <= self.at)
        if row.phase is not StepPhase.SUCCEEDED and not late:
            yield f"{place.path} only waits, and is {row.phase}"

    # -- parts and wholes --------------------------------------------------------------------------------------------

    def _whole(self, place: Position, row: StepRecord, ends: frozenset[StepPhase]) -> Iterator[str]:
        if row.phase not in ends:
            yield f"{place.path} is {row.phase}, and its parts say {_told(ends)}"
        elif row.phase is StepPhase.SUCCEEDED and (made := self.run.outputs(place)) != row.outputs:
            yield f"{place.path} gives {row.outputs}, and its parts make {made}"

    def _passed(self, place: Position) -> bool:
        phase = self.run.row(place).phase
        return phase in ENDED_STEPS and (phase not in _BROKEN or place.node.continue_on_error)

    def _calls(self, place: Position) -> frozenset[StepPhase]:
        calls = self.run.rows(place.calls)
        fatal = [row for call, row in calls if row.phase in _BROKEN and not call.node.continue_on_error]
        if fatal:
            return _broken(fatal[:1])
        return _one(StepPhase.SUCCEEDED) if all(row.phase in ENDED_STEPS for _, row in calls) else frozenset()

    def _list(self, place: Position) -> frozenset[StepPhase]:
        rows = [row for _, row in self.run.rows(self.run.items(place))]
        if any(row.phase not in ENDED_STEPS for row in rows):
            return frozenset()
        return _broken(row for row in rows if row.phase in _BROKEN)

    def _frame(self, frame: Frame) -> frozenset[StepPhase]:
        """How a workflow may end as its steps are; empty as long as something of it can go on."""
        steps = self.run.rows(frame.steps)
        last = frame.exit if frame.exit and any(step.path in self.run.task.steps for step, _ in steps) else None
        under_way = any(row.phase in _ACTIVE for _, row in steps)
        if under_way or (last and self.run.row(last).phase not in ENDED_STEPS):
            return frozenset()
        if self.revoked:
            return _one(StepPhase.CANCELLED)
        fatal = [row for step, row in steps if row.phase in _BROKEN and not step.node.continue_on_error]
        open_ = [step for step, row in steps if row.phase is StepPhase.WAITING]
        told = (
            last is not None and self.run.row(last).inputs.get("state") == "FAILED"
        )  # it stands if the clock goes back
        if fatal and not self.overdue and not told and any(all(map(self._passed, step.before)) for step in open_):
            return frozenset()
        late = _one(StepPhase.FAILED) if self.overdue or (told and not fatal) else frozenset()
        if fatal or open_:
            return (_broken(fatal) if fatal else frozenset()) | late
        return late | (
            _one(StepPhase.SUCCEEDED) if last is None or self._passed(last) else _broken([self.run.row(last)])
        )

    # -- tasks -------------------------------------------------------------------------------------------------------

    def task_ended(self) -> Iterator[str]:
        record = self.run.task.record
        if not self.run.task.steps or (record.started_at is None and record.reason == "Skipped"):
            yield from self._never_began()
            return
        ends = self._frame(self.run.top)
        if ends.isdisjoint(_one(StepPhase.LOST) if record.reason == "Lost" else _ENDS[record.phase]):
            yield f"{record.name} is {record.phase} ({record.reason}), and its steps say {_told(ends)}"
        elif record.phase is TaskPhase.FINISHED and (made := self.run.frame_outputs(self.run.top)) != record.outputs:
            yield f"{record.name} gives {record.outputs}, and its steps make {made}"

    def _never_began(self) -> Iterator[str]:
        record, rule = self.run.task.record, self.run.program.rule
        skipped = record.reason == "Skipped" and rule is not None and rule.policy == "skip"
        if record.phase is TaskPhase.FINISHED and not skipped:
            yield f"{record.name} is finished ({record.reason}), and nothing of it began"


def _broken(rows: Iterable[StepRecord]) -> frozenset[StepPhase]:
    """What parts that failed make of the whole; a lost one speaks for all. Of none it has succeeded."""
    phases = [row.phase for row in rows]
    if StepPhase.LOST in phases:
        return _one(StepPhase.LOST)
    return _one(phases[0]) if phases else _one(StepPhase.SUCCEEDED)


def _one(phase: StepPhase) -> frozenset[StepPhase]:
    return frozenset({phase})


def _told(ends: Iterable[StepPhase]) -> str:
    return " or ".join(sorted(map(str, ends))) or "that it goes on"
