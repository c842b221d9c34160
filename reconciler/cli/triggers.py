"""The commands that show triggers: all of them in a list, and one with its last and next times."""

from typing import Annotated

import typer

from reconciler.cli.failure import DONE
from reconciler.cli.listing import LimitOption, listed
from reconciler.cli.options import NamespaceOption, Output, OutputOption, ServerOption, StateOption


def triggers(
    namespace: NamespaceOption = None,
    limit: LimitOption = None,
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """List triggers: what each did last, and when it fires next.

    Example:
      reconciler get triggers
    """
    from reconciler.cli import client, explanation

    reader = client.open_client(server, state)
    found = list(client.pages(reader, "/triggers", limit, namespace=namespace))
    columns = ("NAMESPACE", "NAME", "STATE", "LAST", "NEXT", "LAST TASK", "MESSAGE")
    return listed(output, found, columns, [explanation.trigger_row(each) for each in found])


def trigger(
    name: Annotated[str, typer.Argument(metavar="TRIGGER", help="A trigger as namespace/name or name.")],
    server: ServerOption = None,
    state: StateOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Show one trigger: its last five slots, and its next five times.

    Example:
      reconciler get trigger demo/nightly
    """
    from reconciler.cli import client, explanation, render

    reader = client.open_client(server, state)
    found = client.get(reader, client.trigger_path(reader, name))
    if output is Output.JSON:
        render.print_json(found)
        return DONE
    print("\n".join(explanation.trigger_lines(found)))
    return DONE
