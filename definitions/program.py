"""A workflow or job ready to run: names resolved, order known, every expression compiled.

The planner walks a Program; it never sees YAML, models of files, or a name that has yet to be looked up. A Program is
a function of the pinned texts alone, so it can be cached by their digests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from definitions.expressions import Expression, Template
from definitions.models import OnLost, Param, Retry

DEFAULT_EVERY = timedelta(seconds=5)

NodeKind = Literal["unit", "calls", "workflow", "approval", "wait"]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """An expression over a result. `inner`: it stands in the job's file, so `params` are the job's, not the workflow's."""

    expression: Expression
    inner: bool


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One unit of work: a driver block with all options, the step's own before the job's."""

    job: str  # name of the job; the step's path for an inline block
    source: str  # path of the file that the block stands in: what policy looks at
    driver: str
    request: Template  # of the block as JSON; a secret reference stands there as "***"
    secrets: Mapping[str, str]  # JSON pointer into the request -> secret reference
    inner: bool  # the block stands in a Job: its `params` are `params` below, filled by `arguments`
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
    limit: int | None = None  # attempts of the group at a time
    group: Template | None = None  # of `concurrency.group`; None: the job itself
    group_inner: bool = False
    sample: object = None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One step or call. `after`: the paths of its siblings that must have ended before it starts."""

    path: str
    name: str
    kind: NodeKind
    title: str = ""
    after: tuple[str, ...] = ()
    condition: Expression | None = None
    unit: Unit | None = None
    children: tuple["Node", ...] = ()  # of `calls`, each after the one before it
    outputs: Mapping[str, Expression] = field(default_factory=dict)  # of `calls`, over the root `calls`
    continue_on_error: bool = False
    expect: timedelta | None = None
    timeout: timedelta | None = None  # of a `calls` step as a whole
    refused: str = ""  # what this version cannot run, by name, e.g. "forEach"


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What one task runs. `steps` stand in flow order (for people), `order` is a topological order of their paths."""

    kind: str  # Workflow | Job
    name: str
    params: Mapping[str, Param]
    steps: tuple[Node, ...]
    order: tuple[str, ...]
    outputs: Mapping[str, Expression] = field(default_factory=dict)
    timeout: timedelta | None = None
    nodes: Mapping[str, Node] = field(default_factory=dict)  # every node at any depth, by path
    refused: str = ""  # what this version cannot run of the workflow itself, e.g. "onExit"
    flow: tuple[Any, ...] = ()  # as the file draws it, for what is expected of steps side by side
