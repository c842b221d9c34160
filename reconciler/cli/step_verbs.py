"""The verbs that answer for one step of a task: each writes what was seen and what follows from it, and commits it.

A retry, a resolution and an approval name what their author saw (a failure, an attempt, a digest), so that one that comes too late
changes nothing.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from reconciler.cli.failure import Failure
from reconciler.cli.options import (
    NamespaceOption,
    Output,
    OutputOption,
    PathOption,
    ServerOption,
    StateOption,
)
from reconciler.cli.verb_options import (
    LabelsOption,
    NoCommitOption,
    OutputsOption,
    ReasonOption,
    ShortOutputOption,
    StepOrNone,
    TaskOrStep,
    WorkTreeOption,
)
from reconciler.cli.verbs import ask, work_tree

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def retry(
    task: TaskOrStep,
    step: StepOrNone = None,
    failed: Annotated[
        int | None,
        typer.Option("--failed", min=1, metavar="N", help="How often it was seen to fail.  [default: as status shows]"),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; with another reason it is asked anew.")
    ] = None,
    label: LabelsOption = None,
    namespace: NamespaceOption = None,
    no_commit: NoCommitOption = False,
    source: WorkTreeOption = None,
    path: PathOption = None,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Allow a failed step one more attempt.

    How often it has failed is read from a server or a state folder, unless --failed gives it. Another number in the
    file is replaced.

    Example:
      reconciler retry grade-alice step2.api2
    """
    from reconciler.cli import wishes

    name, step = _task_and_step(task, step, label)
    wish = wishes.retry(step, (lambda _: failed) if failed else _times_failed(server, state, step), reason)
    return ask(work_tree(source, path, no_commit=no_commit), wish, name, label, namespace, output)


def skip(
    task: TaskOrStep,
    reason: ReasonOption,
    step: StepOrNone = None,
    outputs: OutputsOption = None,
    label: LabelsOption = None,
    namespace: NamespaceOption = None,
    no_commit: NoCommitOption = False,
    source: WorkTreeOption = None,
    path: PathOption = None,
    output: ShortOutputOption = Output.TEXT,
) -> int:
    """Count a step as finished without running it.

    Steps that read its outputs get those given here.

    Example:
      reconciler skip grade-alice step3 --reason "done by hand" --output isold=true
    """
    from reconciler.cli import wishes

    name, step = _task_and_step(task, step, label)
    wish = wishes.skip(step, reason, values(outputs or [], "--output"))
    return ask(work_tree(source, path, no_commit=no_commit), wish, name, label, namespace, output)


def resolve(
    task: TaskOrStep,
    attempt: Annotated[int, typer.Option("--attempt", min=1, metavar="N", help="The attempt that was lost.")],
    outcome: Annotated[Literal["succeeded", "failed"], typer.Option("--as", help="What became of it.")],
    reason: ReasonOption,
    step: StepOrNone = None,
    outputs: OutputsOption = None,
    label: LabelsOption = None,
    namespace: NamespaceOption = None,
    no_commit: NoCommitOption = False,
    source: WorkTreeOption = None,
    path: PathOption = None,
    output: ShortOutputOption = Output.TEXT,
) -> int:
    """Say what became of a lost attempt.

    Example:
      reconciler resolve grade-alice step4 --attempt 1 --as succeeded --reason "seen on the host"
    """
    from reconciler.cli import wishes

    name, step = _task_and_step(task, step, label)
    wish = wishes.resolve(step, attempt, outcome, reason, values(outputs or [], "--output"))
    return ask(work_tree(source, path, no_commit=no_commit), wish, name, label, namespace, output)


def approve(
    task: TaskOrStep,
    step: StepOrNone = None,
    plan: Annotated[
        str | None,
        typer.Option(
            "--plan",
            metavar="DIGEST",
            help="What was seen and is approved, sha256:….  [default: what status shows now]",
        ),
    ] = None,
    label: LabelsOption = None,
    namespace: NamespaceOption = None,
    no_commit: NoCommitOption = False,
    source: WorkTreeOption = None,
    path: PathOption = None,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Approve what a step waits to do.

    The digest names the definitions, parameters and results that the step was reached with; an approval of anything
    else changes nothing. It is read from a server or a state folder, unless --plan gives it.

    Example:
      reconciler approve release-7 deploy
    """
    from reconciler.cli import wishes

    if plan is not None and not _DIGEST.fullmatch(plan):
        raise Failure(f"{plan} is not a digest; copy sha256: and 64 digits from `reconciler get task {task}`")
    if plan is not None and label:
        raise Failure("every task has a digest of its own; leave --plan out with -l")
    name, step = _task_and_step(task, step, label)
    wish = wishes.approve(step, (lambda _: plan) if plan else _pending_plan(server, state, step))
    return ask(work_tree(source, path, no_commit=no_commit), wish, name, label, namespace, output)


def values(given: Iterable[str], option: str) -> dict[str, Any]:
    """`key=value` texts as a mapping; a value that is JSON is that, any other is text. Raises Failure."""
    from reconciler.cli.selection import pairs

    return {key: json_or_text(text) for key, text in pairs(given, option).items()}


def json_or_text(text: str) -> Any:
    """What `text` means if it is JSON, else the text."""
    import json

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        return text


def _task_and_step(first: str, second: str | None, labels: list[str] | None) -> tuple[str | None, str]:
    """With labels the step is the only argument."""
    if labels and second is None:
        return None, first
    if labels:
        raise Failure(f"{first} and -l name tasks in two ways; give one of them")
    if second is None:
        raise Failure("name a task and one of its steps; `reconciler tree TASK` shows the steps")
    return first, second


def _times_failed(server: str | None, state: Path | None, step: str) -> Callable[[str], int]:
    """From `namespace/name` to the number that status shows."""
    from reconciler.cli import seen_step
    from reconciler.cli.client import open_client

    client = open_client(server, state)
    return lambda title: seen_step.times_failed(client, title, step)


def _pending_plan(server: str | None, state: Path | None, step: str) -> Callable[[str], str]:
    """From `namespace/name` to the digest that status shows."""
    from reconciler.cli import seen_step
    from reconciler.cli.client import open_client

    client = open_client(server, state)
    return lambda title: seen_step.pending_plan(client, title, step)
