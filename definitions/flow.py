"""The order of steps: what `flow` says plus what references imply.

A list in `flow` is in order, a list in it is together, alternating with depth. Someone who writes `steps.a.x` in step b
wants b after a wherever both stand, so references and `needs` are edges too; without `flow` they are the whole graph.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from definitions.documents import Path
from definitions.findings import suggestion

MAX_STEPS = 500
MAX_CYCLE_SHOWN = 20


class FlowError(ValueError):
    """There is no order. `code` is E-GRAPH or E-LIMIT; `path` leads into `flow` if the place is there, else is None."""

    def __init__(self, message: str, path: Path | None = None, code: str = "E-GRAPH") -> None:
        super().__init__(message)
        self.code = code
        self.path = path


@dataclass(frozen=True, slots=True)
class Graph:
    """`order` is topological and stable, `display` is flow order; `predecessors` are the direct ones of each step.

    `sideways` are the pairs (step, needed step) that stand beside each other in `flow` though one needs the other.
    """

    order: tuple[str, ...]
    display: tuple[str, ...]
    predecessors: Mapping[str, tuple[str, ...]]
    sideways: tuple[tuple[str, str], ...] = ()


def graph(steps: Mapping[str, Collection[str]], flow: Sequence[object] | None = None) -> Graph:
    """The graph of `steps` (each with the steps that it needs, all known) in the order of `flow`. Raises FlowError."""
    if len(steps) > MAX_STEPS:
        raise FlowError(f"{len(steps)} steps; a workflow has at most {MAX_STEPS}", code="E-LIMIT")
    myself = next((name for name, needed in steps.items() if name in needed), None)
    if myself is not None:
        raise FlowError(f"the step needs itself: {myself} -> {myself}")
    drawn = _Drawing(steps)
    if flow is not None:
        drawn.draw(flow)
    display = tuple(drawn.seen) or tuple(steps)
    sideways = _sideways(steps, drawn.edges) if flow is not None else ()
    for name, needed in steps.items():
        drawn.edges[name].update(dict.fromkeys(sorted(needed)))
    order = _sorted(drawn.edges, display)
    place = {name: index for index, name in enumerate(display)}
    before = {name: tuple(sorted(edges, key=place.__getitem__)) for name, edges in drawn.edges.items()}
    return Graph(order, display, before, sideways)


@dataclass(slots=True)
class _Drawing:
    """The flow while it is read: `edges` leads from each step to those before it, `seen` to where it stands."""

    steps: Mapping[str, Collection[str]]
    edges: dict[str, dict[str, None]] = field(default_factory=dict)  # dict keys: a set that keeps its order
    seen: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.edges = {name: {} for name in self.steps}

    def draw(self, flow: Sequence[object]) -> None:
        """Read the whole flow. Raises FlowError for what it names wrongly or leaves out."""
        self._sequence(flow, (), ())
        missing = next((name for name in self.steps if name not in self.seen), None)
        if missing is not None:
            raise FlowError(f"the step `{missing}` is missing from `flow`", ())

    def _sequence(self, entries: Sequence[object], before: tuple[str, ...], path: Path) -> tuple[str, ...]:
        """Draw entries one after the other; what ends the last of them comes back."""
        for index, entry in enumerate(entries):
            place = (*path, index)
            before = (
                self._together(entry, before, place) if isinstance(entry, list) else self._step(entry, before, place)
            )
        return before

    def _together(self, entries: Sequence[object], before: tuple[str, ...], path: Path) -> tuple[str, ...]:
        if not entries:
            raise FlowError("an empty group", path)
        ends: list[str] = []
        for index, entry in enumerate(entries):
            place = (*path, index)
            nested = isinstance(entry, list)
            if nested and not entry:
                raise FlowError("an empty group", place)
            ends += (
                self._sequence(entry, before, place) if isinstance(entry, list) else self._step(entry, before, place)
            )
        return tuple(ends)

    def _step(self, entry: object, before: tuple[str, ...], path: Path) -> tuple[str, ...]:
        if not isinstance(entry, str):
            raise FlowError(f"{entry!r:.40} is neither the name of a step nor a list of them", path)
        if entry not in self.steps:
            raise FlowError(f"unknown step `{entry[:100]}`{suggestion(entry, self.steps)}", path)
        if entry in self.seen:
            raise FlowError(f"the step `{entry}` stands in `flow` twice", path)
        self.seen[entry] = path
        self.edges[entry].update(dict.fromkeys(before))
        return (entry,)


def _sideways(
    steps: Mapping[str, Collection[str]], edges: Mapping[str, Collection[str]]
) -> tuple[tuple[str, str], ...]:
    """Needs that `flow` does not already order, neither way round."""
    earlier = _ancestors(edges)
    return tuple(
        (name, needed)
        for name, needs in steps.items()
        for needed in sorted(needs)
        if needed not in earlier[name] and name not in earlier[needed]
    )


def _ancestors(edges: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
    """Everything before each step, directly or not; `edges` has no cycle."""
    earlier: dict[str, frozenset[str]] = {}
    for name in TopologicalSorter(edges).static_order():
        direct = edges[name]
        earlier[name] = frozenset(direct).union(*(earlier[each] for each in direct))
    return earlier


def _sorted(edges: Mapping[str, Collection[str]], display: Sequence[str]) -> tuple[str, ...]:
    place = {name: index for index, name in enumerate(display)}
    sorter = TopologicalSorter(edges)
    try:
        sorter.prepare()
    except CycleError as error:
        raise FlowError(f"the steps wait for each other: {_cycle(error.args[1], place)}") from None
    return tuple(_drained(sorter, place))


def _drained(sorter: TopologicalSorter[str], place: Mapping[str, int]) -> Iterator[str]:
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        yield from ready
        sorter.done(*ready)


def _cycle(found: Sequence[str], place: Mapping[str, int]) -> str:
    """`step2 -> step3 -> step2`: each waits for the next; it starts at the one that stands first."""
    ring = list(found[:-1])[::-1]
    start = min(range(len(ring)), key=lambda index: place[ring[index]])
    ring = ring[start:] + ring[:start]
    shown = [*ring[:MAX_CYCLE_SHOWN], "…"] if len(ring) > MAX_CYCLE_SHOWN else ring
    return " -> ".join([*shown, ring[0]])
