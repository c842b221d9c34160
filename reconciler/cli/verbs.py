"""The verbs that ask something of whole tasks: each writes the `control` part of their files and commits it.

None of them speaks to the controller. It sees the commit, as it sees everybody's.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.failure import Failure
from reconciler.cli.options import NamespaceOption, Output, OutputOption, PathOption
from reconciler.cli.verb_options import (
    LabelsOption,
    NoCommitOption,
    ReasonOption,
    TaskOrNone,
    TriggerOption,
    WorkTreeOption,
)

if TYPE_CHECKING:
    from reconciler.cli.checkout import Checkout
    from reconciler.cli.wishes import Wish


def suspend(
    reason: ReasonOption,
    task: TaskOrNone = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Resume by itself then, e.g. 2026-11-22T06:00Z.")
    ] = None,
    trigger: TriggerOption = False,
    label: LabelsOption = None,
    namespace: NamespaceOption = None,
    no_commit: NoCommitOption = False,
    source: WorkTreeOption = None,
    path: PathOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Start nothing more of a task; what runs finishes.

    A suspended trigger stops firing.

    Example:
      reconciler suspend demo/grade-alice --reason CHG-1234
    """
    from reconciler.cli import wishes

    if trigger and until:
        raise Failure("--until is for tasks; a trigger is resumed by `reconciler resume --trigger`")
    if until:
        _require_ahead(until)
    kind = "Trigger" if trigger else "Task"
    checkout = work_tree(source, path, no_commit=no_commit)
    return ask(checkout, wishes.suspend(reason, until), task, label, namespace, output, kind)


def resume(
    task: TaskOrNone = None,
    trigger: TriggerOption = False,
    label: LabelsOption = None,
    namespace: NamespaceOption = None,
    no_commit: NoCommitOption = False,
    source: WorkTreeOption = None,
    path: PathOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Let a suspended task go on.

    Example:
      reconciler resume -l batch=7
    """
    from reconciler.cli import wishes

    kind = "Trigger" if trigger else "Task"
    return ask(work_tree(source, path, no_commit=no_commit), wishes.resume(), task, label, namespace, output, kind)


def revoke(
    reason: ReasonOption,
    task: TaskOrNone = None,
    label: LabelsOption = None,
    namespace: NamespaceOption = None,
    no_commit: NoCommitOption = False,
    source: WorkTreeOption = None,
    path: PathOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Stop what runs of a task, for good.

    A task that has failed is given up: nobody can retry it any more.

    Example:
      reconciler revoke grade-alice --reason "wrong file"
    """
    from reconciler.cli import wishes

    return ask(work_tree(source, path, no_commit=no_commit), wishes.revoke(reason), task, label, namespace, output)


def rerun(
    task: TaskOrNone = None,
    label: LabelsOption = None,
    namespace: NamespaceOption = None,
    no_commit: NoCommitOption = False,
    source: WorkTreeOption = None,
    path: PathOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Run all of a task again, as a new run.

    It runs with today's spec and definitions. What was asked of the run before does not go for the new one.

    Example:
      reconciler rerun grade-alice
    """
    from reconciler.cli import wishes

    return ask(work_tree(source, path, no_commit=no_commit), wishes.rerun(), task, label, namespace, output)


def _require_ahead(until: str) -> None:
    """Raises Failure for what is no time, and for one that is over, which would suspend nothing."""
    from definitions.notation import parse_moment
    from reconciler.cli.render import now_utc

    try:
        over = parse_moment(until) <= now_utc()
    except ValueError as error:
        raise Failure(f"--until: {error}") from None
    if over:
        raise Failure(f"--until {until} is over: it would suspend nothing; give a time to come, or leave it out")


def work_tree(source: str | None, path: str | None, *, no_commit: bool) -> "Checkout":
    """The work tree that the flags or the settings of the environment name. Raises Failure."""
    import os

    from reconciler.cli.checkout import open_checkout
    from reconciler.cli.options import source_flags
    from reconciler.settings import load

    given = load(None, os.environ, source_flags(source, None, path)).source
    return open_checkout(given.location, given.path, commit=not no_commit)


def ask(
    checkout: "Checkout",
    wish: "Wish",
    name: str | None,
    labels: list[str] | None,
    namespace: str | None,
    output: Output,
    kind: str = "Task",
) -> int:
    """Fulfils `wish` for the task that is named, or for all with these labels; the exit code. Raises Failure."""
    from reconciler.cli import delivery, selection

    if (name is None) == (not labels):
        raise Failure(f"name a {kind.lower()}, or several by a label with -l KEY=VALUE; one of the two")
    if name is not None and namespace is not None and "/" not in name:
        name = f"{namespace}/{name}"
    if name is not None:
        return delivery.fulfil(checkout, [selection.named(checkout, kind, name)], wish, name, output)
    targets, rejected = selection.labelled(checkout, kind, labels or [], namespace)
    whom = f"{kind.lower()}s with {' and '.join(labels or [])}"
    return delivery.fulfil(checkout, targets, wish, whom, output, rejected)
