"""Whether a path fits a pattern such as `apps/**/*.yaml`: the glob language that people know from CI systems.

`*` and `?` stand for anything within one name, `**` for any number of folders, `[ab]` for one of some characters; a
pattern that ends in `/` means everything below. Paths are those of a repository, from its root.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|[^*?\[]+|\[")
_MEANINGS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def matches(patterns: Iterable[str], paths: Iterable[str]) -> bool:
    """Whether one of `paths` fits one of `patterns`."""
    wanted = [_compiled(pattern) for pattern in patterns]
    return any(pattern.fullmatch(path) for path in paths for pattern in wanted)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    whole = pattern.removeprefix("./").lstrip("/")
    whole += "**" if whole.endswith("/") else ""
    return re.compile("".join(map(_meaning, _PIECE.findall(whole))), re.DOTALL)


def _meaning(piece: str) -> str:
    if piece in _MEANINGS:
        return _MEANINGS[piece]
    if len(piece) > 2 and piece[0] == "[" and piece[-1] == "]":
        negated = piece[1] == "!"
        inner = re.escape(piece[1 + negated : -1]).replace(r"\-", "-")
        return f"[{'^' if negated else ''}{inner}]"
    return re.escape(piece)
