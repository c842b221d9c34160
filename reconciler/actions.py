"""What a plan is made of: data that prints as one signed line, and carries what to write and what to send.

+ admit   > send a call   ? look at work   ~ wait or change   = an end that was reached
! an end nobody wanted    - remove         x stop work
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from definitions.models import Policy
from definitions.program import Program
from state.changes import StepAdvanced, TaskChange
from state.records import AttemptRecord, Identity, Uid
from state.triggers import TriggerChange

Sign = Literal["+", ">", "?", "~", "=", "!", "-", "x"]


class Verb(StrEnum):
    """Which method of a driver an order asks for."""

    START = "start"
    OBSERVE = "observe"
    CANCEL = "cancel"
    CLEAN = "clean"


def place(uid: Uid, path: str, attempt: int, verb: Verb) -> tuple[Uid, str]:
    """Where at most one order is under way: a step; cleaning up after an attempt is in nobody's way."""
    return (uid, f"{path} cleaning {attempt}" if verb is Verb.CLEAN else path)


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to do at a target, after the commit of the plan that holds it."""

    verb: Verb
    attempt: AttemptRecord  # as the plan's changes leave it
    task: str  # namespace/name, for logs and labels
    source: str  # path of the definition: what policy looks at
    uses_result: bool = False
    resend: bool = False

    @property
    def place(self) -> tuple[Uid, str]:
        return place(self.attempt.uid, self.attempt.path, self.attempt.number, self.verb)


@dataclass(frozen=True, slots=True)
class Claim:
    """The room that a start needs; `limit` bounds the unfinished attempts of `group` (None: no bound).

    What is no call but a workflow has no driver; it needs a place among the workflows of its group and no other room.
    """

    namespace: str
    driver: str
    group: str
    limit: int | None
    rank: int  # of the task: older ones first
    begins: bool = True  # a new attempt; one that calls again has its place in the group already
    policy: Policy = "queue"  # what becomes of it where the group has no place


@dataclass(frozen=True, slots=True)
class Action:
    """One decision about one task or trigger."""

    sign: Sign
    uid: Uid
    subject: str  # "demo/grade-alice step2.api2"
    what: str
    changes: tuple[TaskChange | TriggerChange, ...] = ()
    order: Order | None = None
    claim: Claim | None = None
    denied: tuple[TaskChange, ...] = ()  # instead of `changes`, where the claim finds no room
    waits: str = ""  # the reason with which it stands in line already
    away: StepAdvanced | None = None  # instead of all that, where its group has no place and it does not wait for one

    def __str__(self) -> str:
        return f"{self.sign} {self.subject}: {self.what}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens next. `parked` are the tasks with something that found no room; `notes` change nothing.

    `look` are tasks that go on in the next turn, which sees what this one wrote; in `freed` groups there may be a place
    for those who stand in line.

    `again` are the identities whose files waited for the end of a run that this plan brings: to be compared once more.
    `served` is the namespace that was given room last, "" if none was. `triggers` are those of which a task has ended,
    which others may wait for. `programs` are those of new pins, so that nobody has to read and compile these.

    `patient` are those of `parked` that wait for nothing but a place in a group, which a person may have to make free.
    `entered` says how many take a place in each concurrency group with a limit.
    """

    actions: tuple[Action, ...] = ()
    parked: frozenset[Uid] = frozenset()
    patient: frozenset[Uid] = frozenset()
    notes: tuple[str, ...] = ()
    again: frozenset[Identity] = frozenset()
    served: str = ""
    triggers: frozenset[Identity] = frozenset()
    look: frozenset[Uid] = frozenset()
    freed: frozenset[str] = frozenset()
    entered: Mapping[str, int] = field(default_factory=dict)
    programs: Mapping[tuple[str, ...], Program] = field(default_factory=dict, compare=False)

    @property
    def changes(self) -> tuple[TaskChange | TriggerChange, ...]:
        return tuple(change for action in self.actions for change in action.changes)

    @property
    def orders(self) -> tuple[Order, ...]:
        return tuple(action.order for action in self.actions if action.order)

    def __iter__(self) -> Iterator[Action]:
        return iter(self.actions)

    def __str__(self) -> str:
        return "\n".join(lines(self.actions))


def lines(actions: Iterable[Action]) -> list[str]:
    """One line per action, as `plan` prints them and scenarios expect them."""
    return [str(action) for action in actions]
