"""The command line as data: every command with its text, arguments and options, for docs/cli.md and its tests."""

import inspect
import shlex
from collections.abc import Iterator
from enum import Enum
from itertools import takewhile
from typing import Any, Literal, NamedTuple, get_args, get_origin

import typer.main


class Command(NamedTuple):
    """One command. `words` lead to it, without the program's name."""

    words: tuple[str, ...]
    text: str
    arguments: tuple[Any, ...]
    options: tuple[Any, ...]

    @property
    def flags(self) -> frozenset[str]:
        return frozenset(flag for option in self.options for flag in (*option.opts, *option.secondary_opts)) | {
            "--help",
            "-h",
        }


def commands() -> dict[tuple[str, ...], Command]:
    """Every visible command by its words."""
    from reconciler.cli.app import app

    return {each.words: each for each in _walk((), typer.main.get_command(app))}


def _walk(words: tuple[str, ...], command: Any) -> Iterator[Command]:
    below = getattr(command, "commands", None)
    if below is not None:
        for name, each in below.items():
            if not each.hidden:
                yield from _walk((*words, name), each)
        return
    shown = [each for each in command.params if not each.hidden]
    options = tuple(each for each in shown if each.opts[0].startswith("-"))
    yield Command(words, command.help or "", tuple(each for each in shown if each not in options), options)


def page() -> str:
    """docs/cli.md."""
    introduction = (
        "# Commands\n\nWritten by `make docs` from the program itself; `reconciler COMMAND --help` says the same."
    )
    return "\n\n".join([introduction, *(_section(each) for each in commands().values())]) + "\n"


def _section(command: Command) -> str:
    usage = " ".join(["reconciler", *command.words, *(_placeholder(each) for each in command.arguments)])
    parts = [
        f"## reconciler {' '.join(command.words)}",
        *_paragraphs(command.text),
        f"```\n{usage}{' [OPTIONS]' if command.options else ''}\n```",
    ]
    rows = [
        f"| {_names(each)} | {_cell(each.help)} | {_default(each)} |" for each in (*command.arguments, *command.options)
    ]
    return "\n\n".join(
        [*parts, *(["\n".join(["| option | meaning | default |", "|---|---|---|", *rows])] if rows else [])]
    )


def _paragraphs(text: str) -> Iterator[str]:
    """Help texts mark what must not be wrapped with a line of \\b; here that is a code block."""
    for block in inspect.cleandoc(text.replace("\b\n", "\\b\n")).split("\n\n"):
        if block.startswith("\\b\n"):
            heading, _, lines = block.removeprefix("\\b\n").partition("\n")
            yield f"{heading}\n\n```console\n{inspect.cleandoc(lines)}\n```" if lines else heading
        else:
            yield block


def _placeholder(argument: Any) -> str:
    name = (argument.metavar or argument.name or "").strip("[]").upper()
    name = f"{name}..." if argument.nargs != 1 and not name.endswith("...") else name
    return name if argument.required else f"[{name}]"


def _names(parameter: Any) -> str:
    if not parameter.opts[0].startswith("-"):
        return f"`{_placeholder(parameter)}`"
    value = "" if parameter.is_flag else f" {parameter.metavar or _choices(parameter)}"
    return ", ".join(f"`{flag}{value}`" for flag in (*parameter.opts, *parameter.secondary_opts)).replace("|", "\\|")


def _choices(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(each.value for each in annotation)
    return "|".join(map(str, get_args(annotation))) if get_origin(annotation) is Literal else "VALUE"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "required"
    return "" if value in (None, False, (), []) or callable(value) else f"`{getattr(value, 'value', value)}`"


def called(line: str) -> tuple[Command | None, frozenset[str]]:
    """The command that a console line calls and the flags it gives; (None, …) if there is no such command."""
    words = shlex.split(line, comments=True)
    plain = list(takewhile(lambda word: word not in {"&", "&&", "|", ">"}, words[1:]))
    known = commands()
    found = next((known[key] for length in (2, 1) if (key := tuple(plain[:length])) in known), None)
    return found, frozenset(word.partition("=")[0] for word in plain if word.startswith("-"))
