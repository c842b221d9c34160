"""Who gets room: starts and polls compete for the limits, oldest task first, the namespaces in turn.

A namespace with less under way comes first; among equals the turn goes on from the one that was served last, so a
long line in one namespace never holds up the others. In a concurrency group the oldest comes first whatever its
namespace, each with the limit of its own definition: whoever finds no place keeps out all that come after it.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from reconciler.actions import Action, Claim, Verb
from reconciler.observed import Limits
from state.changes import StepAdvanced, TaskChange
from state.phases import Signal
from state.room import QUEUED_FOR_CAPACITY, QUEUED_FOR_GROUP, REPLACED, Usage

NOBODY: Mapping[str, float] = MappingProxyType({})


def grant(
    actions: Iterable[Action],
    usage: Usage,
    limits: Limits,
    served: str = "",
    waits: Mapping[str, float] = NOBODY,
) -> tuple[list[Action], list[Action]]:
    """(what goes ahead or is over, what found no room), the latter with the changes that make it wait in line.

    `served` is the namespace that was given room last; `waits` the age of the oldest task in the line of each group.
    """
    actions = list(actions)
    newer = _overtaken(actions)
    room = Room(usage, limits)
    room.keep(actions)
    behind = _behind((action for action in actions if id(action) not in newer), room, waits)
    granted: list[Action] = []
    parked: list[Action] = []
    for action in _in_turn(actions, usage, served):
        if action.claim is None and limits.total == 0 and _sends(action):
            parked.append(replace(action, sign="~", what="held back: nothing is sent now", changes=(), order=None))
        elif (subject := newer.get(id(action))) is not None:
            granted.append(_away(action, f"replaced by {subject}"))
        elif action.claim is None or (id(action) not in behind and room.take(action.claim)):
            granted.append(action)
        elif action.claim.policy == "skip" and (full := room.crowded(action.claim) or behind.get(id(action))):
            granted.append(_away(action, full))
        else:
            parked.append(_denied(action, room.want(action.claim, behind.get(id(action), ""))))
    return granted, parked


def _behind(actions: Iterable[Action], room: "Room", tasks: Mapping[str, float]) -> Mapping[int, str]:
    """By `id`: what finds no place in its group, or waits behind an older one that finds none, and the latter in words.

    What some other limit keeps out anyway neither has a place nor keeps others out.
    """
    lines: dict[tuple[bool, str], list[tuple[Action, Claim]]] = {}
    for action in actions:
        claim = action.claim
        if claim and claim.limit is not None and claim.begins and not room.narrow(claim):
            lines.setdefault((bool(claim.driver), claim.group), []).append((action, claim))
    found: dict[int, str] = {}
    for line in lines.values():
        taken, waits = 0, False
        for action, claim in sorted(line, key=lambda each: _rank(each[0])):
            older = not claim.driver and tasks.get(claim.group, math.inf) < _rank(action)
            if waits or older or room.crowded(claim, taken):
                found[id(action)] = f"others wait before it in the group {claim.group}"
                waits = waits or claim.policy != "skip"
            else:
                taken += 1
    return found


def _sends(action: Action) -> bool:
    """Whether it makes a target act; a call that goes out again has its room, but none may leave while `total` is 0."""
    return action.order is not None and action.order.verb is Verb.START


@dataclass(frozen=True, slots=True)
class Want:
    """What is missing for a claim: the reason that its step waits with, the limit in words, and the group, if it is one."""

    reason: str
    message: str
    group: str


def _denied(action: Action, want: Want) -> Action:
    """It waits, which is written where it did not yet, or for something else."""
    changes = () if action.waits == want.reason else tuple(_waiting(change, want) for change in action.denied)
    return replace(action, sign="~", what=f"queued: {want.message}", changes=changes, order=None, waits=want.reason)


def _waiting(change: TaskChange, want: Want) -> TaskChange:
    if not isinstance(change, StepAdvanced):
        return change
    return replace(change, reason=want.reason, message=change.message or want.message, group=want.group)


def _away(action: Action, why: str) -> Action:
    """It does not begin at all."""
    if action.away is None:
        return action
    skips = action.away.reason != REPLACED
    said = f"skipped: {why}" if skips else why
    change = replace(action.away, message=said)
    return replace(action, sign="=" if skips else "!", what=said, changes=(change,), order=None)


def _overtaken(actions: Iterable[Action]) -> Mapping[int, str]:
    """By `id`: what would begin for the first time although newer ones take the places, and the subject of the newest."""
    groups: dict[str, list[tuple[Action, Claim]]] = {}
    for action in actions:
        if action.claim and action.away and action.claim.driver:
            groups.setdefault(action.claim.group, []).append((action, action.claim))
    found: dict[int, str] = {}
    for line in groups.values():
        line.sort(key=lambda each: _rank(each[0]))
        replaces = [at for at, (_, claim) in enumerate(line) if claim.policy == "replace"]
        if replaces:
            limit = line[replaces[-1]][1].limit or 0
            gone = line[: max(0, min(len(line) - limit, replaces[-1] + 1))]
            found.update((id(action), line[-1][0].subject) for action, _ in gone)
    return found


class Room:
    """What is left of the limits while claims are being granted."""

    def __init__(self, usage: Usage, limits: Limits) -> None:
        self._limits = limits
        self._busy = usage.busy
        self._namespaces = Counter(usage.namespaces)
        self._drivers = Counter(usage.drivers)
        self._groups = Counter(usage.groups)
        self._runs = Counter(usage.runs)

    def keep(self, actions: Iterable[Action]) -> None:
        """Count the places of those whose end is found to be unknown in this very plan."""
        for change in (each for action in actions if action.claim is None for each in action.changes):
            if isinstance(change, StepAdvanced) and change.signal is Signal.LOSE and change.group:
                self._groups[change.group] += 1

    def take(self, claim: Claim) -> bool:
        """Give the claim, which has its place in its group, the rest of its room if there is any."""
        if self.narrow(claim):
            return False
        if not claim.driver:
            self._runs[claim.group] += 1
            return True
        self._busy += 1
        self._namespaces[claim.namespace] += 1
        self._drivers[claim.driver] += 1
        self._groups[claim.group] += claim.begins
        return True

    def want(self, claim: Claim, behind: str) -> Want:
        """Which limit is in the way of a claim that was not granted; `behind` whom it waits, in words."""
        if full := self.crowded(claim) or behind:
            return Want(QUEUED_FOR_GROUP, full, claim.group)
        return Want(QUEUED_FOR_CAPACITY, self.narrow(claim), "")

    def crowded(self, claim: Claim, more: int = 0) -> str:
        """Why there is no place for it in its group, once `more` have taken theirs; "" if there is one."""
        if claim.limit is None or not claim.begins:
            return ""
        used = (self._groups if claim.driver else self._runs)[claim.group] + more
        if used < claim.limit:
            return ""
        if claim.driver:
            return f"the group {claim.group} is full: {used} of {claim.limit} calls"
        return f"the group {claim.group} is full: {used} of {claim.limit}"

    def narrow(self, claim: Claim) -> str:
        """Which limit of the operator leaves no room for it, in words; "" if none does."""
        limits = self._limits
        if claim.driver and limits.total == 0:  # the settings know no such limit: the controller has closed its gate
            return "no new call is made now"
        bounds = (
            (self._busy, limits.total, "in all"),
            (self._namespaces[claim.namespace], limits.namespace, f"in the namespace {claim.namespace}"),
            (self._drivers[claim.driver], limits.drivers.get(claim.driver), f"by the {claim.driver} driver"),
        )
        full = (each for each in bounds if claim.driver and each[1] is not None and each[0] >= each[1])
        return next((f"{used} of {limit} calls under way {where}" for used, limit, where in full), "")


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
