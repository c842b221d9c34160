"""Secret values leave no trace in what is kept: every form of them becomes stars, also where a chunk ends inside one.

Best effort by nature: a program can always print its secret in a form that nobody thought of. This module imports
nothing but the standard library, because the wrapper of the process driver runs without anything else.
"""

import re
from collections.abc import Iterable

STARS = b"***"


class Redactor:
    """Knows the byte strings that must not be shown, see `reconciler.secrets.forms`."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._forms = tuple(sorted({form for form in forms if form}, key=lambda form: (-len(form), form)))
        self._pattern = re.compile(b"|".join(re.escape(form) for form in self._forms)) if self._forms else None
        self._heads = frozenset(form[0] for form in self._forms)
        self._longest = max(map(len, self._forms), default=0)

    def clean(self, data: bytes) -> bytes:
        """`data`, a whole, with stars for every form."""
        return self._pattern.sub(STARS, data) if self._pattern else data

    def text(self, value: str) -> str:
        """`value` with stars for every form."""
        if self._pattern is None:
            return value
        return self.clean(value.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    def split(self, data: bytes) -> tuple[bytes, int]:
        """What of `data` can be shown before more is known, cleaned, and how many bytes of `data` that was."""
        if self._pattern is None:
            return data, len(data)
        end = self._open_end(data)
        pieces, start = [], 0
        for match in self._pattern.finditer(data):
            if match.start() >= end:
                break
            pieces += [data[start : match.start()], STARS]
            start = match.end()
        end = max(end, start)
        return b"".join([*pieces, data[start:end]]), end

    def _open_end(self, data: bytes) -> int:
        """Where the first form begins of which `data` holds only the beginning."""
        for start in range(max(0, len(data) - self._longest + 1), len(data)):
            if data[start] in self._heads:
                tail = data[start:]
                if any(len(form) > len(tail) and form.startswith(tail) for form in self._forms):
                    return start
        return len(data)


class RedactedStream:
    """Cleans what comes in chunks: bytes that may be the beginning of a secret wait for the next chunk."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._pending = b""

    @property
    def held(self) -> int:
        """Bytes that were taken and wait for the next chunk."""
        return len(self._pending)

    def take(self, chunk: bytes) -> bytes:
        """What can be shown now."""
        data = self._pending + chunk
        shown, used = self._redactor.split(data)
        self._pending = data[used:]
        return shown

    def finish(self) -> bytes:
        """What was held back, now that nothing follows."""
        rest, self._pending = self._redactor.clean(self._pending), b""
        return rest
