"""Where a Git repository is and which ref of it is meant, checked before Git sees either.

Git and its wrappers take options, helper programs and glob patterns in the places of addresses and names, and lists of
forbidden spellings have been got round again and again. So this is a list of what is allowed. No I/O.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from definitions.revision import SourceUnavailable
from definitions.sources.acceptance import printable

FULL_HASH = re.compile(r"[0-9a-f]{40}")
SHORT_HASH = re.compile(r"[0-9a-f]{4,40}")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_REF_BANNED = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|^[-/.]|/\.|[/.]$|\.lock(/|$)")


@dataclass(frozen=True, slots=True)
class Location:
    """A repository: what Git is told, and the folder behind it if it is on this machine."""

    url: str
    folder: Path


def locate(text: str, *, allow_file: bool = True) -> Location:
    """The location that `text` names: a path or a file:// URL. Raises SourceUnavailable for everything else."""
    if not text or text.startswith("-") or printable(text) != text:
        raise SourceUnavailable("BadLocation", f"{printable(text)!r} is not a repository's address")
    if not allow_file:
        raise SourceUnavailable("BadLocation", "repositories on this machine's disk are not allowed here")
    folder = _folder(text).expanduser().absolute()
    return Location(str(folder), folder)


def ref_names(ref: str) -> tuple[str, ...]:
    """The full names that `ref` may mean, best first: a branch, then a tag. Raises SourceUnavailable for no ref."""
    if not ref or ref == "@" or _REF_BANNED.search(ref) or printable(ref) != ref:
        raise SourceUnavailable("BadRef", f"{printable(ref)!r} is not the name of a branch, a tag or a full commit")
    if ref == "HEAD" or ref.startswith("refs/"):
        return (ref,)
    return (f"refs/heads/{ref}", f"refs/tags/{ref}")


def _folder(text: str) -> Path:
    if text.startswith("file://"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise SourceUnavailable("BadLocation", "a file:// address is file:///absolute/path")
        return Path(unquote(parts.path))
    if _SCHEME.match(text) or _is_scp_like(text):
        raise SourceUnavailable("BadLocation", "only local paths and file:// addresses are supported for now")
    return Path(text)


def _is_scp_like(text: str) -> bool:
    host, colon, _ = text.partition(":")
    return bool(colon) and "/" not in host
