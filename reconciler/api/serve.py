"""The API as a process of its own: `python -m reconciler.api.serve --state DIR`.

`reconciler run` starts it as a child and holds the other end of a pipe; when that end closes, however the parent
died, this process ends too. It has no drivers, no secrets and only a reading handle on the database.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from reconciler.api.app import create
from reconciler.api.connections import CONNECTIONS, BoundedProtocol
from reconciler.api.listen import DEFAULT_LISTEN, guarded
from reconciler.errors import SettingsError

PORTS_TO_TRY = 100
_GRACE_SECONDS = 1


def serve(
    state: Path, listen: str | None = None, token_file: Path | None = None, parent_pipe: int | None = None
) -> None:
    """Serve `state` at `listen` (`host:port`, port 0 for any) until told to end or `parent_pipe` closes.

    Without `listen` the default address is used, or the next free port if that one is busy. Writes where it listens
    into `<state>/api.json`. Raises SettingsError for an address that cannot be used, or is open without a token.
    """
    host, port, token = guarded(listen, token_file)
    listener = bind(host, port, tries=1 if listen else PORTS_TO_TRY)
    announce(state, listener)
    server = _server(state, token)
    gc.freeze()  # what is loaded stays: a full pass over it took 40 ms, and made some reader wait
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_run(server, listener, parent_pipe))


def bind(host: str, port: int, tries: int = 1) -> socket.socket:
    """A listening socket on the first free port of `tries` from `port` on; raises SettingsError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, port + tries):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if candidate == port + tries - 1:
                raise SettingsError(f"cannot listen on {host}:{candidate}: {error.strerror}") from error
        else:
            return listener
    raise SettingsError(f"no port to try on {host}")


def address(listener: socket.socket) -> str:
    """The URL of what listens there."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(state: Path, listener: socket.socket) -> None:
    """Write `{"address", "pid"}` to `<state>/api.json` and say it on standard error; a read-only mount only says it."""
    text = json.dumps({"address": address(listener), "pid": os.getpid()})
    fresh = state / f"api.json.{os.getpid()}"
    try:
        fresh.write_text(text)
        fresh.replace(state / "api.json")
    except OSError as error:
        sys.stderr.write(f"api.json was not written ({error.strerror})\n")
    sys.stderr.write(f"reading {state} at {address(listener)}\n")


def _server(state: Path, token: str | None) -> uvicorn.Server:
    config = uvicorn.Config(
        create(state, token=token),
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return uvicorn.Server(config)


async def _run(server: uvicorn.Server, listener: socket.socket, parent_pipe: int | None) -> None:
    if parent_pipe is not None:
        asyncio.get_running_loop().add_reader(parent_pipe, _parent_spoke, server, parent_pipe)
    await server.serve(sockets=[listener])


def _parent_spoke(server: uvicorn.Server, pipe: int) -> None:
    """The pipe became readable: its end means that the parent is gone."""
    with contextlib.suppress(BlockingIOError):
        if not os.read(pipe, 1024):
            asyncio.get_running_loop().remove_reader(pipe)
            server.should_exit = True


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of the child process; exit code 1 and one line for a foreseen error."""
    parser = argparse.ArgumentParser(prog="reconciler.api.serve", description="Serve a state folder, read-only.")
    parser.add_argument("--state", type=Path, required=True, help="state folder of the controller")
    parser.add_argument("--listen", help=f"host:port; without it {DEFAULT_LISTEN} or the next free port")
    parser.add_argument("--token-file", type=Path, help="file with the token that readers must send")
    parser.add_argument("--parent-fd", type=int, help="reading end of a pipe; this process ends when it closes")
    given = parser.parse_args(arguments)
    try:
        serve(given.state, given.listen, given.token_file, given.parent_fd)
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
