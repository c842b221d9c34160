"""Options that the verbs share: whom they mean, where the files are, and whether a commit is made."""

from typing import Annotated

import typer

from reconciler.cli.options import Output

TaskOrNone = Annotated[
    str | None,
    typer.Argument(metavar="[TASK]", help="A task's name, or namespace/name; left out with -l.", show_default=False),
]
TaskOrStep = Annotated[str, typer.Argument(metavar="TASK", help="A task's name, or namespace/name; left out with -l.")]
StepOrNone = Annotated[
    str | None, typer.Argument(metavar="[STEP]", help="A step's path, e.g. step2.api2.", show_default=False)
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        "-l",
        metavar="KEY=VALUE",
        help="Every file with this label, in one commit; rejected files are left out and named. Repeatable.",
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the file and in the commit.")
]
OutputsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="KEY=VALUE",
        help="An output of the step for those that read it, as JSON or text; repeatable.",
    ),
]
ShortOutputOption = Annotated[Output, typer.Option("-o", help="Lines for people, or JSON for programs.")]
TriggerOption = Annotated[bool, typer.Option("--trigger", help="TASK is the name of a trigger.")]
NoCommitOption = Annotated[bool, typer.Option("--no-commit", help="Only write the file.")]
WorkTreeOption = Annotated[
    str | None, typer.Option("--source", metavar="PATH", help="A Git work tree, or dir:PATH.  [default: .]")
]
