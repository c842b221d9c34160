import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from definitions.sources.git import GitSource
from definitions.sources.watch import changes
from tests.repositories import TASK, Repository

NEVER = 3600.0
SOON = 8.0


class Hints:
    """What `changes` yielded so far, with the time of each."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.news = asyncio.Event()

    async def follow(self, paths, stop, poll) -> None:
        async for _ in changes(paths, stop, poll=poll):
            self.times.append(time.monotonic())
            self.news.set()

    async def next(self) -> None:
        self.news.clear()
        await asyncio.wait_for(self.news.wait(), SOON)


@asynccontextmanager
async def watching(*paths: Path, poll: float = NEVER) -> AsyncIterator[Hints]:
    stop, hints = asyncio.Event(), Hints()
    following = asyncio.create_task(hints.follow(paths, stop, poll))
    await asyncio.sleep(0.3)  # until the system watches; nothing tells when
    try:
        yield hints
    finally:
        stop.set()
        await asyncio.wait_for(following, SOON)


async def test_a_burst_of_changes_is_one_hint(tmp_path):
    async with watching(tmp_path) as hints:
        for number in range(50):
            (tmp_path / f"{number}.yaml").write_text(TASK)
        await hints.next()
        await asyncio.sleep(0.5)

        assert len(hints.times) <= 2


async def test_a_commit_is_hinted_and_the_work_tree_is_not(tmp_path):
    repository = Repository(tmp_path / "repository")
    repository.commit(a=TASK)
    source = GitSource("main", str(repository.folder), None, ".", tmp_path / "mirror")
    async with watching(*source.watch_paths()) as hints:
        repository.write("b.yaml")
        await asyncio.sleep(0.5)
        before = list(hints.times)
        repository.commit()
        await hints.next()

        assert before == []


@pytest.mark.parametrize("command", [("pack-refs", "--all"), ("switch", "--quiet", "-c", "feature/x")])
async def test_refs_that_move_by_replacing_files_are_hinted(tmp_path, command):
    repository = Repository(tmp_path / "repository")
    repository.commit(a=TASK)
    linked = tmp_path / "linked"
    repository.git("worktree", "add", "--quiet", str(linked))
    source = GitSource("main", str(repository.folder), None, ".", tmp_path / "mirror")
    async with watching(*source.watch_paths()) as hints:
        repository.git(*command)
        await hints.next()
        repository.git("commit", "--quiet", "--allow-empty", "-m", "after")
        await hints.next()


async def test_without_a_change_the_poll_is_the_hint(tmp_path):
    async with watching(tmp_path, poll=0.1) as hints:
        await hints.next()
        await hints.next()

        assert len(hints.times) >= 2


async def test_a_path_that_does_not_exist_is_polled_and_watched_once_it_does(tmp_path):
    later = tmp_path / "later"
    async with watching(later, poll=0.2) as hints:
        await hints.next()
        later.mkdir()
        await hints.next()

    async with watching(later) as hints:
        (later / "a.yaml").write_text(TASK)
        await hints.next()


async def test_a_folder_deleted_and_made_again_is_watched_again_after_a_poll(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    async with watching(folder, poll=1.5) as hints:
        shutil.rmtree(folder)
        await hints.next()
        folder.mkdir()
        await asyncio.sleep(2.0)
        polls = len(hints.times)
        written = time.monotonic()
        (folder / "a.yaml").write_text(TASK)
        await hints.next()

        assert len(hints.times) == polls + 1
        assert hints.times[-1] - written < 0.9


async def test_a_stop_ends_the_watch_at_once_and_leaves_no_thread_busy(tmp_path):
    started = time.monotonic()
    async with watching(tmp_path):
        pass

    assert time.monotonic() - started < 2
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_leaving_the_loop_early_ends_the_watch(tmp_path):
    stop, threads = asyncio.Event(), threading.active_count()
    hints = changes([tmp_path], stop, poll=0.05)
    await anext(hints)
    await hints.aclose()

    assert not stop.is_set()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    assert threading.active_count() <= threads + 5
