"""A task while it runs: a live tree on a terminal, one line per change of state in a pipe."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.live import Live

from reconciler.cli import render

Task = Mapping[str, Any]


def show(task: Task) -> None:
    """The tree of a task as it is now."""
    now = render.now_utc()
    if sys.stdout.isatty():
        render.console().print(render.tree(task, now))
        return
    for line in render.lines(task, now):
        print(line)


def follow(versions: Iterable[Task]) -> None:
    """The tree again for each version of a task; the iterable decides how often and until when."""
    if sys.stdout.isatty():
        _live(versions)
        return
    changes = Changes()
    for task in versions:
        for line in changes.of(task):
            print(line, flush=True)


def _live(versions: Iterable[Task]) -> None:
    with Live(console=render.console(), auto_refresh=False, transient=False) as live:
        for task in versions:
            live.update(render.tree(task, render.now_utc()), refresh=True)


class Changes:
    """Which lines of a tree say something new; a clock that went on is nothing new."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, str]] = {}

    def of(self, task: Task) -> list[str]:
        """One line for the task and for each step whose state or reason differs from the last version."""
        now = render.now_utc()
        found = []
        for line, said in zip(render.lines(task, now), _said(task), strict=True):
            path, *state = said
            if self._seen.get(path) != tuple(state) and (path in self._seen or state[0] != "CREATED"):
                found.append(f"{now:%H:%M:%S}  {line}")
            self._seen[path] = (state[0], state[1])
        return found


def _said(task: Task) -> list[tuple[str, str, str]]:
    """Path, state and reason of the task (path "") and its steps, in the order of `render.lines`."""
    status = task["status"]
    return [("", status["state"], status.get("reason") or ""), *_steps_said(status.get("steps") or ())]


def _steps_said(steps: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    found = []
    for step in steps:
        found.append((step["path"], step["state"], step.get("reason") or ""))
        found += _steps_said(step.get("steps") or ())
    return found
