"""What an observation means: the only place that turns what a target said into what is recorded of an attempt.

A report that is not about the call in flight is late or doubled and changes nothing. Success needs the target's own
word; whatever is unknown stays unknown (design.md rules 8 and 9).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from definitions.expressions import EvaluationError
from definitions.models import OnLost
from definitions.params import ParamError
from definitions.program import Program, Unit
from definitions.values import weigh
from reconciler.actions import Verb
from reconciler.drivers.protocol import Ended, NoNews, NotStarted, Observation, Running, Unknown
from reconciler.observed import Limits
from reconciler.plan.attempts import resend_at
from reconciler.plan.scope import Scope, read, read_all, scope_of
from reconciler.position import locate
from state.changes import AttemptAdvanced, Cleaned, StepAdvanced, TaskChange
from state.phases import AttemptPhase, Signal, TaskPhase
from state.records import AttemptRecord, Cause, Json, TaskSnapshot, Uid
from state.room import REPLACED


@dataclass(frozen=True, slots=True)
class Report:
    """One observation on its way from a driver to the loop, and which call it is about."""

    uid: Uid
    path: str
    attempt: int
    call: int
    verb: Verb
    observation: Observation
    prepared: bool = False  # made, not started: only the handle is news
    resends: int | None = None  # how often the call had been sent again when this was asked; None: not told


def judge(
    report: Report, task: TaskSnapshot, program: Program, limits: Limits, now: datetime
) -> tuple[TaskChange, ...]:
    """What `report` changes; nothing if it is late or doubled."""
    if report.verb is Verb.CLEAN:
        return (Cleaned(report.uid, report.path, report.attempt),)
    attempt = task.attempts.get(report.path)
    if attempt is None or attempt.ended or (attempt.number, attempt.call) != (report.attempt, report.call):
        return ()
    if report.resends not in {None, attempt.resends}:
        return ()  # the same call has gone out again since: what was known before it says nothing about it
    if attempt.phase is AttemptPhase.POLLING and not attempt.in_flight:
        return ()  # the call was answered with "not yet", and nothing but time leads to the next one
    return _Bench(report, task, program, attempt, limits, now).verdict()


class _Bench:
    """One report under judgement."""

    def __init__(
        self,
        report: Report,
        task: TaskSnapshot,
        program: Program,
        attempt: AttemptRecord,
        limits: Limits,
        now: datetime,
    ) -> None:
        self.report = report
        self.task = task
        self.position = locate(program, report.path)
        self.unit = cast("Unit", self.position.unit)
        self.attempt = attempt
        self.limits = limits
        self.now = now
        self.cause = Cause("observation", f"{attempt.key}/{report.call}")

    @property
    def stopping(self) -> bool:
        return self.attempt.phase is AttemptPhase.CANCELLING

    @property
    def stopped(self) -> Signal:
        """The end of an attempt that was told to end: by a revocation, for a newer one, or because its time was over."""
        told = self.task.record.phase is TaskPhase.REVOKING or self.task.steps[self.attempt.path].reason == REPLACED
        return Signal.STOP if told else Signal.TIME_OUT

    def verdict(self) -> tuple[TaskChange, ...]:
        match self.report.observation:
            case Running(handle=handle, look_again=seconds):
                return self._running(handle, seconds)
            case Ended() as ended if ended.succeeded:
                return self._succeeded(ended)
            case Ended() as ended:
                return self._failed(ended)
            case NotStarted() | Unknown() | NoNews() if self.stopping and self.report.verb is not Verb.CANCEL:
                return ()  # it was asked before the stop, whose own answer says more
            case NotStarted(unrecorded=True, proof=proof) if self.task.record.restored:
                return self._unknown(f"{proof}; but an older database may have forgotten it")
            case NotStarted(proof=proof, refused=refused):
                return self._not_started(proof, refused=refused)
            case Unknown(evidence=evidence):
                return self._unknown(evidence)
            case NoNews(why=why, look_again=seconds):
                return self._no_news(why, seconds)

    def _no_news(self, why: str, seconds: float) -> tuple[TaskChange, ...]:
        """It stays what it is. What is in flight without an answer is looked at again anyway; a time would send it again."""
        again = None if self.attempt.in_flight else self.now + timedelta(seconds=seconds)
        said = self.attempt.message if self.stopping else why
        return (self._change(None, answered=self.attempt.answered, message=said, wake_at=again),)

    def _running(self, handle: Json, seconds: float) -> tuple[TaskChange, ...]:
        again = self.now + timedelta(seconds=seconds)
        if self.report.prepared:
            signal = Signal.PREPARE if self.attempt.phase is AttemptPhase.INTENT else None
            return (self._change(signal, handle=handle, answered=self.attempt.answered),)
        if self.stopping:  # it stays in flight: if nobody can say later that it ended, it is lost, not stopped
            said, answered = self.attempt.message, self.attempt.answered
            return (self._change(None, handle=handle, answered=answered, message=said, wake_at=again),)
        signal = None if self.attempt.phase is AttemptPhase.STARTED else Signal.START
        return (self._change(signal, handle=handle, wake_at=again),)

    def _succeeded(self, ended: Ended) -> tuple[TaskChange, ...]:
        try:
            scope = scope_of(self.task, self.position)
            waits = self._not_yet(scope, ended.result)
            if waits:
                return (self._waits(waits, ended),)
            outputs = self._outputs(scope, ended.result)
        except (EvaluationError, ParamError) as error:
            return (self._end(Signal.FAIL, ended, f"outputs: {error}"),)
        if flaw := self._flaw(outputs):
            return (self._end(Signal.FAIL, ended, flaw),)
        return (self._end(Signal.SUCCEED, ended, ended.message, outputs),)

    def _outputs(self, scope: Scope, result: Json) -> Json:
        """What the answer gives: the outputs, or as one of many in a list whose job declares none, the answer itself."""
        return result if self.unit.whole_result else read_all(self.unit.outputs, scope, self.unit, result)

    def _flaw(self, outputs: Json) -> str:
        """Why these outputs cannot be kept, "" if they can."""
        try:
            size = weigh(outputs, self.limits.output_bytes)
        except (TypeError, ValueError) as error:
            return f"outputs: {error}"
        most = self.limits.output_bytes
        return f"OutputTooLarge: the outputs are larger than {most} bytes" if size > most else ""

    def _not_yet(self, scope: Scope, result: Json) -> str:
        """Why `until` is not true yet, "" if it is; an `until` that raises is "not yet", too (rule 9)."""
        until = self.unit.until
        if until is None:
            return ""
        try:
            met = read(until, scope, self.unit, result)
        except EvaluationError as error:
            return f"until: {error}"
        return "" if met else f"until is not true yet: {until.expression.text}"

    def _waits(self, why: str, ended: Ended) -> TaskChange:
        if self.stopping:
            return self._end(self.stopped, ended, f"{self.attempt.message}; {why}")
        if self.unit.max_calls is not None and self.attempt.call >= self.unit.max_calls:
            return self._end(Signal.FAIL, ended, f"maxCalls: {self.attempt.call} calls, and {why}")
        signal = None if self.attempt.phase is AttemptPhase.POLLING else Signal.POLL
        return self._change(
            signal,
            answer=ended.result,
            code=ended.code,
            message=why,
            wake_at=self.now + self.unit.every,
            cleanup=ended.cleanup or None,
        )

    def _failed(self, ended: Ended) -> tuple[TaskChange, ...]:
        if ended.timed_out or (ended.cancelled and self.stopping):
            signal = Signal.TIME_OUT if ended.timed_out else self.stopped
            said = [self.attempt.message if self.stopping else "", ended.message]
            return (self._end(signal, ended, "; ".join(text for text in said if text)),)
        end = self._end(Signal.FAIL, ended, ended.message)
        if ended.repeatable:
            return (end,)
        refused = StepAdvanced(self.report.uid, self.report.path, Signal.FAIL, self.cause, "Refused", ended.message)
        return (end, refused)

    def _not_started(self, proof: str, *, refused: bool) -> tuple[TaskChange, ...]:
        if self.stopping:
            return (self._change(self.stopped, message=f"{self.attempt.message}; {proof}"),)
        if refused and self.attempt.resends and self.unit.deduplicates:
            return self._unknown(proof)  # this one never left; an earlier one of the same key may have been acted on
        if refused:
            return (self._change(Signal.FAIL, message=proof),)
        if not self.attempt.in_flight:
            return self._unknown(f"it ran, and now the target says: {proof}")
        return (self._again(f"it was not started: {proof}", resend_at(self.attempt, self.unit, self.now)),)

    def _unknown(self, evidence: str) -> tuple[TaskChange, ...]:
        if self.stopping:
            idle = not self.attempt.in_flight and not self.task.record.restored  # an older database may not know a call
            harmless = self.unit.deduplicates or idle
            signal = self.stopped if harmless else Signal.LOSE
            return (self._change(signal, message=f"{self.attempt.message}; {evidence}"),)
        if self.unit.deduplicates and self.unit.on_lost is OnLost.RETRY:
            return (self._again(f"the reply was lost: {evidence}", self._next_look()),)
        if self.report.verb is Verb.START and self.attempt.in_flight:
            # Whoever can be asked is asked before it counts as lost; being in flight without a call asks for a look.
            return (self._change(None, answered=self.attempt.answered, message=evidence),)
        return (self._change(Signal.LOSE, message=f"{self.attempt.message}; {evidence}".removeprefix("; ")),)

    def _next_look(self) -> datetime:
        """When to send again what may be sent again; work that runs is only looked at again, and not at once."""
        at = resend_at(self.attempt, self.unit, self.now)
        return at if self.attempt.in_flight else max(at, self.now + timedelta(seconds=1))

    def _again(self, message: str, at: datetime) -> TaskChange:
        """The same call goes out again under the same key; until then it stays in flight, with a time to wake up."""
        return self._change(None, answered=self.attempt.answered, message=message, wake_at=at)

    def _end(self, signal: Signal, ended: Ended, message: str, outputs: Json = None) -> TaskChange:
        return self._change(
            signal,
            handle=ended.handle,
            answer=ended.result,
            outputs=outputs,
            code=ended.code,
            message=message,
            cleanup=ended.cleanup or None,  # what an earlier call left there stays to be removed
        )

    def _change(
        self,
        signal: Signal | None,
        *,
        handle: Json = None,
        answered: int | None = None,
        answer: Json = None,
        outputs: Json = None,
        code: int | None = None,
        message: str = "",
        wake_at: datetime | None = None,
        cleanup: bool | None = None,
    ) -> AttemptAdvanced:
        call = self.report.call if answered is None else answered
        where = (self.report.uid, self.report.path, signal, self.cause)
        return AttemptAdvanced(*where, call, handle, answer, outputs, code, message, wake_at, cleanup)
