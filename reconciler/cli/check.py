"""The commands to look before one leaps: are the files right, what would happen, what would a workflow do.

None of them changes anything, in files, in state or at a target.
"""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from reconciler.cli.failure import CHANGES, DONE, FAILED, Failure
from reconciler.cli.options import (
    Output,
    OutputOption,
    PathOption,
    RefOption,
    SettingsOption,
    SourceOption,
    source_flags,
)


class Drawing(StrEnum):
    """Languages for graphs."""

    MERMAID = "mermaid"
    DOT = "dot"


FolderOption = Annotated[str, typer.Option("--source", metavar="PATH", help="The folder with the definition files.")]
WorkflowArgument = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its name, or namespace/name.")]


def validate(
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A folder or one file, as it lies on disk.")] = ".",
    output: OutputOption = Output.TEXT,
) -> int:
    """Check definition files, committed or not.

    One line per problem, as file:line:column code message; exit code 1 if one of them is an error.

    Example:
      reconciler validate definitions/demo
    """
    from reconciler.cli import render, work_tree

    found = work_tree.load(path)
    if output is Output.JSON:
        counts = {"files": found.files, "definitions": found.definitions, "errors": found.errors}
        render.print_json(counts | {"problems": [problem.as_dict() for problem in found.problems]})
        return FAILED if found.errors else DONE
    for problem in found.problems:
        print(render.inert(problem))
    print(_summary(found.definitions, found.files, found.errors, len(found.problems) - found.errors))
    return FAILED if found.errors else DONE


def _summary(definitions: int, files: int, errors: int, warnings: int) -> str:
    what = f"{_count(definitions, 'definition')} in {_count(files, 'file')}"
    found = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    return f"{what}: {found if errors or warnings else 'all good'}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def plan(
    source: SourceOption = None,
    ref: RefOption = None,
    path: PathOption = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="The state to compare with.  [default: .reconciler]")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="A", help="Compare commit A, as if fully applied, …")
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", metavar="B", help="… with commit B; no state folder is read.")
    ] = None,
    settings: SettingsOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Show what the controller would do next.

    One signed line per action. Exit code 0: nothing to do, 2: changes, 1: error.

    Example, for the check of a pull request:
      reconciler plan --base origin/main --head HEAD
    """
    from reconciler.cli import forecast, render
    from reconciler.settings import load

    if (base is None) != (head is None):
        raise Failure("--base and --head belong together; give both, or neither")
    given = load(settings, os.environ, source_flags(source, ref, path) | {"state": str(state) if state else None})
    found = forecast.between(given.source, base, head) if base and head else forecast.next_turn(given)
    if output is Output.JSON:
        render.print_json(found.as_dict())
    else:
        _print_forecast(found)
    if found.wrong:
        return FAILED
    return CHANGES if found.actions else DONE


def _print_forecast(found: Any) -> None:
    from reconciler.cli import render

    for problem in found.problems:
        print(render.inert(problem), file=sys.stderr)
    for line in (*found.notes, *found.actions, found.summary):
        print(render.inert(line))


def simulate(
    workflow: WorkflowArgument,
    given: Annotated[
        list[str] | None, typer.Option("--with", metavar="KEY=VALUE", help="A parameter; repeatable.")
    ] = None,
    fail: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP[=N]", help="This step fails, or its first N attempts do; repeatable."),
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP=FILE", help="This step answers with the JSON in FILE; repeatable."),
    ] = None,
    source: FolderOption = ".",
    output: OutputOption = Output.TEXT,
) -> int:
    """Run a workflow offline, from sample answers.

    Every job answers with its `sample`, scripts too; approvals are given and waits are over at once. Planner and
    judgement are the real ones; nothing is called or computed and no time passes. STEP is a path such as `step2.api2`;
    of a list it means every item, and `each.0` the first.

    Examples:
      reconciler simulate grade --with name=alice
      reconciler simulate grade --fail step2.api2=1 --answer step1=answer.json
    """
    from reconciler.cli import render, screen, simulation, work_tree

    program = work_tree.program(work_tree.load(source), "Workflow", workflow)
    script = simulation.parse_script(fail or [], answer or [])
    found, unused = simulation.run(program, simulation.parse_values(given or []), script)
    if output is Output.JSON:
        render.print_json(found)
    else:
        screen.show(found)
    if unused:
        raise Failure(
            f"{', '.join(unused)}: nothing was called there, so this changed nothing; see the tree for the paths"
        )
    return DONE if found["status"]["state"] == "FINISHED" else FAILED


def graph(
    workflow: WorkflowArgument,
    language: Annotated[
        Drawing, typer.Option("--format", help="The language to write the graph in.")
    ] = Drawing.MERMAID,
    source: FolderOption = ".",
    output: OutputOption = Output.TEXT,
) -> int:
    """Write the order of a workflow's steps as a graph.

    Example:
      reconciler graph grade --format dot | dot -Tsvg > grade.svg
    """
    from reconciler.cli import drawing, render, work_tree

    program = work_tree.program(work_tree.load(source), "Workflow", workflow)
    if output is Output.JSON:
        render.print_json(drawing.as_dict(program))
    else:
        print({Drawing.MERMAID: drawing.mermaid, Drawing.DOT: drawing.dot}[language](program), end="")
    return DONE


def schema() -> int:
    """Print the JSON Schema of all four kinds of file.

    Example:
      reconciler schema > reconciler.schema.json
    """
    from definitions.schema import schema as generated
    from reconciler.cli import render

    render.print_json(generated())
    return DONE
