"""A workflow or job ready to run: names resolved, order known, every expression compiled.

The planner walks a Program; it never sees YAML, models of files, or a name that has yet to be looked up. A Program is
a function of the pinned texts alone, so it can be cached by their digests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from definitions.expressions import Expression, Template
from definitions.models import OnLost, Param, Policy, Retry

DEFAULT_EVERY = timedelta(seconds=5)
PARALLELISM = 50

NodeKind = Literal["unit", "calls", "workflow", "approval", "wait"]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """An expression over a result. `inner`: it stands in the job's file, so `params` are the job's, not the workflow's."""

    expression: Expression
    inner: bool


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """How many of a group at a time, and what becomes of one too many.

    `group` None: the job, the inline step or the workflow itself. `inner`: the text stands in the job's file, as in a Reading.
    """

    limit: int
    group: Template | None = None
    policy: Policy = "queue"
    inner: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One unit of work: a driver block with all options, the step's own before the job's."""

    job: str  # name of the job; the step's path for an inline block
    source: str  # path of the file that the block stands in: what policy looks at
    driver: str
    request: Template  # of the block as JSON; a secret reference stands there as "***"
    secrets: Mapping[str, str]  # JSON pointer into the request -> secret reference
    inner: bool  # the block stands in a Job: its `params` are `params` below, filled by `arguments`
    owner: str  # what is counted together unless a rule says otherwise: the job, or the inline block of its workflow
    arguments: Template | None = None  # of `with`, in the step's scope
    params: Mapping[str, Param] = field(default_factory=dict)
    until: Reading | None = None
    outputs: Mapping[str, Reading] = field(default_factory=dict)
    every: timedelta = DEFAULT_EVERY
    max_calls: int | None = None
    retry: Retry | None = None
    timeout: timedelta | None = None
    on_lost: OnLost = OnLost.HOLD
    deduplicates: bool = False  # the target makes a resend under the same key harmless
    uses_result: bool = False  # until or an output reads `result`
    whole_result: bool = False  # an item of a list whose job declares no outputs: its output is the answer itself
    rule: Rule | None = None  # of its attempts
    targets: int = 0  # it runs in containers that are found first, so many at a time; 0: it finds none
    sample: object = None


@dataclass(frozen=True, slots=True, eq=False)
class Each:
    """What `forEach` goes over, and how many items at a time; `own_condition`: `if` is asked for each item.

    With a `finder` the items are targets, which an attempt of the list itself finds by this unit.
    """

    items: Expression | Template | None
    parallelism: int
    own_condition: bool = False
    finder: Unit | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pause:
    """What a step without work waits for: a commit that approves `message`, a span, or a time in text."""

    message: Template | None = None
    span: timedelta | None = None
    until: Template | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One step or call. `path` counts from its own workflow; `after` names the siblings that must end before it starts.

    What runs below it: `children` are the calls of a step, `body` is the workflow that it runs. With `each` there is
    one such run for every item of a list, and `outputs` are over `results`.
    """

    path: str
    name: str
    kind: NodeKind
    title: str = ""
    after: tuple[str, ...] = ()
    condition: Expression | None = None
    each: Each | None = None
    unit: Unit | None = None
    children: tuple["Node", ...] = ()  # of `calls`, each after the one before it
    body: "Program | None" = None
    arguments: Template | None = None  # of `with` for the body
    pause: Pause | None = None
    outputs: Mapping[str, Expression] = field(default_factory=dict)  # over `calls`, the body's `result` or `results`
    continue_on_error: bool = False
    expect: timedelta | None = None
    timeout: timedelta | None = None  # of the step as a whole, where no attempt of its own carries it

    @property
    def inner(self) -> tuple["Node", ...]:
        """What stands below it in the file that it comes from: its calls, or the steps of its body."""
        return self.children or (self.body.whole if self.body else ())


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What one task runs. `steps` stand in flow order (for people), `order` is a topological order of their names."""

    kind: str  # Workflow | Job
    name: str
    params: Mapping[str, Param]
    steps: tuple[Node, ...]
    order: tuple[str, ...]
    outputs: Mapping[str, Expression] = field(default_factory=dict)
    timeout: timedelta | None = None
    nodes: Mapping[str, Node] = field(default_factory=dict)  # its steps, their calls and the exit step, by path
    rule: Rule | None = None  # of the runs of this workflow
    flow: tuple[Any, ...] = ()  # as the file draws it, for what is expected of steps side by side
    exit: Node | None = None  # the step that always runs at the end
    size: int = 1  # how many steps and calls it has with those of its sub-workflows, each as often as it is used

    @property
    def whole(self) -> tuple[Node, ...]:
        """The steps in flow order and the exit step behind them."""
        return (*self.steps, self.exit) if self.exit else self.steps
