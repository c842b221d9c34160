"""A user's repository as the commands that write files see it: made, added to, committed.

It runs the user's own git in the user's own configuration, because the author of a commit is the author of the action.
Reading definitions is another matter and has its own door (`definitions.sources.git`).
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.cli.failure import Failure

_DEADLINE = 60
_NO_IDENTITY = ("Please tell me who you are", "empty ident", "unable to auto-detect")


class Repository:
    """A work tree. `environment` replaces the process's own (None keeps it)."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._environment = environment

    def exists(self) -> bool:
        """Whether the folder lies in a work tree."""
        done = self._run("rev-parse", "--is-inside-work-tree")
        return done.returncode == 0 and done.stdout.strip() == "true"

    def create(self, branch: str = "main") -> None:
        """An empty repository in the folder."""
        self._git("init", "--quiet", f"--initial-branch={branch}", ".")

    def require_author(self) -> None:
        """Raises Failure where git does not know whom to name as the author of a commit."""
        self._git("var", "GIT_AUTHOR_IDENT")

    def ignored(self, path: str) -> bool:
        """Whether git ignores `path`."""
        return self._run("check-ignore", "--quiet", "--", path).returncode == 0

    def resolve(self, name: str) -> str:
        """The full hash of the commit that `name` means here: a branch, a tag, HEAD~1, a short hash."""
        done = self._run("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        if done.returncode:
            raise Failure(f"there is no commit {name} in {self.folder}; fetch it first if it is new")
        return done.stdout.strip()

    def root(self) -> Path:
        """The top folder of the work tree. Raises Failure for a repository without one."""
        return Path(self._git("rev-parse", "--show-toplevel").rstrip("\r\n"))

    def branch(self) -> str:
        """The branch that a commit here goes to; raises Failure where it would go to none."""
        done = self._run("symbolic-ref", "--quiet", "--short", "HEAD")
        if done.returncode:
            raise Failure(f"HEAD is on no branch in {self.folder}; `git switch` to one, so that the commit is not lost")
        return done.stdout.strip()

    def changed(self, paths: Sequence[str]) -> list[str]:
        """Those of these files that differ from the last commit, in the work tree or staged, or that it does not have."""
        listing = self._git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *paths)
        return [entry[3:] for entry in listing.split("\0") if entry]

    def unstage(self, paths: Sequence[str]) -> None:
        """Takes these files back out of what is staged, as far as that can be done."""
        if self._run(
            "reset", "--quiet", "--", *paths
        ).returncode:  # before the first commit there is nothing to reset to
            self._run("rm", "--cached", "--quiet", "--ignore-unmatch", "--", *paths)

    def has_upstream(self) -> bool:
        """Whether the branch follows one of another repository."""
        return self._run("rev-parse", "--quiet", "--verify", "@{upstream}").returncode == 0

    def commit(self, paths: Sequence[str], message: str) -> str:
        """Commits these files and nothing else that may be staged; the new commit's short hash."""
        self._git("add", "--", *paths)
        self._git("commit", "--quiet", f"--message={message}", "--", *paths)
        return self._git("rev-parse", "--short", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode:
            raise Failure(_explain(arguments[0], done.stderr or done.stdout))
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        if not self.folder.is_dir():
            raise Failure(f"there is no folder {self.folder}")
        try:
            return subprocess.run(
                ["git", *arguments],
                cwd=self.folder,
                env=self._environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_DEADLINE,
                check=False,
            )
        except FileNotFoundError:
            raise Failure("there is no git here; install it (for example: apt install git)") from None
        except subprocess.TimeoutExpired:
            raise Failure(f"`git {arguments[0]}` did not end within {_DEADLINE} s; try it by hand") from None


def _explain(command: str, text: str) -> str:
    if any(sign in text for sign in _NO_IDENTITY):
        return (
            "git does not know who you are; tell it with `git config --global user.email YOU@EXAMPLE.ORG` and user.name"
        )
    said = " ".join(text.split())[:300]
    silent = "it says nothing; a hook may have stopped it" if command == "commit" else "it says nothing"
    return f"`git {command}` failed: {said or silent}"
