"""The one state machine: what a task, a step and an attempt may become, in one table.

Whatever is not in `TABLE` raises, so a bug in the planner can never write an impossible history.
The six words that people and old clients see (`State`) are derived from the phases here and nowhere else.
"""

from enum import Enum, StrEnum
from typing import TypeVar


class State(StrEnum):
    """The six public states; every dialect maps from them."""

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"
    FINISHED = "FINISHED"


class _Word(Enum):
    """A phase prints as its word but equals only itself: a running task is not a running step, not even as a key."""

    __hash__ = object.__hash__  # it is itself alone; Enum's own asks for the name in Python, at every look into a table

    def __str__(self) -> str:
        return str(self.value)


class TaskPhase(_Word):
    """How far a task is. `REVOKING` lasts until everything in flight has been stopped."""

    UNADOPTED = "unadopted"
    CREATED = "created"
    RUNNING = "running"
    SUSPENDED = "suspended"
    REMOVED = "removed"
    REVOKING = "revoking"
    FAILED = "failed"
    REVOKED = "revoked"
    FINISHED = "finished"


class StepPhase(_Word):
    """How far a step (or a call, or an item) is. A step without a row is `WAITING`."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"


class AttemptPhase(_Word):
    """How far an attempt is. `INTENT` is durable before the first byte leaves; the last five never change again."""

    INTENT = "intent"
    PREPARED = "prepared"
    STARTED = "started"
    POLLING = "polling"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"


class TriggerPhase(_Word):
    """How a trigger stands. Its file alone decides, so there is no table of its transitions."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    UNADOPTED = "unadopted"
    REMOVED = "removed"


class Signal(StrEnum):
    """What can happen to a phase. A step that runs others is reopened with one of them; what is reset begins anew."""

    ADOPT = "adopt"
    START = "start"
    QUEUE = "queue"
    PREPARE = "prepare"
    POLL = "poll"
    RETRY = "retry"
    SUCCEED = "succeed"
    SKIP = "skip"
    FAIL = "fail"
    TIME_OUT = "time_out"
    LOSE = "lose"
    CANCEL = "cancel"
    STOP = "stop"
    SUSPEND = "suspend"
    RESUME = "resume"
    REMOVE = "remove"
    RESTORE = "restore"
    REVOKE = "revoke"
    REOPEN = "reopen"
    RESET = "reset"


Phase = TaskPhase | StepPhase | AttemptPhase
P = TypeVar("P", TaskPhase, StepPhase, AttemptPhase)


class IllegalTransition(ValueError):
    """A signal met a phase that has no place for it: always a bug of the sender, never of the data."""


T, S, A, G = TaskPhase, StepPhase, AttemptPhase, Signal

TABLE: dict[tuple[Phase, Signal], Phase] = {
    # a task
    (T.UNADOPTED, G.ADOPT): T.CREATED,
    (T.UNADOPTED, G.REMOVE): T.REMOVED,
    (T.UNADOPTED, G.REVOKE): T.REVOKING,
    (T.CREATED, G.QUEUE): T.CREATED,
    (T.CREATED, G.START): T.RUNNING,
    (T.CREATED, G.SUCCEED): T.FINISHED,
    (T.CREATED, G.FAIL): T.FAILED,
    (T.CREATED, G.SUSPEND): T.SUSPENDED,
    (T.CREATED, G.REMOVE): T.REMOVED,
    (T.CREATED, G.REVOKE): T.REVOKING,
    (T.RUNNING, G.QUEUE): T.CREATED,
    (T.RUNNING, G.SUCCEED): T.FINISHED,
    (T.RUNNING, G.FAIL): T.FAILED,
    (T.RUNNING, G.SUSPEND): T.SUSPENDED,
    (T.RUNNING, G.REMOVE): T.REMOVED,
    (T.RUNNING, G.REVOKE): T.REVOKING,
    (T.SUSPENDED, G.RESUME): T.RUNNING,
    (T.SUSPENDED, G.RESET): T.CREATED,
    (T.SUSPENDED, G.SUCCEED): T.FINISHED,
    (T.SUSPENDED, G.FAIL): T.FAILED,
    (T.SUSPENDED, G.REMOVE): T.REMOVED,
    (T.SUSPENDED, G.REVOKE): T.REVOKING,
    (T.REMOVED, G.RESTORE): T.RUNNING,
    (T.REMOVED, G.RESET): T.CREATED,
    (T.REMOVED, G.SUCCEED): T.FINISHED,
    (T.REMOVED, G.FAIL): T.FAILED,
    (T.REMOVED, G.REVOKE): T.REVOKING,
    (T.FAILED, G.RETRY): T.RUNNING,
    (T.FAILED, G.REVOKE): T.REVOKING,
    (T.FAILED, G.STOP): T.REVOKED,
    (T.UNADOPTED, G.STOP): T.REVOKED,
    (T.CREATED, G.STOP): T.REVOKED,
    (T.SUSPENDED, G.STOP): T.REVOKED,
    (T.REMOVED, G.STOP): T.REVOKED,
    (T.REVOKING, G.STOP): T.REVOKED,
    # a step, a call or an item
    (S.WAITING, G.QUEUE): S.QUEUED,
    (S.WAITING, G.START): S.RUNNING,
    (S.WAITING, G.SKIP): S.SKIPPED,
    (S.WAITING, G.FAIL): S.FAILED,
    (S.WAITING, G.CANCEL): S.CANCELLED,
    (S.QUEUED, G.START): S.RUNNING,
    (S.QUEUED, G.SKIP): S.SKIPPED,
    (S.QUEUED, G.FAIL): S.FAILED,
    (S.QUEUED, G.CANCEL): S.CANCELLED,
    (S.QUEUED, G.RESET): S.WAITING,
    (S.RUNNING, G.RETRY): S.RETRYING,
    (S.RUNNING, G.SUCCEED): S.SUCCEEDED,
    (S.RUNNING, G.FAIL): S.FAILED,
    (S.RUNNING, G.LOSE): S.LOST,
    (S.RUNNING, G.SKIP): S.SKIPPED,
    (S.RUNNING, G.CANCEL): S.CANCELLED,
    (S.RETRYING, G.START): S.RUNNING,
    (S.RETRYING, G.FAIL): S.FAILED,
    (S.RETRYING, G.SKIP): S.SKIPPED,
    (S.RETRYING, G.CANCEL): S.CANCELLED,
    (S.SUCCEEDED, G.RESET): S.WAITING,
    (S.SKIPPED, G.RESET): S.WAITING,
    (S.FAILED, G.RETRY): S.RETRYING,
    (S.FAILED, G.SKIP): S.SKIPPED,
    (S.FAILED, G.REOPEN): S.RUNNING,
    (S.FAILED, G.RESET): S.WAITING,
    (S.LOST, G.SKIP): S.SKIPPED,
    (S.LOST, G.SUCCEED): S.SUCCEEDED,
    (S.LOST, G.FAIL): S.FAILED,
    (S.LOST, G.REOPEN): S.RUNNING,
    (S.LOST, G.RESET): S.WAITING,
    (S.CANCELLED, G.RETRY): S.RETRYING,
    (S.CANCELLED, G.SKIP): S.SKIPPED,
    (S.CANCELLED, G.REOPEN): S.RUNNING,
    (S.CANCELLED, G.RESET): S.WAITING,
    # an attempt
    (A.INTENT, G.PREPARE): A.PREPARED,
    (A.INTENT, G.START): A.STARTED,
    (A.INTENT, G.POLL): A.POLLING,
    (A.INTENT, G.SUCCEED): A.SUCCEEDED,
    (A.INTENT, G.FAIL): A.FAILED,
    (A.INTENT, G.TIME_OUT): A.TIMED_OUT,
    (A.INTENT, G.LOSE): A.LOST,
    (A.INTENT, G.CANCEL): A.CANCELLING,
    (A.PREPARED, G.START): A.STARTED,
    (A.PREPARED, G.POLL): A.POLLING,
    (A.PREPARED, G.SUCCEED): A.SUCCEEDED,
    (A.PREPARED, G.FAIL): A.FAILED,
    (A.PREPARED, G.TIME_OUT): A.TIMED_OUT,
    (A.PREPARED, G.LOSE): A.LOST,
    (A.PREPARED, G.CANCEL): A.CANCELLING,
    (A.STARTED, G.POLL): A.POLLING,
    (A.STARTED, G.SUCCEED): A.SUCCEEDED,
    (A.STARTED, G.FAIL): A.FAILED,
    (A.STARTED, G.TIME_OUT): A.TIMED_OUT,
    (A.STARTED, G.LOSE): A.LOST,
    (A.STARTED, G.CANCEL): A.CANCELLING,
    (A.POLLING, G.START): A.STARTED,
    (A.POLLING, G.SUCCEED): A.SUCCEEDED,
    (A.POLLING, G.FAIL): A.FAILED,
    (A.POLLING, G.TIME_OUT): A.TIMED_OUT,
    (A.POLLING, G.LOSE): A.LOST,
    (A.POLLING, G.CANCEL): A.CANCELLING,
    (A.CANCELLING, G.SUCCEED): A.SUCCEEDED,
    (A.CANCELLING, G.FAIL): A.FAILED,
    (A.CANCELLING, G.TIME_OUT): A.TIMED_OUT,
    (A.CANCELLING, G.STOP): A.CANCELLED,
    (A.CANCELLING, G.LOSE): A.LOST,
}

PUBLIC: dict[Phase, State] = {
    T.UNADOPTED: State.CREATED,
    T.CREATED: State.CREATED,
    T.RUNNING: State.RUNNING,
    T.SUSPENDED: State.SUSPENDED,
    T.REMOVED: State.SUSPENDED,
    T.REVOKING: State.RUNNING,
    T.FAILED: State.FAILED,
    T.REVOKED: State.REVOKED,
    T.FINISHED: State.FINISHED,
    S.WAITING: State.CREATED,
    S.QUEUED: State.CREATED,
    S.RUNNING: State.RUNNING,
    S.RETRYING: State.RUNNING,
    S.SUCCEEDED: State.FINISHED,
    S.SKIPPED: State.FINISHED,
    S.FAILED: State.FAILED,
    S.LOST: State.FAILED,
    S.CANCELLED: State.REVOKED,
    A.INTENT: State.RUNNING,
    A.PREPARED: State.RUNNING,
    A.STARTED: State.RUNNING,
    A.POLLING: State.RUNNING,
    A.CANCELLING: State.RUNNING,
    A.SUCCEEDED: State.FINISHED,
    A.FAILED: State.FAILED,
    A.TIMED_OUT: State.FAILED,
    A.CANCELLED: State.REVOKED,
    A.LOST: State.FAILED,
}

LIVE_TASKS = frozenset({T.UNADOPTED, T.CREATED, T.RUNNING, T.SUSPENDED, T.REMOVED, T.REVOKING})
STARTING_TASKS = frozenset({T.CREATED, T.RUNNING})
"""In which new work may begin; in the other phases what runs is only brought to its end."""
ENDED_TASKS = frozenset({T.FAILED, T.REVOKED, T.FINISHED})
ACTIVE_STEPS = frozenset({S.QUEUED, S.RUNNING, S.RETRYING})
ENDED_STEPS = frozenset({S.SUCCEEDED, S.SKIPPED, S.FAILED, S.LOST, S.CANCELLED})
ENDED_ATTEMPTS = frozenset({A.SUCCEEDED, A.FAILED, A.TIMED_OUT, A.CANCELLED, A.LOST})


def advance(phase: P, signal: Signal) -> P:
    """The phase after `signal`; raises IllegalTransition for what the table does not know."""
    try:
        return TABLE[phase, signal]  # type: ignore[return-value]  # the table keeps each kind of phase to itself (a test)
    except KeyError:
        raise IllegalTransition(f"a {type(phase).__name__} that is {phase} cannot {signal}") from None
