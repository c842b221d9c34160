"""Attempts and calls: how many, how early, how long and how many side by side, as the definitions allow it (rule 9).

The judge counts what was committed and when; what rows say of failures and of times to wake up is nothing to him.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from definitions.models import OnLost
from definitions.program import Unit
from state.changes import Change, StepAdvanced
from state.phases import ENDED_ATTEMPTS, AttemptPhase, StepPhase, TaskPhase
from state.records import EXIT, AttemptRecord, Event, Uid
from state.room import REPLACED
from tests.simulation.reckoning import Run, Scope

_OVER = frozenset(phase.value for phase in ENDED_ATTEMPTS)
_FAILED = frozenset({AttemptPhase.FAILED.value, AttemptPhase.TIMED_OUT.value})
_LOST = AttemptPhase.LOST.value
_GIVEN_UP = frozenset({StepPhase.FAILED.value, StepPhase.LOST.value})
_REVOKED = frozenset({TaskPhase.REVOKING, TaskPhase.REVOKED})
_SLACK = timedelta(seconds=2)
Place = tuple[Uid, str]


class Mark(NamedTuple):
    """Something that was committed about an attempt: when by the wall clock, and how far that was off."""

    number: int
    phase: str
    at: datetime
    offset: float


@dataclass
class Tries:
    """What was ever attempted at each step, as far as the database remembers it."""

    failures: Counter[Place] = field(default_factory=Counter)
    last: dict[Place, Mark] = field(default_factory=dict)  # the attempt that ended last
    opened: dict[Place, int] = field(default_factory=dict)  # behind this attempt people allowed another one
    replaced: dict[Place, int] = field(default_factory=dict)  # this attempt ends for something newer of its group
    begun: dict[Place, tuple[int, datetime]] = field(default_factory=dict)
    calls: dict[Place, int] = field(default_factory=dict)  # the call that was made last of the attempt under way
    polled: dict[Place, Mark] = field(default_factory=dict)  # the call that was answered "not yet"
    limits: dict[Place, datetime] = field(default_factory=dict)  # when what is under way has to be told to end

    def copy(self) -> "Tries":
        """The same, to be put back with a backup."""
        return Tries(*(each.copy() for each in vars(self).values()))

    def wrong(
        self, changes: Iterable[Change], events: Iterable[Event], runs: Mapping[Uid, Run], at: datetime, offset: float
    ) -> Iterator[str]:
        """What of a commit is more, earlier or longer than allowed. `runs` are its tasks as they are after it.

        `offset`: how far the wall clock is off; between two times that differ in it no wait can be told.
        """
        for change in changes:
            if isinstance(change, StepAdvanced) and change.signal is None and change.reason == REPLACED:
                self.replaced[change.uid, change.path] = runs[change.uid].task.steps[change.path].attempt
        events = list(events)
        spoken_to = {event.uid for event in events if event.subject == "step" and event.cause.kind == "commit"}
        for event in events:
            place = (event.uid, event.path)
            if event.subject == "step" and event.cause.kind == "commit" and event.after in {"retrying", "waiting"}:
                self.opened[place] = event.attempt
            elif event.subject == "step" and event.after in _GIVEN_UP and event.uid not in spoken_to:
                yield from self._given_up(event, runs[event.uid])
            elif event.subject == "attempt" and event.after in _OVER:
                self._ended(event, runs[event.uid], offset)
            elif event.subject == "attempt" and not event.before:
                yield from self._begun(event, runs[event.uid], offset)
        for run in runs.values():
            for attempt in run.task.attempts.values():
                yield from self._under_way(run, attempt, at, offset)
            yield from _side_by_side(run)

    # -- one attempt after the other ---------------------------------------------------------------------------------

    def _ended(self, event: Event, run: Run, offset: float) -> None:
        place, unit = (event.uid, event.path), run.place(event.path).unit
        lost_is_failed = event.after == _LOST and unit is not None and unit.on_lost is OnLost.FAIL
        self.failures[place] += event.after in _FAILED or lost_is_failed
        self.last[place] = Mark(event.attempt, event.after, event.at, offset)

    def _begun(self, event: Event, run: Run, offset: float) -> Iterator[str]:
        place, position = (event.uid, event.path), run.place(event.path)
        last, unit = self.last.get(place), position.unit
        self.polled.pop(place, None)
        self.calls.pop(place, None)
        self.begun[place] = (event.attempt, event.at)
        if (event.attempt != last.number + 1) if last else event.attempt != 1:
            yield f"{event.path}: attempt {event.attempt} follows {last}"
        if last is None or unit is None or self.opened.get(place) == last.number:
            return
        wait = self._wait(place, unit, last)
        if wait is None:
            yield f"{event.path}: attempt {event.attempt} after {self.failures[place]} that failed; the last: {last.phase}"
        elif last.offset == offset and timedelta() <= event.at - last.at < wait:  # below 0: the clock went back
            yield f"{event.path}: attempt {event.attempt} begins {event.at - last.at} after the last, not {wait}"

    def _wait(self, place: Place, unit: Unit, last: Mark) -> timedelta | None:
        """How long the attempt behind `last` has to wait; None if there may be none."""
        failures = self.failures[place]
        if last.phase == _LOST:
            doubled = unit.every * 2 ** min(last.number - failures - 1, 16)
            most = max(unit.every, timedelta(minutes=5))
            return max(min(doubled, most), timedelta(seconds=1)) if unit.on_lost is OnLost.RETRY else None
        retry = unit.retry
        if last.phase not in _FAILED or retry is None or (retry.limit != "unlimited" and failures > retry.limit):
            return None
        seconds = retry.every.total_seconds() * retry.backoff ** min(failures - 1, 64)
        return timedelta(seconds=min(seconds, max(retry.max_every, retry.every).total_seconds()))

    def _given_up(self, event: Event, run: Run) -> Iterator[str]:
        """A step has failed or is lost only when there may be no other attempt."""
        place, position = (event.uid, event.path), run.place(event.path)
        last, unit = self.last.get(place), position.unit
        if last is None or unit is None or last.number != event.attempt or event.attempt == self.replaced.get(place):
            return
        record = run.task.record
        overdue = record.deadline and record.deadline <= event.at and EXIT not in event.path.split(".")
        wait = self._wait(place, unit, last)
        if wait is None or overdue or record.phase in _REVOKED or event.reason in {"ExpressionError", "ParamError"}:
            return
        around = run.time_around(position, event.at)
        if around is None or around > event.at + wait:
            yield f"{event.path} is given up after {self.failures[place]} attempts that failed, and another was allowed"

    # -- what is under way -------------------------------------------------------------------------------------------

    def _under_way(self, run: Run, attempt: AttemptRecord, at: datetime, offset: float) -> Iterator[str]:
        place = (attempt.uid, attempt.path)
        self.limits.pop(place, None)
        if attempt.ended:
            if attempt.ended_at == at:
                yield from _succeeded_early(run, attempt)
            return
        if attempt.phase is not AttemptPhase.CANCELLING:
            yield from self._timed(run, attempt, at)
        yield from self._polls(run, attempt, at, offset)

    def _polls(self, run: Run, attempt: AttemptRecord, at: datetime, offset: float) -> Iterator[str]:
        place, unit = (attempt.uid, attempt.path), run.place(attempt.path).unit
        if unit and unit.max_calls is not None and attempt.call > unit.max_calls:
            yield f"{attempt.path}: call {attempt.call} of {unit.max_calls}"
        if unit and attempt.call > self.calls.get(place, 1):
            polled = self.polled.pop(place, Mark(0, "", at, offset))
            if polled.offset == offset and timedelta() <= at - polled.at < unit.every:  # below 0: the clock went back
                yield f"{attempt.path}: call {attempt.call} follows after {at - polled.at}, not {unit.every}"
        self.calls[place] = attempt.call
        if attempt.phase is AttemptPhase.POLLING and not attempt.in_flight and place not in self.polled:
            self.polled[place] = Mark(attempt.call, attempt.phase.value, at, offset)

    def _timed(self, run: Run, attempt: AttemptRecord, at: datetime) -> Iterator[str]:
        """An attempt has the deadline that its definition and what is around it give it, and so has its task."""
        place, record = run.place(attempt.path), run.task.record
        if self.begun.get((attempt.uid, attempt.path)) == (attempt.number, at):
            own = at + place.unit.timeout if place.unit and place.unit.timeout else None
            wanted = min((time for time in (own, run.time_around(place, at)) if time), default=None)
            if (wanted is None) != (attempt.deadline is None) or (wanted and attempt.deadline > wanted):  # type: ignore[operator]  # neither is None
                yield f"{attempt.path} begins with the deadline {attempt.deadline}, which should be {wanted}"
        task = record.deadline if EXIT not in attempt.path.split(".") else None
        if (limit := min((time for time in (attempt.deadline, task) if time), default=None)) and not record.held:
            self.limits[attempt.uid, attempt.path] = limit

    def overdue(self, now: datetime) -> str:
        """What runs after its time without having been told to end, once a turn at `now` is over; "" if nothing does."""
        late = (
            f"{path} runs after its time, {limit}" for (_, path), limit in self.limits.items() if limit < now - _SLACK
        )
        return next(late, "")


def _succeeded_early(run: Run, attempt: AttemptRecord) -> Iterator[str]:
    unit = run.place(attempt.path).unit
    if attempt.phase is AttemptPhase.SUCCEEDED and unit and unit.until:
        scope: Scope = {"params": {}, "result": attempt.answer}
        if not unit.until.expression.evaluate(scope):
            yield f"{attempt.path} has succeeded, and `until` is not true of {attempt.answer}"


def _side_by_side(run: Run) -> Iterator[str]:
    """No more items of a list work at a time than its `parallelism`, also where people had some of them go on."""
    going: dict[str, set[str]] = {}
    for path in (path for path, attempt in run.task.attempts.items() if not attempt.ended):
        parts = path.split(".")
        for at in (at for at, part in enumerate(parts) if part.isdigit()):
            going.setdefault(".".join(parts[:at]), set()).add(parts[at])
    for path, items in going.items():
        each = run.place(path).node.each
        if each and len(items) > each.parallelism:
            yield f"the items {', '.join(sorted(items))} of {path} work at a time, and {each.parallelism} may"
