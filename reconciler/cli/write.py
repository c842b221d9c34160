"""The commands that write definition files and commit them. A commit is the only way to ask for work."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.failure import DONE, Failure
from reconciler.cli.options import Output, OutputOption
from reconciler.cli.repository import Repository

HELLO_FILE = "hello.yaml"
STATE_FOLDER = ".reconciler"
HELLO = """\
# One job, and one task that wants it run. Every change of this file that you commit is a request.
apiVersion: reconciler/v1
kind: Job
metadata: {name: hello}
spec:
  params: {name: string}
  http:
    url: http://127.0.0.1:9999/hello        # `reconciler demo-service` answers there
    query: {name: "${{ params.name }}"}
  outputs: {message: result.message}
  sample: {message: "hello, world"}
---
apiVersion: reconciler/v1
kind: Task
metadata: {name: hello-world}
spec: {job: hello, with: {name: world}}
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where; made when missing.")] = Path(),
    output: OutputOption = Output.TEXT,
) -> int:
    """Make a first repository with one job and one task.

    They stand in hello.yaml, which is committed; the state folder is ignored by git.

    Example:
      reconciler init my-operations
    """
    from reconciler.cli import render

    if (folder / HELLO_FILE).exists():
        raise Failure(f"{folder / HELLO_FILE} is there already; `reconciler validate {folder}` checks it")
    folder.mkdir(parents=True, exist_ok=True)
    repository = Repository(folder)
    made = not repository.exists()
    if made:
        repository.create()
    repository.require_author()
    (folder / HELLO_FILE).write_text(HELLO, encoding="utf-8")
    paths = [HELLO_FILE, *_ignore_state(repository)]
    commit = repository.commit(paths, "Say hello with reconciler")
    if output is Output.JSON:
        render.print_json({"folder": str(folder), "created": made, "files": paths, "commit": commit})
        return DONE
    _explain(folder, made, commit)
    return DONE


def _ignore_state(repository: Repository) -> list[str]:
    """Adds the state folder to .gitignore unless it is ignored already; the files that changed."""
    if repository.ignored(f"{STATE_FOLDER}/"):
        return []
    file = repository.folder / ".gitignore"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    gap = "" if not before or before.endswith("\n") else "\n"
    file.write_text(f"{before}{gap}{STATE_FOLDER}/\n", encoding="utf-8")
    return [file.name]


def _explain(folder: Path, made: bool, commit: str) -> None:
    here = folder.resolve() == Path.cwd()
    print(f"{'made a repository and ' if made else ''}committed {folder / HELLO_FILE} as {commit}")
    print("next:")
    print("  reconciler demo-service &        # something to call")
    print(f"  {'' if here else f'cd {folder} && '}reconciler run --until-idle")
