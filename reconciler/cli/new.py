"""The verb that asks for a run: it writes a Task file and commits it, after the checks that admission would make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.failure import Failure
from reconciler.cli.options import Output, OutputOption, PathOption
from reconciler.cli.verb_options import NoCommitOption, WorkTreeOption
from reconciler.cli.verbs import work_tree

if TYPE_CHECKING:
    from definitions.library import Library
    from definitions.models import Param
    from reconciler.cli.checkout import Checkout, Found


def new(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The new task's name, or namespace/name.")],
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="W", help="The workflow that it runs.")] = None,
    job: Annotated[str | None, typer.Option("--job", metavar="J", help="The job that it runs.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--with", metavar="KEY=VALUE", help="A parameter; repeatable.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label of the new task; repeatable.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", metavar="NAMESPACE", help="Where it belongs.  [default: default]")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="PATH", help="Where it is written, to the end.  [default: tasks/TASK.yaml]"),
    ] = None,
    no_commit: NoCommitOption = False,
    source: WorkTreeOption = None,
    path: PathOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Ask for a run of a workflow or job.

    Example:
      reconciler new demo/grade-bob --workflow grade --with name=bob
    """
    from reconciler.cli import delivery

    if (workflow is None) == (job is None):
        raise Failure("give either --workflow or --job: what the task is to run")
    checkout = work_tree(source, path, no_commit=no_commit)
    wanted = _Wanted(*_identity(task, namespace), *(("Workflow", workflow) if workflow else ("Job", job or "")))
    _require_new(checkout, wanted)
    library = _library(checkout)
    found = _document(checkout, library, wanted, given or [], label or [], file)
    proposal = _proposal(checkout, found)
    subject = f"Add {found.title}: {wanted.kind.lower()} {wanted.target}"
    notes = _uncommitted(checkout, library, wanted)
    return delivery.publish(checkout, proposal, " ".join(subject.split()), "", output, notes=notes)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A task by name, and the definition that it is to run."""

    namespace: str
    name: str
    kind: str
    target: str


def _identity(text: str, namespace: str | None) -> tuple[str, str]:
    from reconciler.cli.selection import split

    home, name = split(text)
    if home and namespace and home != namespace:
        raise Failure(f"{text} and --namespace {namespace} name two namespaces; give one of them")
    return home or namespace or "default", name


def _require_new(checkout: "Checkout", wanted: _Wanted) -> None:
    """Raises Failure where a task file has this name."""
    taken = [each for each in checkout.documents() if each.kind == "Task"]
    other = next((each for each in taken if each.identity == (wanted.namespace, wanted.name)), None)
    if other is not None:
        raise Failure(
            f"{other.title} is there, in {other.path}; take another name, or `reconciler rerun {other.title}`"
        )


def _document(
    checkout: "Checkout",
    library: "Library",
    wanted: _Wanted,
    given: Sequence[str],
    labels: Sequence[str],
    file: Path | None,
) -> "Found":
    """The task as a document, and the file it goes to."""
    from reconciler.cli.checkout import Found
    from reconciler.cli.selection import pairs

    metadata: dict[str, Any] = {"name": wanted.name}
    metadata |= {"namespace": wanted.namespace} if wanted.namespace != "default" else {}
    metadata |= {"labels": pairs(labels, "--label")} if labels else {}
    params = _values(_params(library, wanted), pairs(given, "--with"))
    spec = {wanted.kind.lower(): wanted.target, **({"with": params} if params else {})}
    value = {"apiVersion": "reconciler/v1", "kind": "Task", "metadata": metadata, "spec": spec}
    return Found(_place(checkout, wanted.name, file), 0, value)


def _params(library: "Library", wanted: _Wanted) -> Mapping[str, "Param"]:
    """The parameters of the definition that is to run. Raises Failure where there is none, or it is rejected."""
    from definitions.library import Unresolved

    try:
        return library.program(wanted.kind, wanted.namespace, wanted.target).params
    except Unresolved as error:
        raise Failure(f"{error}; `reconciler get definitions` and `reconciler validate` say what there is") from None


def _library(checkout: "Checkout") -> "Library":
    from datetime import UTC, datetime

    from definitions.library import build
    from definitions.sources.folder import FolderSource
    from reconciler.cli.work_tree import DRIVERS

    source = FolderSource("main", checkout.root, checkout.path, lambda: datetime.now(UTC))
    return build(source.tree(source.revision()), source.read, drivers=DRIVERS)


def _uncommitted(checkout: "Checkout", library: "Library", wanted: _Wanted) -> list[str]:
    """What to say if the commit of the task comes without what it runs."""
    if checkout.repository is None:
        return []
    used = dict.fromkeys(each.path for each in library.closure(wanted.kind, wanted.namespace, wanted.target))
    dirty = checkout.repository.changed(list(used))
    return [f"the task runs what is committed, and {each} has changes that are not" for each in dirty]


def _values(params: Mapping[str, "Param"], given: Mapping[str, str]) -> dict[str, Any]:
    """The given texts as values of the declared types. Raises Failure where admission would refuse them."""
    from definitions.params import ParamError, bind, cast

    try:
        values = {
            key: cast(key, params[key], _typed(params[key], text)) for key, text in given.items() if key in params
        }
        bind(params, {**dict.fromkeys(given), **values})
    except ParamError as error:
        raise Failure(f"{error}; give each with --with KEY=VALUE, there are: {', '.join(params) or 'none'}") from None
    return values


def _typed(param: "Param", text: str) -> Any:
    from definitions.models import ParamType
    from reconciler.cli.step_verbs import json_or_text

    return json_or_text(text) if param.type in {ParamType.OBJECT, ParamType.ARRAY, ParamType.ANY} else text


def _place(checkout: "Checkout", name: str, file: Path | None) -> str:
    """The file from the root of the checkout. Raises Failure for one that would not be looked at."""
    path = checkout.below(f"tasks/{name}.yaml")
    if file is not None:
        try:
            path = (Path.cwd() / file).resolve().relative_to(checkout.root.resolve()).as_posix()
        except ValueError:
            raise Failure(f"{file} lies outside of {checkout.root}; --file names a file in the work tree") from None
    elif checkout.read(path) is not None:
        raise Failure(f"{path} is there and defines something else; --file PATH writes to its end, or to another file")
    if not checkout.watched(path):
        raise Failure(
            f"{path} is no file that is looked at: one that ends with .yaml, in no hidden folder; give --file"
        )
    return path


def _proposal(checkout: "Checkout", found: "Found") -> Any:
    from reconciler.cli.delivery import Proposal, envelope, require_valid

    before = checkout.read(found.path)
    text = envelope(found.value)
    if before:
        line_break = "\r\n" if b"\r\n" in before else "\n"
        gap = "" if before.endswith(b"\n") else line_break
        text = gap + f"---\n{text}".replace("\n", line_break)
    after = (before or b"") + text.encode()
    require_valid(found.path, after)
    return Proposal({found.path: before}, {found.path: after}, [found])
