"""The commands around a controller: adopting what a fresh state folder holds back, the demonstration, the version."""

import getpass
import json
import os
import secrets
import signal
import socket
import threading
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer

from reconciler.cli.failure import DONE, Failure
from reconciler.cli.options import DEFAULT_STATE, Output, OutputOption

DISTRIBUTION = "reconciler-controller"


def adopt(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Tasks as namespace/name or name.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every task that is held back.")] = False,
    nothing: Annotated[bool, typer.Option("--none", help="None of them: they stay as they are.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what the request would name.")] = False,
    state: Annotated[Path, typer.Option("--state", metavar="DIR", help="The state folder.")] = DEFAULT_STATE,
    output: OutputOption = Output.TEXT,
) -> int:
    """Let the controller begin tasks it holds back.

    A state folder without a past may hold what it finds already there (Unadopted). The request is a file in the state folder; the controller applies it in its next turn or at its next start.

    Example:
      reconciler adopt --all --dry-run
    """
    from reconciler.cli import render

    if (bool(names) + everything + nothing) != 1:
        raise Failure("say which tasks: give --all, or --none, or their names")
    held = _held_back(state)
    selected = _selection(held, names or [], everything=everything)
    file = None if dry_run else _request(state, "all" if everything else "none" if nothing else selected)
    if output is Output.JSON:
        render.print_json({"selected": selected, "request": str(file) if file else None})
        return DONE
    for name in selected:
        print(f"{'would adopt' if dry_run else 'adopt'} {render.inert(name)}")
    print(f"{len(selected)} of {len(held)} unadopted tasks" + ("" if dry_run else f"; the request is {file}"))
    return DONE


def _held_back(state: Path) -> list[str]:
    """`namespace/name` of every unadopted task."""
    from reconciler.cli import client

    found = client.pages(client.open_client(None, state), "/tasks", state="CREATED")
    held = [each["metadata"] for each in found if each["status"].get("reason") == "Unadopted"]
    return sorted(f"{each['namespace']}/{each['name']}" for each in held)


def _selection(held: list[str], names: list[str], *, everything: bool) -> list[str]:
    if everything:
        return held
    selected = []
    for name in names:
        found = [each for each in held if each == name or each.partition("/")[2] == name]
        if len(found) != 1:
            known = ", ".join(found or held) or "none"
            raise Failure(
                f"{name} is {'several' if found else 'not among the'} unadopted tasks ({known}); write namespace/name"
            )
        selected += found
    return selected


def _request(state: Path, selection: str | list[str]) -> Path:
    """Writes the request so that the controller sees it whole or not at all."""
    at = datetime.now(UTC)
    content = {"by": f"{getpass.getuser()}@{socket.gethostname()}", "at": at.isoformat(), "selection": selection}
    folder = state / "requests"
    folder.mkdir(exist_ok=True)
    file = folder / f"{at:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}.json"
    draft = folder / f".{file.name}.tmp"
    with draft.open("w", encoding="utf-8") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    return draft.rename(file)


def demo() -> int:
    """Watch a commit become a finished workflow.

    And a crash survived. It takes less than a minute and leaves nothing behind.

    Example:
      reconciler demo
    """
    from reconciler.cli.demo import show

    return show()


def demo_service(
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Loopback only; port 0 takes a free one.")
    ] = "127.0.0.1:9999",
    not_ready: Annotated[
        int,
        typer.Option(
            "--not-ready", min=0, metavar="N", help="How many polls of one attempt api2 answers with no age yet."
        ),
    ] = 2,
) -> int:
    """Serve the small APIs that the examples call.

    /hello, /api1 to /api6, and /counts, which tells what was called.

    Example:
      reconciler demo-service --listen 127.0.0.1:9999
    """
    from reconciler import demo_service as service

    server = service.start(listen, not_ready)
    host, port = server.server_address[:2]
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(
        f"the demo service listens on http://{host!s}:{port}; /counts tells what was called; Ctrl-C ends it", flush=True
    )
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return DONE


def version(output: OutputOption = Output.TEXT) -> int:
    """Print the version.

    Example:
      reconciler version
    """
    from reconciler.cli import render

    found: dict[str, Any] = {"version": _version()}
    if output is Output.JSON:
        render.print_json(found)
    else:
        print(found["version"])
    return DONE


def _version() -> str:
    try:
        return installed_version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown (not installed)"
