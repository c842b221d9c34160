"""Real Git repositories for tests, made by the git command with nobody's configuration."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

TASK = "apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: one}\nspec: {job: a}\n"

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Alice Author",
    "GIT_AUTHOR_EMAIL": "alice@example.org",
    "GIT_COMMITTER_NAME": "Carl Committer",
    "GIT_COMMITTER_EMAIL": "carl@example.org",
    "GIT_AUTHOR_DATE": "1760000000 +0200",
    "GIT_COMMITTER_DATE": "1760000100 +0200",
}


class Repository:
    """A repository with a work tree in `folder`, on branch main, without a commit at first."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main", *options)

    def git(self, *arguments: str | bytes, data: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """What `git ARGUMENTS` prints in the work tree, without the last newline; raises CalledProcessError."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=_ENVIRONMENT | dict(env or {}),
            input=data,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")

    def write(self, path: str, text: str | bytes = TASK) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    def commit(self, message: str = "a change", **files: str) -> str:
        """Commit the work tree as it is, after writing `files`; returns the new commit."""
        for path, text in files.items():
            self.write(f"{path}.yaml", text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, *entries: tuple[str, str, bytes], branch: str = "main") -> str:
        """Commit (mode, object, path) entries that no work tree could hold, and move `branch` there."""
        listing = b"".join(f"{mode} {oid}\t".encode() + path + b"\0" for mode, oid, path in entries)
        index = {"GIT_INDEX_FILE": str(self.folder / ".git" / "crafted-index")}
        self.git("read-tree", "--empty", env=index)
        self.git("update-index", "-z", "--index-info", data=listing, env=index)
        commit = self.git("commit-tree", "-m", "crafted", self.git("write-tree", env=index))
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return commit

    def blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", data=data)
