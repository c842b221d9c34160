"""Who signed a commit, as far as the operator trusts the key: SSH signatures, checked by git against a file of keys.

A name in a commit is what its author wrote there; a signer is somebody who has the key. Without the operator's file
nobody is one, and signatures of other kinds are not looked at: they would be checked with keys that nobody chose here.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from definitions.revision import Revision, SourceUnavailable
from definitions.sources.acceptance import printable
from definitions.sources.mirror import GitFailed, Mirror

MOST = 500
"""So many commits are checked for one question; each signature costs a process."""

_FORMAT = "--format=%H%x00%G?%x00%GS"
_GOOD = "G"
_NAME_LIMIT = 200
_OTHER_KINDS = ("gpg.program", "gpg.openpgp.program", "gpg.x509.program")


class Signers:
    """The signers of the commits in `mirror`; `allowed` is a file as `ssh-keygen` calls allowed signers."""

    def __init__(self, mirror: Mirror, allowed: Path | None) -> None:
        self._mirror = mirror
        self._allowed = allowed
        self._known: dict[str, str | None] = {}

    def sign(self, revision: Revision) -> Revision:
        """The revision with its signer."""
        return self.sign_all({"": [revision]})[""][0]

    def sign_all(self, found: Mapping[str, Sequence[Revision]]) -> Mapping[str, Sequence[Revision]]:
        """The same revisions with their signers, where one is proven. Raises SourceUnavailable without the file."""
        if self._allowed is None:
            return found
        lasts = (each[0].commit for each in found.values())
        self._check(self._allowed, chain(lasts, (each.commit for those in found.values() for each in those)))
        return {
            path: [replace(each, signer=self._known.get(each.commit)) for each in those]
            for path, those in found.items()
        }

    def _check(self, allowed: Path, commits: Iterable[str]) -> None:
        news = [each for each in dict.fromkeys(commits) if each not in self._known][:MOST]
        if not news:
            return
        if not allowed.is_file():
            raise SourceUnavailable("SignersMissing", f"{allowed} is no file, and it should say whose signatures count")
        options = [f"gpg.ssh.allowedSignersFile={allowed.absolute()}", *(f"{kind}=false" for kind in _OTHER_KINDS)]
        given = [word for option in options for word in ("-c", option)]
        with suppress(GitFailed):
            output = self._mirror.run(*given, "log", "--no-walk=unsorted", "--stdin", _FORMAT, lines=news)
            for line in output.decode("utf-8", "replace").splitlines():
                commit, verdict, name = (*line.split("\0", 2), "", "")[:3]
                self._known[commit] = printable(name[:_NAME_LIMIT]) if verdict == _GOOD and name else None
