"""Options that several commands share, so that one name means one thing everywhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STATE = Path(".reconciler")


class Output(StrEnum):
    """What a command writes: lines for people, or JSON for programs."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Lines for people, or JSON for programs.")]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server", metavar="URL", help="Read from this API, e.g. http://127.0.0.1:8080. Also $RECONCILER_SERVER."
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Read from this state folder.  [default: .reconciler]"),
]
TaskArgument = Annotated[
    str, typer.Argument(metavar="TASK", help="A task's name, or namespace/name where several have it.")
]
SourceOption = Annotated[
    str | None, typer.Option("--source", metavar="PATH", help="A Git repository, or dir:PATH.  [default: .]")
]
RefOption = Annotated[
    str | None, typer.Option("--ref", metavar="REF", help="A branch, tag or commit.  [default: HEAD's branch]")
]
PathOption = Annotated[
    str | None, typer.Option("--path", metavar="PATH", help="Where in the source the definitions lie.  [default: .]")
]
SettingsOption = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="Settings in YAML; RECONCILER_* and flags go over it.")
]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAMESPACE", help="Only this namespace.")
]


def source_flags(source: str | None, ref: str | None, path: str | None) -> dict[str, str | None]:
    """The settings that these three options stand for; None means not given."""
    return {"source.location": source, "source.ref": ref, "source.path": path}
