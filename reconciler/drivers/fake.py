"""A driver without a world: its target lives in memory, keeps the truth, and fails in every way a script asks for.

The planner, the loop and the simulator are tested with it. Nothing here waits, so a tick that uses it can be driven by
hand, and two runs with the same script are the same.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from reconciler.drivers.protocol import Call, Ended, NotStarted, Observation, Running, Unknown
from state.records import Json


class Fault(StrEnum):
    """What goes wrong between a driver and its target."""

    REFUSED = "refused"  # the target cannot be reached: nothing was sent
    LOST_REQUEST = "lost request"  # sent, never arrived, and nobody can tell
    LOST_REPLY = "lost reply"  # it arrived and was acted on, but the answer was lost


@dataclass(frozen=True, slots=True)
class Answer:
    """What the target does with one call. `looks`: how often `observe` still sees it running; None: until told."""

    succeeded: bool = True
    result: Json = None
    code: int | None = 0
    message: str = ""
    looks: int | None = 0
    fault: Fault | None = None


@dataclass(slots=True)
class Work:
    """One piece of work at the target, as it really is."""

    key: str
    answer: Answer
    looks: int | None
    cancelled: bool = False

    @property
    def running(self) -> bool:
        return not self.cancelled and self.looks != 0


def _always(_call: Call) -> Answer:
    return Answer()


@dataclass
class FakeTarget:
    """The world behind the driver: it outlives drivers and controllers, and counts what really happened.

    `script` says what a call meets; it is asked at every `start`, so it may answer a resend differently. With
    `deduplicates` a second call under one key finds the first one's work, as behind an idempotency key.
    """

    script: Callable[[Call], Answer] = _always
    deduplicates: bool = True
    observable: bool = True  # observe can look work up by key
    executions: Counter[str] = field(default_factory=Counter)  # call key -> how often it was really acted on
    order: list[str] = field(default_factory=list)  # the call keys as they were acted on
    requests: list[Call] = field(default_factory=list)  # every call that was sent, arrived or not
    work: dict[str, Work] = field(default_factory=dict)  # by call key

    def receive(self, call: Call, answer: Answer) -> Work:
        """Act on a call that arrived, or find the work that an equal call began."""
        key = call.call_key
        if key in self.work and self.deduplicates:
            return self.work[key]
        self.executions[key] += 1
        self.order.append(key)
        self.work[key] = Work(key, answer, answer.looks)
        return self.work[key]

    def finish(self, call_key: str, answer: Answer | None = None) -> None:
        """The work ends now, with `answer` if it is given."""
        work = self.work[call_key]
        work.answer = answer or work.answer
        work.looks = 0


class FakeDriver:
    """A Driver over a FakeTarget; make a second one over the same target to play a restarted controller."""

    def __init__(self, target: FakeTarget | None = None, *, look_again: float = 1.0) -> None:
        self.target = target or FakeTarget()
        self.cleaned: list[str] = []
        self._look_again = look_again

    async def prepare(self, call: Call) -> Json:
        """Nothing to make before the start."""
        return None

    async def start(self, call: Call, handle: Json) -> Observation:
        """What the script says."""
        answer = self.target.script(call)
        if answer.fault is Fault.REFUSED:
            return NotStarted(answer.message or "connection refused", refused=True)
        self.target.requests.append(call)
        if answer.fault is Fault.LOST_REQUEST:
            return Unknown(answer.message or "no answer")
        work = self.target.receive(call, answer)
        if answer.fault is Fault.LOST_REPLY:
            return Unknown(answer.message or "no answer")
        return self._look(work)

    async def observe(self, call: Call, handle: Json) -> Observation:
        """The truth, if the target can be asked."""
        if not self.target.observable:
            return Unknown("the target cannot say what became of a call")
        work = self.target.work.get(call.call_key)
        if work is None:
            return NotStarted("the target does not know the key")
        seen = self._look(work)
        if work.looks:
            work.looks -= 1
        return seen

    async def cancel(self, call: Call, handle: Json) -> Observation:
        """End what still runs."""
        work = self.target.work.get(call.call_key)
        if work is None:
            return NotStarted("the target does not know the key")
        work.cancelled = work.running or work.cancelled
        return self._look(work)

    async def clean(self, call: Call, handle: Json) -> None:
        """Remember that it was asked for."""
        self.cleaned.append(call.call_key)

    async def close(self) -> None:
        """Nothing is held."""

    def _look(self, work: Work) -> Observation:
        handle: Json = {"key": work.key}
        if work.cancelled:
            return Ended(succeeded=False, message="cancelled", handle=handle, cancelled=True)
        if work.running:
            return Running(handle, self._look_again)
        answer = work.answer
        return Ended(answer.succeeded, answer.result, answer.code, answer.message, handle)
