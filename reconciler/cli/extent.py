"""Where the keys and values of a YAML document begin and end in its text, so that one can be changed and the rest kept.

The reader of documents knows where things begin. Where they end is found here from the text: the end of a collection is
that of its last child, the end of a scalar follows from how it is written. Whoever edits by these places reads the
result again: a wrong guess is refused there and never written.
"""

import re
from collections.abc import Iterator
from typing import Any

from definitions.documents import Document, Path
from definitions.problems import Position

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # what ends a line for the parser, whatever Python thinks
_QUOTED = {'"': re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL), "'": re.compile(r"'(?:[^']|'')*'")}
_FLOW_PLAIN = re.compile(r"(?:(?!\s#|:[\s,\[\]{}])[^,\[\]{}])*")
_BLOCK_PLAIN = re.compile(r"(?:(?!\s#|:(?:\s|$))[^\r\n\x85\u2028\u2029])*")
_NULL = re.compile(r"(?:~|null|Null|NULL)?")
_BETWEEN = re.compile(r"(?:[\s,]|(?<=[\s,])#[^\r\n]*)*")
_BEFORE_COLON = re.compile(r"\s*:")
_COMMENT = re.compile(r"(?<!\S)#[^\r\n\x85\u2028\u2029]*")
_HEADER = re.compile(r"[|>][-+0-9]*")


class Unclear(ValueError):
    """The text is written in a way that these rules do not follow; nothing can be changed there by itself."""


class Extent:
    """The places of `document`, which was read from the file whose whole text is `text`, as offsets into it."""

    def __init__(self, text: str, document: Document) -> None:
        self.text = text
        self._document = document
        self._keys, self._values = document.key_positions, document.positions
        self._lines = [0, *(found.end() for found in _BREAK.finditer(text))]  # where each line begins

    def value(self, path: Path) -> Any:
        """What stands at `path`; raises KeyError, IndexError where nothing does."""
        found: Any = self._document.value
        for part in path:
            found = found[part]
        return found

    def key(self, path: Path) -> int:
        """Where the key that leads to `path` begins."""
        return self._offset(self._keys[path])

    def colon(self, path: Path) -> int:
        """Behind the colon between the key that leads to `path` and its value. Raises Unclear."""
        start = self.key(path)
        first = self.text[start]
        end = self._matched(_QUOTED[first], start) if first in _QUOTED else start + len(str(path[-1]))
        return self._matched(_BEFORE_COLON, end)

    def start(self, path: Path) -> int:
        """Where the value at `path` begins; a value that is left out begins behind its colon."""
        return self._offset(self._values[path])

    def end(self, path: Path) -> int:
        """Behind the last character of the value at `path`, comments not counted. Raises Unclear."""
        if children := self.children(path):
            last = self.end(children[-1])
            return self._closing(last) if self.flow(path) else last
        if isinstance(self.value(path), dict | list):
            return self._closing(self.start(path) + 1)
        return self._scalar_end(path)

    def children(self, path: Path) -> list[Path]:
        """The paths one level below `path`, in the order of the text."""
        value = self.value(path)
        if isinstance(value, dict):
            return [(*path, key) for key in value]
        return [(*path, number) for number in range(len(value))] if isinstance(value, list) else []

    def flow(self, path: Path) -> bool:
        """Whether the collection at `path` stands in brackets."""
        return isinstance(self.value(path), dict | list) and self.text[self.start(path)] in "{["

    def column(self, path: Path) -> int:
        """How far the value at `path` is indented, if it is the first of its line."""
        return self._values[path].column - 1

    def line_start(self, offset: int) -> int:
        """Where the line of `offset` begins."""
        return max(line for line in self._lines if line <= offset)

    def line_end(self, offset: int) -> int:
        """Where the line of `offset` ends, before its line break."""
        found = _BREAK.search(self.text, offset)
        return found.start() if found else len(self.text)

    def comments(self, start: int, end: int) -> list[str]:
        """The comments that begin in a part of the text, each from its `#` to the end of its line. Raises Unclear."""
        solid, found = list(self._solid()), []
        while match := _COMMENT.search(self.text, start, end):
            inside = next((behind for begin, behind in solid if begin <= match.start() < behind), None)
            found += [match[0].rstrip()] if inside is None else []
            start = inside or match.end()
        return found

    def _solid(self) -> Iterator[tuple[int, int]]:
        """Where keys and scalars begin and end: a `#` in there begins no comment."""
        yield from ((self.key(path), self.colon(path)) for path in self._keys)
        for path in self._values:
            if not isinstance(self.value(path), dict | list):
                yield self.start(path), self.end(path)

    @property
    def line_break(self) -> str:
        """How this text ends its lines."""
        found = _BREAK.search(self.text)
        return "\r\n" if found and found[0] == "\r\n" else "\n"

    def _offset(self, position: Position) -> int:
        return self._lines[position.line - 1] + position.column - 1

    def _closing(self, offset: int) -> int:
        """Behind the bracket that follows `offset` with nothing before it but commas, spaces and comments."""
        found = _BETWEEN.match(self.text, offset)
        place = found.end() if found else offset
        if self.text[place : place + 1] not in {"}", "]"}:
            raise Unclear("the closing bracket was not found")
        return place + 1

    def _scalar_end(self, path: Path) -> int:
        start = self.start(path)
        first = self.text[start : start + 1]
        if first in _QUOTED:
            return self._matched(_QUOTED[first], start)
        if self.value(path) is None:
            return self._matched(_NULL, start)
        if any(self.flow(path[:length]) for length in range(len(path))):
            end = self._matched(_FLOW_PLAIN, start)
            return start + len(self.text[start:end].rstrip())
        if first in {"|", ">"}:
            return self._block_end(start, self.column(path[:-1]))
        return self._plain_end(start, self.column(path[:-1]))

    def _matched(self, pattern: re.Pattern[str], start: int) -> int:
        found = pattern.match(self.text, start)
        if found is None:
            raise Unclear("a value is written in a way that is not followed here")
        return found.end()

    def _block_end(self, start: int, indentation: int) -> int:
        """The end of a `|` or `>` text: its last line that is indented more; with `+` also the empty ones behind it."""
        keep = "+" in self.text[start : self._matched(_HEADER, start)]
        end = self.line_end(start)
        for begin, stop in self._lines_after(start):
            line = self.text[begin:stop]
            if line.strip(" ") and _indentation(line) <= indentation:
                break
            end = stop if line.strip(" ") or keep else end
        return end

    def _plain_end(self, start: int, indentation: int) -> int:
        """The end of an unquoted text outside brackets, which goes on in lines that are indented more."""
        end = self._matched(_BLOCK_PLAIN, start)
        end = start + len(self.text[start:end].rstrip())
        if self.text[end : self.line_end(end)].strip():
            return end
        for begin, stop in self._lines_after(start):
            line = self.text[begin:stop]
            if line.strip() and (_indentation(line) <= indentation or line.lstrip().startswith("#")):
                break
            if line.strip():
                cut = self._matched(_BLOCK_PLAIN, begin)
                end = begin + len(self.text[begin:cut].rstrip())
                if cut < stop:
                    break
        return end

    def _lines_after(self, offset: int) -> list[tuple[int, int]]:
        """Begin and end of every line after that of `offset`."""
        return [(line, self.line_end(line)) for line in self._lines if line > offset and line < len(self.text)]


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
