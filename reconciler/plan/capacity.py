"""Who gets room: starts and polls compete for the limits, oldest task first, the namespaces in turn.

A namespace with less under way comes first; among equals the turn goes on from the one that was served last, so a
long line in one namespace never holds up the others.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from reconciler.actions import Action, Claim, Verb
from reconciler.observed import Limits
from state.changes import StepAdvanced, TaskChange
from state.records import Usage


def grant(
    actions: Iterable[Action], usage: Usage, limits: Limits, served: str = ""
) -> tuple[list[Action], list[Action]]:
    """(what goes ahead, what found no room), the latter with the changes that make it wait in line.

    `served` is the namespace that was given room last.
    """
    room = Room(usage, limits)
    granted: list[Action] = []
    parked: list[Action] = []
    for action in _in_turn(actions, usage, served):
        if action.claim is None and limits.total == 0 and _sends(action):
            parked.append(replace(action, sign="~", what="held back: nothing is sent now", changes=(), order=None))
        elif action.claim is None or room.take(action.claim):
            granted.append(action)
        else:
            parked.append(_denied(action, room.want(action.claim)))
    return granted, parked


def _sends(action: Action) -> bool:
    """Whether it makes a target act; a call that goes out again has its room, but none may leave while `total` is 0."""
    return action.order is not None and action.order.verb is Verb.START


@dataclass(frozen=True, slots=True)
class Want:
    """What is missing for a claim: the reason that its step waits with, and the limit in words."""

    reason: str
    message: str


def _denied(action: Action, want: Want) -> Action:
    changes = tuple(_waiting(change, want) for change in action.denied)
    return replace(action, sign="~", what=f"queued: {want.message}", changes=changes, order=None)


def _waiting(change: TaskChange, want: Want) -> TaskChange:
    if not isinstance(change, StepAdvanced):
        return change
    return replace(change, reason=want.reason, message=change.message or want.message)


class Room:
    """What is left of the limits while claims are being granted."""

    def __init__(self, usage: Usage, limits: Limits) -> None:
        self._limits = limits
        self._busy = usage.busy
        self._namespaces = Counter(usage.namespaces)
        self._drivers = Counter(usage.drivers)
        self._groups = Counter(usage.groups)

    def take(self, claim: Claim) -> bool:
        """Give the claim its room if there is any."""
        if any(self._full(claim)):
            return False
        self._busy += 1
        self._namespaces[claim.namespace] += 1
        self._drivers[claim.driver] += 1
        self._groups[claim.group] += claim.begins
        return True

    def want(self, claim: Claim) -> Want:
        """Which limit is in the way of a claim that was not granted."""
        used, limit, where = next(self._full(claim))
        reason = "QueuedForGroup" if where.startswith("of ") else "QueuedForCapacity"
        return Want(reason, f"{used} of {limit} calls under way {where}")

    def _full(self, claim: Claim) -> Iterator[tuple[int, int, str]]:
        """(used, limit, where) of each limit that leaves no room."""
        limits = self._limits
        bounds = (
            (self._busy, limits.total, "in all"),
            (self._namespaces[claim.namespace], limits.namespace, f"in the namespace {claim.namespace}"),
            (self._drivers[claim.driver], limits.drivers.get(claim.driver), f"by the {claim.driver} driver"),
            (self._groups[claim.group], claim.limit if claim.begins else None, f"of {claim.group}"),
        )
        return ((used, limit, where) for used, limit, where in bounds if limit is not None and used >= limit)


def _in_turn(actions: Iterable[Action], usage: Usage, served: str) -> Iterator[Action]:
    """What needs no room first, in its order; then claims, one namespace after the other, the oldest task first."""
    lines: dict[str, deque[Action]] = {}
    for action in actions:
        if action.claim is None:
            yield action
        else:
            lines.setdefault(action.claim.namespace, deque()).append(action)
    turns = sorted(lines, key=lambda name: (usage.namespaces.get(name, 0), name <= served, name))
    queues = [deque(sorted(lines[name], key=_rank)) for name in turns]
    while queues:
        for queue in queues:
            yield queue.popleft()
        queues = [queue for queue in queues if queue]


def _rank(action: Action) -> float:
    """Its age; a run that this very plan admits has no number yet and comes last."""
    return (action.claim.rank if action.claim else 0) or math.inf
