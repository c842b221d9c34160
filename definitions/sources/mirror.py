"""A bare Git repository of our own, and the one place where git is started: the door to GitPython.

Never the user's configuration: filters, hooks, links and checkouts are where repositories attack their readers.
GitPython serves as a guarded runner of the git command (its object model is slower and loses odd paths); every call has
a deadline and a clean environment. The mirror is disposable: what a crash or a bad disk leaves of it is made anew.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from git.cmd import Git
from git.exc import GitCommandNotFound

from definitions.revision import SourceUnavailable
from definitions.sources.acceptance import printable

DEADLINE = 60.0
"""Seconds after which a git command is killed."""

_PACKS_LIMIT = 50
_KEPT_VARIABLES = frozenset({"GIT_EXEC_PATH", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"})
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ALLOW_PROTOCOL": "file",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
    "GIT_HTTP_LOW_SPEED_TIME": "30",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o ConnectTimeout=10",
}
# A file, because git clears GIT_CONFIG_COUNT for the upload-pack it starts (seen), and that one needs safe.directory
# when the repository belongs to another user. `tidy` replaces git's own maintenance, which leaves a child behind and
# repacks everything. Submodules are never entered, so .gitmodules must not make the fetch of everything else fail.
_CONFIGURATION = """\
[safe]
\tdirectory = *
[protocol]
\tversion = 2
[core]
\thooksPath = /dev/null
\tfsmonitor = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[transfer]
\tfsckObjects = true
[fetch "fsck"]
\tgitmodulesBlob = ignore
\tgitmodulesLarge = ignore
\tgitmodulesName = ignore
\tgitmodulesParse = ignore
\tgitmodulesPath = ignore
\tgitmodulesSymlink = ignore
\tgitmodulesUpdate = ignore
\tgitmodulesUrl = ignore
"""


class GitFailed(Exception):
    """A git command ended with `status` and said `text`."""

    def __init__(self, status: int, text: str) -> None:
        lines = [line for line in text.strip().splitlines() if line.startswith(("fatal:", "error:", "Timeout:"))]
        self.text = printable((lines or text.strip().splitlines() or [f"git ended with status {status}"])[0])[:300]
        self.status = status
        super().__init__(self.text)


class Mirror:
    """A bare repository that only this process writes; `run` is the one place where git is started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._configuration = self._folder / "reconciler.gitconfig"
        self._git = Git(self._folder.parent)

    def prepare(self) -> None:
        """Make the mirror if there is none; otherwise remove the locks and half packs that a killed process left."""
        if not self._configuration.exists():
            self.make()
        left = [*self._folder.glob("*.lock"), *(self._folder / "refs").rglob("*.lock"), *self._packs("tmp_*")]
        for file in left:
            file.unlink(missing_ok=True)

    def make(self) -> None:
        """Make the mirror anew, empty; raises SourceUnavailable if the disk does not let us."""
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            self._configuration.write_text(_CONFIGURATION, encoding="utf-8")
            self.run("init", "--quiet", "--bare", "--template=", "--object-format=sha1")
        except (GitFailed, OSError) as error:
            raise SourceUnavailable("MirrorUnwritable", f"{self._folder}: {error}") from error

    @property
    def shallow(self) -> bool:
        """Whether the history ends before its beginning, as in the repository it came from."""
        return (self._folder / "shallow").exists()

    def tidy(self) -> None:
        """Join the packs when there are many (every fetch adds one), the small ones first; a failure costs nothing."""
        if len(self._packs("*.pack")) > _PACKS_LIMIT:
            with suppress(GitFailed):
                self.run("repack", "--quiet", "--geometric=2", "-d")

    def run(self, *arguments: str, lines: Iterable[str] = ()) -> bytes:
        """The output of a git command on the mirror, fed with `lines`; raises GitFailed."""
        return self._start([f"--git-dir={self._folder}", *arguments], str(self._configuration), lines)

    def run_in(self, folder: Path, *arguments: str) -> bytes:
        """The output of a git command in someone's work tree, which git may refuse to trust; raises GitFailed."""
        return self._start(["-C", str(folder), "-c", "core.fsmonitor=false", *arguments], os.devnull, ())

    def _packs(self, pattern: str) -> list[Path]:
        return list((self._folder / "objects" / "pack").glob(pattern))

    def _start(self, arguments: list[str], configuration: str, lines: Iterable[str]) -> bytes:
        environment = _ENVIRONMENT | {"GIT_CONFIG_GLOBAL": configuration}
        command = [*_scrubbing(environment), str(Git.GIT_PYTHON_GIT_EXECUTABLE), "--no-pager", *arguments]
        with tempfile.TemporaryFile() as feed:
            feed.writelines(os.fsencode(line) + b"\n" for line in lines)
            feed.seek(0)
            try:
                status, output, text = self._git.execute(
                    command,
                    istream=feed,
                    env=environment,
                    kill_after_timeout=DEADLINE,
                    with_extended_output=True,
                    with_exceptions=False,
                    stdout_as_string=False,
                    strip_newline_in_stdout=False,
                )
            except (GitCommandNotFound, OSError) as error:
                raise SourceUnavailable("GitMissing", f"git cannot be started: {error}") from error
        if status != 0:
            raise GitFailed(status, text)
        return output


def _scrubbing(ours: Mapping[str, str]) -> list[str]:
    """A prefix that hides the caller's Git variables: GIT_DIR and its like would make git look elsewhere."""
    kept = _KEPT_VARIABLES | ours.keys()
    hidden = [name for name in os.environ if name.startswith("GIT_") and name not in kept]
    return ["env", *(word for name in hidden for word in ("-u", name))] if hidden else []
