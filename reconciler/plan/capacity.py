"""Who gets room: starts and polls compete for the limits, oldest task first, the namespaces in turn."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from reconciler.actions import Action, Claim
from reconciler.observed import Limits
from state.records import Usage


def grant(actions: Iterable[Action], usage: Usage, limits: Limits) -> tuple[list[Action], list[Action]]:
    """(what goes ahead, what found no room), the latter with the changes that make it wait in line."""
    room = Room(usage, limits)
    granted: list[Action] = []
    parked: list[Action] = []
    for action in _in_turn(actions):
        if action.claim is None or room.take(action.claim):
            granted.append(action)
        else:
            parked.append(replace(action, sign="~", what=room.why(action.claim), changes=action.denied, order=None))
    return granted, parked


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
        if self._full(claim):
            return False
        self._busy += 1
        self._namespaces[claim.namespace] += 1
        self._drivers[claim.driver] += 1
        self._groups[claim.group] += 1
        return True

    def why(self, claim: Claim) -> str:
        """Which limit is in the way of a claim that was not granted."""
        return f"queued: {self._full(claim)}"

    def _full(self, claim: Claim) -> str:
        limits = self._limits
        bounds = (
            (self._busy, limits.total, "in all"),
            (self._namespaces[claim.namespace], limits.namespace, f"in the namespace {claim.namespace}"),
            (self._drivers[claim.driver], limits.drivers.get(claim.driver), f"by the {claim.driver} driver"),
            (self._groups[claim.group], claim.limit, f"of {claim.group}"),
        )
        return next(
            (
                f"{limit} of {limit} calls under way {where}"
                for used, limit, where in bounds
                if limit is not None and used >= limit
            ),
            "",
        )


def _in_turn(actions: Iterable[Action]) -> Iterator[Action]:
    """What needs no room first, in its order; then claims, one namespace after the other, the oldest task first."""
    lines: dict[str, deque[Action]] = {}
    for action in actions:
        if action.claim is None:
            yield action
        else:
            lines.setdefault(action.claim.namespace, deque()).append(action)
    queues = [deque(sorted(line, key=_rank)) for _, line in sorted(lines.items())]
    while queues:
        for queue in queues:
            yield queue.popleft()
        queues = [queue for queue in queues if queue]


def _rank(action: Action) -> int:
    return action.claim.rank if action.claim else 0
