"""The commands that stay: `run` follows a source and serves its status, `serve` only serves.

Here flags become settings and nothing else; what a setting means is decided where it is used.
"""

import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from reconciler.cli.failure import DONE, Failure
from reconciler.cli.options import DEFAULT_STATE, PathOption, SettingsOption, SourceOption, source_flags

if TYPE_CHECKING:
    from reconciler.settings import Settings


class Adopt(StrEnum):
    """What a state folder without a past does with the tasks it finds."""

    START = "start"
    HOLD = "hold"


class Lasting:
    """A stream for logs that never fails: a full disk behind it, or a reader that is gone, ends no controller."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # closed by whoever called us counts as gone
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):  # closed by whoever called us counts as gone
            self._stream.flush()


ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen", metavar="HOST:PORT|off", help="Where the API listens.  [default: 127.0.0.1:8080 or the next free]"
    ),
]


def run(
    source: SourceOption = None,
    ref: Annotated[
        str | None,
        typer.Option(
            "--ref", metavar="REF", help="A branch, tag or commit.  [default: HEAD's branch, at the first start]"
        ),
    ] = None,
    path: PathOption = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="The state folder.  [default: .reconciler]")
    ] = None,
    listen: ListenOption = None,
    adopt: Annotated[
        Adopt | None, typer.Option("--adopt", help="What to do with tasks that a new state folder finds already there.")
    ] = None,
    enable: Annotated[
        list[str] | None,
        typer.Option("--enable", metavar="DRIVER", help="Switch on a driver, e.g. process; repeatable."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait while another controller holds the state folder.")] = False,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when nothing is left to do: 0 finished, 1 failed, 2 held.")
    ] = False,
    allow_prune: Annotated[
        int | None,
        typer.Option("--allow-prune", min=1, metavar="N", help="A folder source may remove this many tasks."),
    ] = None,
    settings: SettingsOption = None,
) -> int:
    """Make what the files want run, and serve its status.

    It follows the source until Ctrl-C ends it; what is under way at a target goes on and is found again.

    Example:
      reconciler run --source . --until-idle
    """
    flags = {
        **source_flags(source, ref, path),
        "state": str(state) if state else None,
        "listen": listen,
        "adopt": adopt.value if adopt else None,
        "wait": wait or None,
        **_enabled(enable or []),
    }
    from reconciler.cli.announcement import Announcer
    from reconciler.controller import RunOptions
    from reconciler.controller import run as run_controller
    from reconciler.settings import load

    loaded = load(settings, os.environ, flags)
    _log_to_stderr()
    _warn_of_uncommitted(loaded)
    _require_guarded(loaded)
    announcer = Announcer(loaded.state, loaded.source, steps=until_idle or sys.stdout.isatty())
    code = run_controller(loaded, RunOptions(until_idle=until_idle, allow_prune=allow_prune, told=announcer))
    if until_idle:
        announcer.conclude()
    return code


def _require_guarded(settings: "Settings") -> None:
    """Raises SettingsError now for an address that the API's own process would refuse again and again."""
    from reconciler.api.listen import guarded

    if settings.api.enabled and settings.listen != "off":
        guarded(settings.listen, settings.api.token_file)


def _log_to_stderr() -> None:
    """Readable lines on a terminal, JSON elsewhere; stdout is for what people asked for."""
    import structlog

    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if terminal:
        plain = structlog.dev.plain_traceback  # the pretty one shows the values of variables
        renderer = structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ, exception_formatter=plain)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [structlog.processors.format_exc_info]),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Lasting(sys.stderr))),
    )


def _warn_of_uncommitted(settings: "Settings") -> None:
    """Only commits count; whoever edits a file and sees nothing happen should read why."""
    from definitions.revision import SourceUnavailable
    from reconciler.cli.opening import opened
    from reconciler.cli.render import inert

    try:
        with opened(settings.source) as source:
            names = source.uncommitted()
    except SourceUnavailable:
        return  # the controller says so, in its own words, and goes on trying
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        print(inert(f"warning: not committed, so not in force: {shown}"), file=sys.stderr)


def _enabled(drivers: list[str]) -> dict[str, bool]:
    from reconciler.settings import DriversSettings

    known = DriversSettings.model_fields
    if unknown := [driver for driver in drivers if driver not in known]:
        raise Failure(f"--enable {unknown[0]}: there is no such driver in this version; there are {', '.join(known)}")
    return {f"drivers.{driver}.enabled": True for driver in drivers}


def serve(
    state: Annotated[Path, typer.Option("--state", metavar="DIR", help="The state folder to read.")] = DEFAULT_STATE,
    listen: ListenOption = None,
    settings: SettingsOption = None,
) -> int:
    """Serve the status API of a state folder, no more.

    It only reads, and needs no controller.

    Example:
      reconciler serve --state .reconciler --listen 127.0.0.1:8081
    """
    from reconciler.api.serve import serve as serve_api
    from reconciler.settings import load

    if not state.is_dir():
        raise Failure(f"there is no state folder {state}; `reconciler run` makes one, --state names another")
    loaded = load(settings, os.environ, {"state": str(state), "listen": listen})
    if loaded.listen == "off":
        raise Failure("there is nothing to serve with listen off; give --listen HOST:PORT")
    chosen = "listen" in loaded.model_fields_set
    serve_api(loaded.state, loaded.listen if chosen else None, loaded.api.token_file)
    return DONE
