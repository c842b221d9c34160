"""The commands that list: tasks, their events, and where definitions come from; and the one that shows a task whole."""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from reconciler.cli.failure import DONE
from reconciler.cli.options import NamespaceOption, Output, OutputOption, ServerOption, StateOption, TaskArgument

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

    wanted: client.Query = {
        "namespace": namespace,
        "state": status.upper() if status else None,
        "workflow": workflow,
        "label": label,
        "sort": sort,
    }
    reader = client.open_client(server, state)
    found = list(client.pages(reader, "/tasks", limit, **wanted))
    render.warn_of_stillness(found, client.notice(reader))
    now = render.now_utc()
    again = any(each["metadata"]["run"] != 1 for each in found)
    rows = [
        (
            each["metadata"]["namespace"],
            each["metadata"]["name"],
            *([each["metadata"]["run"]] if again else []),
            each["status"]["state"],
            each["status"].get("reason"),
            render.progress_text(each["status"]),
            render.age(each["status"].get("startedAt"), now),
            each["status"].get("message"),
        )
        for each in found
    ]
    columns = ("NAMESPACE", "NAME", *(["RUN"] if again else []), "STATE", "REASON", "PROGRESS", "AGE", "MESSAGE")
    return listed(output, found, columns, rows)


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
    found = client.task(reader, name, run=run)
    render.warn_of_stillness([found], client.notice(reader))
    if output is Output.JSON:
        render.print_json(found)
        return DONE
    now = render.now_utc()
    for line in (*render.lines(found, now), *explanation.facts(found)):
        print(line)
    return DONE


def sources(server: ServerOption = None, state: StateOption = None, output: OutputOption = Output.TEXT) -> int:
    """List the sources and the revision in force of each.

    Their conditions say what keeps a newer revision out.

    Example:
      reconciler get sources
    """
    from reconciler.cli import client, explanation, render

    reader = client.open_client(server, state)
    found = client.get(reader, "/sources")["items"]
    if notice := client.notice(reader):
        print(render.inert(notice), file=sys.stderr, flush=True)
    columns = ("NAME", "REF", "PATH", "COMMIT", "AUTHOR", "CONDITIONS")
    return listed(output, found, columns, [explanation.source_row(each) for each in found])


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
    return listed(output, found, columns, [explanation.definition_row(each) for each in found])


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
    return listed(output, found, columns, [explanation.revision_row(each) for each in found])


def events(
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this task.")] = None,
    limit: LimitOption = None,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """List what changed, when and why, the oldest first: with --task its story.

    Example:
      reconciler get events --task grade-alice
    """
    from reconciler.cli import client, explanation

    reader = client.open_client(server, state)
    path = f"{client.task_path(reader, task)}/events" if task else "/events"
    found = list(client.pages(reader, path, limit))
    columns = ("TIME", *(() if task else ("OF",)), "WHAT", "CHANGE", "CAUSE", "MESSAGE")
    rows = [explanation.event_row(each) for each in found]
    if task is None:
        rows = [(time, explanation.event_subject(each), *rest) for each, (time, *rest) in zip(found, rows, strict=True)]
    return listed(output, found, columns, rows)


def listed(
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
