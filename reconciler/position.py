"""Where a step of a run stands: a node of the program at a path of its rows, and what it runs inside of.

A program is small and shared; a run of it is a tree with an item for each element of a list and a frame for each
sub-workflow. Paths join the keys with dots, items by index: `step`, `step.call`, `step.0`, `deploy.2.build`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Union

from definitions.program import Node, Program, Unit
from definitions.units import target_outputs
from state.phases import AttemptPhase
from state.records import Json, TaskSnapshot


@dataclass(frozen=True, eq=False)
class Frame:
    """One run of a workflow (or job): the task itself at path "", or a sub-workflow at the path of its step or item."""

    program: Program
    path: str = ""
    caller: Union["Position", None] = None

    @cached_property
    def places(self) -> Mapping[str, "Position"]:
        """Its steps and its exit step by name, in flow order."""
        return {node.name: Position(node, _join(self.path, node.name), self) for node in self.program.whole}

    @property
    def steps(self) -> Iterator["Position"]:
        """Its steps in flow order, without the one that runs at the end."""
        return (self.places[node.name] for node in self.program.steps)

    @property
    def exit(self) -> Union["Position", None]:
        """The step that always runs at the end, if there is one."""
        return self.places[self.program.exit.name] if self.program.exit else None


@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """A step, call or item of one run. `holder`: the step whose call it is, or the list whose item it is."""

    node: Node
    path: str
    frame: Frame
    holder: Union["Position", None] = None
    item: int | None = None

    @property
    def is_list(self) -> bool:
        """A step with `forEach` as a whole; its items do the work."""
        return self.node.each is not None and self.item is None

    @property
    def finder(self) -> Unit | None:
        """What finds the items of this list, where they are targets."""
        return self.node.each.finder if self.is_list and self.node.each else None

    @property
    def unit(self) -> Unit | None:
        """What its own attempts do: the work, or for a list of targets to find them; None for what makes none."""
        return self.finder if self.is_list else self.node.unit

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.node.name if self.item is None else str(self.item)

    @property
    def key(self) -> str:
        """Where definitions and controls know it: its path without the indexes of items."""
        return ".".join(part for part in self.path.split(".") if not part.isdigit())

    @property
    def around(self) -> Union["Position", None]:
        """What it is part of: its step, its list, or the step that runs its workflow."""
        return self.holder or self.frame.caller

    @property
    def surroundings(self) -> Iterator["Position"]:
        """All that it is part of, the nearest first."""
        each = self.around
        while each is not None:
            yield each
            each = each.around

    @property
    def frames(self) -> Iterator[Frame]:
        """The workflows that it is part of, the nearest first."""
        frame: Frame | None = self.frame
        while frame is not None:
            yield frame
            frame = frame.caller.frame if frame.caller else None

    def within(self, other: "Position") -> bool:
        """Whether it is `other` or a part of it."""
        return self.path == other.path or self.path.startswith(f"{other.path}.")

    @property
    def after(self) -> Iterator["Position"]:
        """Its siblings that wait for its end."""
        if self.item is None:
            siblings = self.holder.calls if self.holder else self.frame.places.values()
            yield from (each for each in siblings if self.node.name in each.node.after)

    @property
    def outputs(self) -> frozenset[str] | None:
        """The names of what it gives to others; None for an item whose whole answer counts."""
        node = self.node
        if self.finder and node.unit:
            return target_outputs(node.unit.outputs)
        if self.is_list:
            return frozenset(node.outputs or ("results",))
        if node.unit:
            return None if node.unit.whole_result else frozenset(node.unit.outputs)
        if self.item is not None and node.children:
            return frozenset(call.name for call in node.children)
        given = node.body.outputs if node.body and (self.item is not None or not node.outputs) else node.outputs
        return frozenset(given)

    @property
    def last(self) -> Union["Position", None]:
        """The step that runs at the end of a workflow, whatever became of the rest, which it is or belongs to."""
        step: Position | None = self
        while step is not None and step.node is not step.frame.program.exit:
            step = step.around
        return step

    @property
    def before(self) -> Iterator["Position"]:
        """Its siblings that must end before it starts."""
        if self.item is None:
            for name in self.node.after:
                yield self.holder.call(name) if self.holder else self.frame.places[name]

    def at(self, index: int) -> "Position":
        """One item of this list."""
        return Position(self.node, f"{self.path}.{index}", self.frame, self, index)

    def call(self, name: str) -> "Position":
        """One call of this step. Raises KeyError."""
        for node in self.node.children:
            if node.name == name:
                return Position(node, f"{self.path}.{name}", self.frame, self)
        raise KeyError(name)

    @property
    def calls(self) -> list["Position"]:
        """Its calls in their order."""
        return [Position(node, f"{self.path}.{node.name}", self.frame, self) for node in self.node.children]

    @property
    def body(self) -> Frame | None:
        """The run of the workflow that this step, or this item, runs."""
        return Frame(self.node.body, self.path, self) if self.node.body and not self.is_list else None


@lru_cache(maxsize=2048)
def whole(program: Program) -> Frame:
    """The frame of a task that runs `program`, the same for all its tasks."""
    return Frame(program)


def locate(program: Program, path: str) -> Position:
    """The step, call or item at `path` of a run of `program`. Raises KeyError for a path that it cannot have."""
    frame: Frame | None = whole(program)
    found: Position | None = None
    for part in path.split("."):
        if found is not None and found.is_list:
            found = found.at(_index(part, path))
        elif found is not None and found.node.children:
            found = found.call(part)
        else:
            frame = found.body if found else frame
            found = frame.places[part] if frame else None
        if found is None:
            raise KeyError(path)
    if found is None:
        raise KeyError(path)
    return found


def below(task: TaskSnapshot, position: Position) -> list[Position]:
    """What runs directly below it in `task`: the items of a list that has begun, calls, or the steps of a body."""
    node = position.node
    if node.each is None and node.body is None and not node.children:  # most are that, and every answer asks for all
        return []
    if position.is_list:
        return [position.at(index) for index in range(len(items_of(task, position)))]
    body = position.body
    return list(body.places.values()) if body else position.calls


def drawn_below(position: Position) -> list[Position]:
    """What a step runs as its definition draws it: one time, however many items its list will have."""
    body = position.node.body
    return list(Frame(body, position.path, position).places.values()) if body else position.calls


def everything(program: Program) -> Iterator[Position]:
    """Every step and call of `program` and of the workflows in it, as its definition draws them."""
    waiting = list(whole(program).places.values())
    while waiting:
        each = waiting.pop(0)
        yield each
        waiting[:0] = drawn_below(each)


def finding(task: TaskSnapshot, position: Position) -> bool:
    """Whether it is a list whose targets are not found yet."""
    attempt = task.attempts.get(position.path)
    return position.finder is not None and (attempt is None or attempt.phase is not AttemptPhase.SUCCEEDED)


def target_of(task: TaskSnapshot, position: Position) -> Json:
    """The target that an item of a list is about; None for everything else."""
    holder = position.holder
    if position.item is None or holder is None or holder.finder is None:
        return None
    found = items_of(task, holder)
    return found[position.item] if position.item < len(found) else None


def items_of(task: TaskSnapshot, position: Position) -> Sequence[Json]:
    """The list that a step goes over in `task`: that of its `forEach`, or the targets found; empty before that."""
    if position.finder:
        answer = None if finding(task, position) else task.attempts[position.path].answer
        targets = answer.get("targets") if isinstance(answer, dict) else None
        return targets if isinstance(targets, list) else ()
    row = task.steps.get(position.path)
    items = row.inputs.get("items") if row else None
    return items if isinstance(items, list) else ()


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _index(part: str, path: str) -> int:
    if not part.isdecimal() or not part.isascii() or len(part) > 6 or str(int(part)) != part:
        raise KeyError(path)
    return int(part)
