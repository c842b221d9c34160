"""The commands that show how far one task is: as a tree, in a sentence, by its logs.

They only read, from a server or from a state folder, and print lines for people or the API's own documents.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from reconciler.cli.failure import DONE
from reconciler.cli.options import Output, OutputOption, ServerOption, StateOption, TaskArgument

_LOOK_AGAIN = 0.5
_ENDED = {"FINISHED", "FAILED", "REVOKED"}


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
    found = client.task(reader, name)
    render.warn_of_stillness([found], client.notice(reader))
    if output is Output.JSON:
        render.print_json(found["status"]["steps"])
    elif follow:
        screen.follow(_versions(reader, client.task_path(reader, name)))
    else:
        screen.show(found)
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

    Then who asked for it, from which bytes, what keeps later commits out, and what changed last.

    Example:
      reconciler why grade-alice
    """
    from reconciler.cli import client, explanation, render

    reader = client.open_client(server, state)
    found = client.task(reader, name)
    render.warn_of_stillness([found], client.notice(reader))
    history = list(client.pages(reader, f"{client.task_path(reader, name)}/events"))
    wrong, still = client.rejection(reader, found), client.stillness(reader)
    if output is Output.JSON:
        render.print_json(
            explanation.reasons(found, history) | {"rejected": wrong or None, "sourceStands": still or None}
        )
    else:
        print("\n".join(explanation.sentences(found, history, wrong, still)))
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
