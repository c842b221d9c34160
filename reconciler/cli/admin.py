"""The commands around a controller: what it holds back, copies of its database, the demonstration, the version."""

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
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.failure import DONE, FAILED, Failure
from reconciler.cli.options import DEFAULT_STATE, Output, OutputOption

if TYPE_CHECKING:
    from state.backup import Copy

DISTRIBUTION = "reconciler-controller"


def adopt(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Tasks and triggers as namespace/name or name.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is held back.")] = False,
    nothing: Annotated[bool, typer.Option("--none", help="None of them: they stay as they are.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what the request would name.")] = False,
    state: Annotated[Path, typer.Option("--state", metavar="DIR", help="The state folder.")] = DEFAULT_STATE,
    output: OutputOption = Output.TEXT,
) -> int:
    """Let the controller begin what it holds back.

    A state folder without a past may hold what it finds already there (Unadopted), and one whose database may be older than what has run holds everything unfinished (RestoredOlder). The request is a file in the state folder; the controller applies it in its next turn or at its next start. Any answer, also --none, decides about an older database: what it does not name stays held, and new tasks begin as they come.

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
    print(f"{len(selected)} of {len(held)} held back" + ("" if dry_run else f"; the request is {file}"))
    return DONE


def _held_back(state: Path) -> list[str]:
    """`namespace/name` of every task and trigger that is not adopted, or held."""
    from contextlib import closing

    from state.reader import Reader

    with closing(Reader(state)) as reader:
        waiting = [each.identity for each in reader.held_back()] + [each.identity for each in reader.held_triggers()]
        return sorted(set(map("/".join, waiting)))


def _selection(held: list[str], names: list[str], *, everything: bool) -> list[str]:
    if everything:
        return held
    selected = []
    for name in names:
        found = [each for each in held if each == name or each.partition("/")[2] == name]
        if len(found) != 1:
            known = ", ".join(found or held) or "none"
            raise Failure(
                f"{name} is {'several' if found else 'not among the'} held tasks ({known}); write namespace/name"
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


StateFolderOption = Annotated[Path, typer.Option("--state", metavar="DIR", help="The state folder.")]
BackupArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup: one SQLite file.")]


def backup(file: BackupArgument, state: StateFolderOption = DEFAULT_STATE, output: OutputOption = Output.TEXT) -> int:
    """Copy the database to one file.

    Also beside a running controller. The file is whole or not there, and has everything but the logs of attempts. It replaces an earlier backup, but nothing in the state folder and nothing that is no plain file.

    Example:
      reconciler backup /backups/state.db
    """
    from state.backup import backup as copy

    return _copied("backed up to", copy(state, file), output)


def restore(file: BackupArgument, state: StateFolderOption = DEFAULT_STATE, output: OutputOption = Output.TEXT) -> int:
    """Put a backup in the place of the database.

    No controller may be running. What was there stays beside it as state.db.replaced, with a number where that name is taken. The controller then holds everything unfinished until `reconciler adopt`, because more may have run than the backup knows of.

    Example:
      reconciler restore /backups/state.db
    """
    from state.backup import restore as put_back

    copy = put_back(file, state)
    code = _copied("restored", copy, output)
    if output is Output.TEXT:
        if copy.replaced:
            print(f"what was there before is kept as {copy.replaced}")
        print("start the controller; it looks at what runs and starts nothing. Then: reconciler adopt --all --dry-run")
    return code


def _copied(what: str, copy: "Copy", output: Output) -> int:
    from reconciler.cli import render

    facts = {"file": str(copy.path), "bytes": copy.size, "sequence": copy.sequence, "epoch": copy.epoch}
    if copy.replaced:
        facts["replaced"] = str(copy.replaced)
    if output is Output.JSON:
        render.print_json(facts)
    else:
        print(f"{what} {copy.path}: {copy.size} bytes, up to event {copy.sequence} of start {copy.epoch}")
    return DONE


def check_state(state: StateFolderOption = DEFAULT_STATE, output: OutputOption = Output.TEXT) -> int:
    """Check that the database holds together.

    Its pages, its values, the references between rows, and the chain of every task's events. It reads all of it and writes nothing, also beside a running controller. Exit code 1 if something does not hold.

    Example:
      reconciler check-state -o json
    """
    from reconciler.cli import render
    from state.inspection import inspect

    found = inspect(state)
    if output is Output.JSON:
        said = [{"what": each.what, "where": each.where} for each in found]
        render.print_json({"sound": not found, "findings": said})
        return FAILED if found else DONE
    for each in found:
        print(render.inert(str(each)))
    if found:
        count = "1 finding" if len(found) == 1 else f"{len(found)} findings"
        print(f"{count}: keep the files, and put a backup back: reconciler restore BACKUP --state {state}")
        return FAILED
    print("sound: pages, values, references and event chains hold")
    return DONE


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
