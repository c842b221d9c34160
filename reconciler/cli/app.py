"""The command line: which commands there are, and how each of them ends.

Everything that a command needs is imported when it runs, so that `--help` answers at once. A foreseen error is one line
on stderr with what to do about it; exit code 2 belongs to `plan` (there are changes), so wrong usage ends with 1.
"""

import contextlib
import errno
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from reconciler.cli import admin, check, listing, new, read, run, step_verbs, triggers, verbs, write
from reconciler.cli.failure import DONE, FAILED
from reconciler.errors import ReconcilerError

Command = Callable[..., int]
_OF_THE_OUTPUT = frozenset({errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF})

COMMANDS: dict[str, Command] = {
    "init": write.init,
    "validate": check.validate,
    "plan": check.plan,
    "simulate": check.simulate,
    "run": run.run,
    "serve": run.serve,
    "tree": read.tree,
    "why": read.why,
    "logs": read.logs,
    "new": new.new,
    "suspend": verbs.suspend,
    "resume": verbs.resume,
    "revoke": verbs.revoke,
    "rerun": verbs.rerun,
    "retry": step_verbs.retry,
    "skip": step_verbs.skip,
    "resolve": step_verbs.resolve,
    "approve": step_verbs.approve,
    "adopt": admin.adopt,
    "backup": admin.backup,
    "restore": admin.restore,
    "check-state": admin.check_state,
    "graph": check.graph,
    "schema": check.schema,
    "demo": admin.demo,
    "demo-service": admin.demo_service,
    "version": admin.version,
}
GET: dict[str, Command] = {
    "tasks": listing.tasks,
    "task": listing.task,
    "events": listing.events,
    "triggers": triggers.triggers,
    "trigger": triggers.trigger,
    "definitions": listing.definitions,
    "revisions": listing.revisions,
    "sources": listing.sources,
}
HELP = """What should run is a file in Git; reconciler makes it run and tells everyone how far it is.

Start here:
  reconciler demo           watch a commit become a finished workflow
  reconciler init           make a first repository
  reconciler run            follow the repository in this folder
  reconciler tree TASK      see how far a task is"""
GET_HELP = """List what there is, or show one task.

Example:
  reconciler get tasks --status FAILED -o json"""


class Commands(TyperGroup):
    """A group whose commands return their exit code and whose errors are one line; alone it prints its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, or `--help` where there are none."""
        return super().parse_args(ctx, args or ["--help"])

    def main(self, *arguments: Any, **options: Any) -> NoReturn:
        """Run the command that the arguments name, and end the process with its exit code."""
        options["standalone_mode"] = False
        try:
            code = super().main(*arguments, **options)
        except (typer.Abort, TyperException) as error:
            code = _report(error.format_message() if isinstance(error, TyperException) else "stopped")
        except Exception as error:
            if not _foreseen(error):
                raise
            code = _report(_text(error))
        sys.exit(_told(code if isinstance(code, int) else DONE))


def _group(text: str, commands: dict[str, Command]) -> typer.Typer:
    group = typer.Typer(
        cls=Commands,
        help=_shaped(text),
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in commands.items():
        group.command(name, help=_shaped(command.__doc__ or ""))(command)
    return group


def _shaped(text: str) -> str:
    """Help in which the paragraphs that show commands keep their lines."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join("\b\n" + each if "\n  reconciler " in each else each for each in paragraphs)


app = _group(HELP, COMMANDS)
app.add_typer(_group(GET_HELP, GET), name="get")


def main() -> NoReturn:
    """The entry point `reconciler`."""
    _open_streams()
    app(prog_name="reconciler")
    raise AssertionError("unreachable: the group ends the process")


def _open_streams() -> None:
    """Give a closed stdin, stdout or stderr somewhere to go, before a database gets its number and is printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number, which is this
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it is for the whole process
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above


def _told(code: int) -> int:
    """`code`, if all that was printed has arrived; else FAILED. What could not be written is dropped, logs silently."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop(sys.stdout)
        code = code or _report(_text(error))
    try:
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)  # else the interpreter fails at it once more, and ends with 120
    return code


def _drop(stream: TextIO) -> None:
    """Let what is left in `stream` go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _foreseen(error: Exception) -> bool:
    """Whether `error` is one of the product's own; the packages below know nothing of each other's errors."""
    from definitions.revision import SourceUnavailable
    from state.errors import StateError

    of_a_file = isinstance(error, OSError) and (error.filename is not None or error.errno in _OF_THE_OUTPUT)
    return of_a_file or isinstance(error, ReconcilerError | SourceUnavailable | StateError)


def _text(error: Exception) -> str:
    from definitions.revision import SourceUnavailable

    if isinstance(error, SourceUnavailable):
        return error.message
    if not isinstance(error, OSError):
        return str(error)
    if error.filename is None:  # a reader that closed its end has seen what it wanted
        return "" if error.errno == errno.EPIPE else f"the output cannot be written: {error.strerror}"
    return f"{error.filename}: {error.strerror}"


def _report(message: str) -> int:
    if message:
        said = " ".join(message.split()).replace("Value error, ", "")
        print(f"error: {''.join(char if char.isprintable() else '�' for char in said)}", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    main()
