"""The commands that show what has run: lists, one task as a tree, why it waits, its logs.

They only read, from a server or from a state folder, and print lines for people or the API's own documents.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from reconciler.cli.failure import DONE
from reconciler.cli.options import NamespaceOption, Output, OutputOption, ServerOption, StateOption, TaskArgument

_LOOK_AGAIN = 0.5
_ENDED = {"FINISHED", "FAILED", "REVOKED"}

LimitOption = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most this many.")]


def tasks(
    namespace: NamespaceOption = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATE", help="Only in this state, e.g. RUNNING.")
    ] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", metavar="NAME", help="Only tasks of this workflow.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="Only with this label; repeatable.")
    ] = None,
    sort: Annotated[str | None, typer.Option("--sort", metavar="due|created", help="What comes first.")] = None,
    limit: LimitOption = None,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """List tasks and their states.

    Example:
      reconciler get tasks --status RUNNING --sort due
    """
    from reconciler.cli import client, render

    wanted: client.Query = {"namespace": namespace, "state": status, "workflow": workflow, "label": label, "sort": sort}
    found = list(client.pages(client.open_client(server, state), "/tasks", limit, **wanted))
    now = render.now_utc()
    rows = [
        (
            each["metadata"]["namespace"],
            each["metadata"]["name"],
            each["status"]["state"],
            each["status"].get("reason"),
            render.progress_text(each["status"]),
            render.age(each["status"].get("startedAt"), now),
            each["status"].get("message"),
        )
        for each in found
    ]
    return _list(output, found, ("NAMESPACE", "NAME", "STATE", "REASON", "PROGRESS", "AGE", "MESSAGE"), rows)


def task(
    name: TaskArgument,
    run: Annotated[
        int | None, typer.Option("--run", min=1, metavar="N", help="An earlier run.  [default: the latest]")
    ] = None,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Show one task: its tree, outputs and origin.

    Example:
      reconciler get task demo/grade-alice -o json
    """
    from reconciler.cli import client, explanation, render

    reader = client.open_client(server, state)
    found = client.get(reader, client.task_path(reader, name), run=run)
    if output is Output.JSON:
        render.print_json(found)
        return DONE
    now = render.now_utc()
    _print_lines(render.lines(found, now))
    _print_lines(explanation.facts(found))
    return DONE


def sources(server: ServerOption = None, state: StateOption = None, output: OutputOption = Output.TEXT) -> int:
    """List the sources and the revision in force of each.

    Their conditions say what keeps a newer revision out.

    Example:
      reconciler get sources
    """
    from reconciler.cli import client, explanation

    found = client.get(client.open_client(server, state), "/sources")["items"]
    columns = ("NAME", "REF", "PATH", "COMMIT", "AUTHOR", "CONDITIONS")
    return _list(output, found, columns, [explanation.source_row(each) for each in found])


def definitions(
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Only Job, Workflow, Task or Trigger.")
    ] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only those with problems that keep them out.")] = False,
    limit: LimitOption = None,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """List the definitions in force and the rejected ones.

    Example:
      reconciler get definitions --rejected
    """
    from reconciler.cli import client, explanation

    wanted: client.Query = {"kind": kind, "accepted": "false" if rejected else None}
    found = list(client.pages(client.open_client(server, state), "/definitions", limit, **wanted))
    columns = ("KIND", "NAMESPACE", "NAME", "ACCEPTED", "FILE", "PROBLEMS")
    return _list(output, found, columns, [explanation.definition_row(each) for each in found])


def revisions(
    limit: LimitOption = 20,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """List the revisions that were in force, latest first.

    Example:
      reconciler get revisions --limit 5
    """
    from reconciler.cli import client, explanation

    found = list(client.pages(client.open_client(server, state), "/revisions", limit))
    columns = ("SOURCE", "COMMIT", "ACTIVE SINCE", "AUTHOR", "SUBJECT")
    return _list(output, found, columns, [explanation.revision_row(each) for each in found])


def events(
    name: Annotated[str | None, typer.Argument(metavar="[TASK]", help="Only of this task.")] = None,
    limit: LimitOption = None,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """List what changed, when and why, the oldest first.

    Example:
      reconciler get events grade-alice
    """
    from reconciler.cli import client, explanation

    reader = client.open_client(server, state)
    path = f"{client.task_path(reader, name)}/events" if name else "/events"
    found = list(client.pages(reader, path, limit))
    columns = ("TIME", "WHAT", "CHANGE", "CAUSE", "MESSAGE")
    return _list(output, found, columns, [explanation.event_row(each) for each in found])


def tree(
    name: TaskArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until the task has ended.")] = False,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Show the steps of a task as a tree; live with -f.

    Example:
      reconciler tree grade-alice -f
    """
    from reconciler.cli import client, render, screen

    reader = client.open_client(server, state)
    path = client.task_path(reader, name)
    if output is Output.JSON:
        render.print_json(client.get(reader, path)["status"]["steps"])
    elif follow:
        screen.follow(_versions(reader, path))
    else:
        screen.show(client.get(reader, path))
    return DONE


def _versions(reader: Any, path: str) -> Iterator[Mapping[str, Any]]:
    """The task again and again, until it has ended."""
    from reconciler.cli import client

    while True:
        found = client.get(reader, path)
        yield found
        if found["status"]["state"] in _ENDED:
            return
        time.sleep(_LOOK_AGAIN)


def why(
    name: TaskArgument, server: ServerOption = None, state: StateOption = None, output: OutputOption = Output.TEXT
) -> int:
    """Say what a task is waiting for, in one sentence.

    Then who asked for it, from which bytes, and what changed last.

    Example:
      reconciler why grade-alice
    """
    from reconciler.cli import client, explanation, render

    reader = client.open_client(server, state)
    path = client.task_path(reader, name)
    found = client.get(reader, path)
    history = list(client.pages(reader, f"{path}/events"))
    if output is Output.JSON:
        render.print_json(explanation.reasons(found, history))
    else:
        _print_lines(explanation.sentences(found, history))
    return DONE


def logs(
    name: TaskArgument,
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="A step's path, e.g. step2.api2.")] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, metavar="N", help="An earlier attempt.  [default: the latest]")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until the task has ended.")] = False,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Print the log of a step, or of all steps.

    It is that of the latest attempt unless --attempt names another.

    Example:
      reconciler logs grade-alice step2.api2 -f
    """
    from reconciler.cli import client, log, render

    reader = client.open_client(server, state)
    wanted = log.Wanted(client.task_path(reader, name), step, attempt)
    if output is Output.JSON:
        render.print_json(log.collect(reader, wanted))
        return DONE
    for piece in log.follow(reader, wanted) if follow else log.pieces(reader, wanted):
        sys.stdout.write(piece)
        sys.stdout.flush()
    return DONE


def _list(
    output: Output, found: Sequence[Mapping[str, Any]], columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> int:
    from reconciler.cli import render

    if output is Output.JSON:
        render.print_json({"items": found, "next": None})
    elif rows:
        render.print_table(columns, rows)
    else:
        print("there are none", file=sys.stderr)
    return DONE


def _print_lines(found: Sequence[object]) -> None:
    for line in found:
        print(line)
