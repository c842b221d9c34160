"""Hints that a source may have something new: the door to watchfiles.

Notifications get lost (network volumes, folders deleted and made again, watch limits), so each is only a reason to look
earlier than the poll would. Nothing here fails: what cannot be watched is polled.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path

from watchfiles import Change, awatch

_DEBOUNCE_MS = 300
_STEP_MS = 25  # the quiet that ends a burst: most of the delay between a commit and its hint

Identities = dict[Path, tuple[int, int]]


async def changes(paths: Sequence[Path], stop: asyncio.Event, *, poll: float) -> AsyncGenerator[None, None]:
    """Yield after each burst of changes in `paths` and after every `poll` seconds without one, until `stop` is set.

    A folder is watched with all below it; a file through its folder, because files are replaced rather than written.
    At each poll the watches are renewed if a path came, went or was replaced: the old watch is dead and silent then.
    """
    hint = asyncio.Event()
    watched = _identities(paths)
    watch = asyncio.create_task(_watch(watched, hint))
    try:
        while await _news(hint, stop, poll):
            if watch.done() or _identities(paths) != watched:
                await _end(watch)
                watched = _identities(paths)
                watch = asyncio.create_task(_watch(watched, hint))
            hint.clear()
            yield
    finally:
        await _end(watch)


async def _news(hint: asyncio.Event, stop: asyncio.Event, poll: float) -> bool:
    """Wait for a hint, the end or the poll; False if it is the end."""
    waits = [asyncio.create_task(event.wait()) for event in (hint, stop)]
    try:
        await asyncio.wait(waits, timeout=poll, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return not stop.is_set()


async def _watch(watched: Identities, hint: asyncio.Event) -> None:
    """Set `hint` at each burst; ends early, and silently, where the system refuses to watch."""
    folders = {path for path in watched if path.is_dir()}
    files = {path.parent.resolve() / path.name for path in watched if path.is_symlink() or path not in folders}
    parents, names = {path.parent for path in files}, frozenset(map(str, files))
    async with asyncio.TaskGroup() as group:
        if folders:
            group.create_task(_hints(folders, None, hint))
        if parents:
            group.create_task(_hints(parents, names, hint))


async def _hints(folders: set[Path], names: frozenset[str] | None, hint: asyncio.Event) -> None:
    """Watch whole `folders`, or only the files `names` directly in them."""

    def concerns(change: Change, path: str) -> bool:
        del change
        return not path.endswith(".lock") if names is None else path in names

    with suppress(OSError, RuntimeError):  # vanished meanwhile, out of watches, not supported here: the poll goes on
        async for _ in awatch(
            *folders,
            watch_filter=concerns,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=asyncio.Event(),  # awatch sets it when it is cancelled, so it must not be the caller's
            recursive=names is None,
            ignore_permission_denied=True,
        ):
            hint.set()


async def _end(watch: asyncio.Task[None]) -> None:
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch


def _identities(paths: Sequence[Path]) -> Identities:
    """Which of `paths` exist, and as what: device and inode of a folder; a file is watched through its folder."""
    found: Identities = {}
    for path in paths:
        with suppress(OSError):
            status = (path if path.is_dir() else path.parent).stat()
            found[path] = (status.st_dev, status.st_ino)
    return found
