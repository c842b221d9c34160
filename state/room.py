"""How much is going on and who stands in line: the values that limits and waiting sentences are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

QUEUED_FOR_CAPACITY, QUEUED_FOR_GROUP = "QueuedForCapacity", "QueuedForGroup"
"""The reasons of what stands in line: for room at the targets, or for its turn in a concurrency group."""
QUEUED_FOR_TRIGGER = "QueuedForTrigger"
"""The reason of a task that waits for the end of the run of its trigger before it."""
REPLACED = "Replaced"
"""The reason of what ends because something newer of its concurrency group takes its place."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much is going on: busy attempts in all, by namespace and by driver; unfinished attempts by concurrency group,
    and apart from them the workflows that have their place in one.
    """

    busy: int = 0
    namespaces: Mapping[str, int] = field(default_factory=dict)
    drivers: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Holder:
    """A task (namespace/name) that has a place in a group, how it stands, and the attempt of it whose end is unknown."""

    name: str
    phase: str = "running"
    lost: str = ""  # the path of its step; "" if the ends of all are known
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """What stands before something in its line: how many wait, and who has the places."""

    ahead: int
    holders: tuple[Holder, ...] = ()
