"""The logs of a task, read piece by piece by their byte offsets so that following costs what is new."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reconciler.cli import client as api
from reconciler.cli.client import Client, NotFound

_LOOK_AGAIN = 0.5
_ENDED = {"FINISHED", "FAILED", "REVOKED"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which logs: of the task at an API path, of one step or all, of one attempt or the latest."""

    path: str
    step: str | None
    attempt: int | None


def pieces(client: Client, wanted: Wanted) -> Iterator[str]:
    """The text of each log, after a line that names it where there are several."""
    steps = _steps(client, wanted)
    for step in steps:
        if len(steps) > 1:
            yield f"== {step} ==\n"
        yield _text(_read(client, wanted, step, 0))


def collect(client: Client, wanted: Wanted) -> list[dict[str, str]]:
    """`[{step, log}]` for programs."""
    return [
        {"step": step, "log": _read(client, wanted, step, 0).decode(errors="replace")}
        for step in _steps(client, wanted)
    ]


def follow(client: Client, wanted: Wanted) -> Iterator[str]:
    """What is new in each log, until the task has ended."""
    read: dict[str, int] = {}
    while True:
        ended = api.get(client, wanted.path)["status"]["state"] in _ENDED
        for step in _steps(client, wanted):
            data = _read(client, wanted, step, read.get(step, 0))
            if data:
                yield f"== {step} ==\n" if step not in read and not wanted.step else ""
                yield _text(data)
            read[step] = read.get(step, 0) + len(data)
        if ended:
            return
        time.sleep(_LOOK_AGAIN)


def _steps(client: Client, wanted: Wanted) -> list[str]:
    if wanted.step:
        return [wanted.step]
    paths = dict.fromkeys(_path(each) for each in api.pages(client, f"{wanted.path}/attempts"))
    above = {parent for path in paths for parent in _parents(path)}
    return [path for path in paths if path not in above]


def _path(attempt: dict[str, Any]) -> str:
    return str(attempt["metadata"]["path"])


def _parents(path: str) -> Iterator[str]:
    """The steps around it: what is asked for their log answers with that of a step in them."""
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def _read(client: Client, wanted: Wanted, step: str, offset: int) -> bytes:
    try:
        return client.fetch(f"{wanted.path}/log", {"step": step, "attempt": wanted.attempt, "offset": offset})
    except NotFound as error:
        if wanted.step:
            raise NotFound(f"{error}; `reconciler tree` names the steps") from None
        return b""


def _text(data: bytes) -> str:
    """The bytes as text in which no escape sequence is left to move a reader's cursor."""
    text = data.decode(errors="replace")
    inert = "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text.replace("\r\n", "\n"))
    return inert if not inert or inert.endswith("\n") else inert + "\n"
