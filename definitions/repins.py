"""What has changed since the commits that tasks name to continue with: asked of the source, because a plan asks nobody."""

from typing import cast

from definitions.definition import Definition
from definitions.library import Library
from definitions.models import Task
from definitions.revision import Source

MOST = 200
"""So many different commits are looked up for one revision."""


def repinned_tasks(library: Library) -> list[Definition]:
    """The task files in force that ask for the definitions of some commit."""
    return [each for each in library.tasks() if cast("Task", each.model).control.repin]


def changed_since(source: Source, library: Library) -> dict[str, frozenset[str]]:
    """By the commit that a task names: the definition files that have changed after it. Unknown commits are left out.

    Raises SourceUnavailable.
    """
    names = dict.fromkeys(str(cast("Task", each.model).control.repin) for each in repinned_tasks(library))
    found = {name: source.since(name, library.tree.revision.commit) for name in list(names)[:MOST]}
    return {name: paths for name, paths in found.items() if paths is not None}
