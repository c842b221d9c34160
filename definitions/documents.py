"""YAML text becomes JSON values, each with its place in the file.

Built from the parser's events by a loop and never from PyYAML's constructors: composing recurses (25,000 nested `[`
end the process), resolves YAML 1.1, keeps the last of two equal keys and forgets where things stood. Anchors, aliases
and tags are refused, so a file costs what its size says.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import yaml

from definitions.encoding import refusal
from definitions.problems import Position, Problem
from definitions.scalars import Scalar, ambiguity, core_tag, resolve
from definitions.values import MAX_DEPTH, Json

MAX_NODES: Final = 200_000
MAX_PROBLEMS: Final = 50
MAX_ALIASES: Final = 3
"""So many anchors and aliases of a file are told; who uses them uses many, and one sentence says what to do."""

Path = tuple[str | int, ...]
Event = Any  # those of the C parser and of the pure one share their fields, not their types
Mark = Any

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_COLUMN_BITS: Final = 21


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its file, its number in the file (from 0, empty ones count) and its JSON value.

    The places are kept packed, because a file may have 200,000 of them.
    """

    file: str
    index: int
    value: Json
    _values: dict[Path, int] = field(repr=False)
    _keys: dict[Path, int] = field(repr=False)

    def position(self, path: Path = ()) -> Position:
        """Where the value at `path` starts, or else its nearest known ancestor."""
        return _nearest(self._values, self._values, path)

    def key_position(self, path: Path) -> Position:
        """Where the key that leads to `path` stands; for list items and unknown paths see `position`."""
        return _nearest(self._keys, self._values, path)

    @property
    def positions(self) -> dict[Path, Position]:
        """The position of every value, by path."""
        return {path: _unpack(place) for path, place in self._values.items()}

    @property
    def key_positions(self) -> dict[Path, Position]:
        """The position of every mapping key, by the path of the value it leads to."""
        return {path: _unpack(place) for path, place in self._keys.items()}


def read(file: str, data: bytes) -> tuple[tuple[Document, ...], tuple[Problem, ...]]:
    """The documents in `data` and what is wrong with them; `file` is only a name for the problems. Never raises.

    Duplicate keys, values without a JSON form, tags, anchors and aliases reject their document, the following ones are
    still read. Of errors and warnings the first 50 each are listed, of anchors and aliases the first 3. Syntax, depth, size, count, encoding and complex keys end the reading: the documents before that point
    are returned. Empty documents are skipped. Keys are text as written: `1:` gives "1", `on:` gives "on".
    """
    if (problem := refusal(file, data)) is not None:
        return (), (problem,)
    reading = _Reading(file)
    loader = _Loader(data)
    try:
        while loader.check_event():
            reading.take(loader.get_event())
    except _Stopped:
        pass
    except yaml.YAMLError as error:
        reading.add("E-SYNTAX", *_explain(error))
    finally:
        loader.dispose()
    return tuple(reading.documents), tuple(reading.problems)


def write(value: Json) -> str:
    """`value` as block style YAML in the order of its keys; `read` gives the same value back."""
    text: str = yaml.dump(
        value, Dumper=_Writer, sort_keys=False, allow_unicode=True, default_flow_style=False, width=100
    )
    return text


class _Stopped(Exception):
    """The rest of the file is not worth reading; the problem is recorded."""


class _Writer(_Dumper):  # type: ignore[misc]  # the base is chosen at run time
    """Quotes whatever YAML 1.1 or 1.2 would not read back as text."""

    def ignore_aliases(self, data: object) -> bool:
        """Values that are shared are written out, because `read` refuses aliases."""
        return True


def _write_text(writer: Any, text: str) -> yaml.ScalarNode:
    plain = core_tag(text) == "tag:yaml.org,2002:str"
    node: yaml.ScalarNode = writer.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")
    return node


_Writer.add_representer(str, _write_text)


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is still open; `key` is the one whose value comes next."""

    container: Any
    path: Path
    key: str | None = None


class _Reading:
    """One file while it is read: events go in, documents and problems come out."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self._counts = {False: 0, True: 0}  # errors, warnings
        self._aliases = 0
        self._nodes = 0
        self._index = -1
        self._begin()

    def _begin(self) -> None:
        self._index += 1
        self._root: Any = None
        self._stack: list[_Frame] = []
        self._values: dict[Path, int] = {}
        self._keys: dict[Path, int] = {}
        self._rejected = False

    def take(self, event: Event) -> None:
        """One parser event. Raises _Stopped when the file is not worth going on."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
        elif isinstance(event, yaml.AliasEvent):
            self.add("E-ALIAS", f"the alias *{event.anchor} is refused: write the value out", event.start_mark)
            self._place(None, event.start_mark)
        elif isinstance(event, yaml.DocumentEndEvent):
            self._finish()

    def add(self, code: str, message: str, mark: Mark) -> None:
        """Record a problem at `mark`; errors reject the document. Raises _Stopped after 50 errors."""
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = Problem(self.file, line, column, code, message)
        self._counts[problem.warning] += 1
        self._aliases += code == "E-ALIAS"
        self._rejected |= not problem.warning
        if code == "E-ALIAS" and MAX_ALIASES < self._aliases <= MAX_PROBLEMS:
            return
        if self._counts[problem.warning] <= MAX_PROBLEMS:
            self.problems.append(problem)
        elif not problem.warning:
            raise _Stopped

    def _stop(self, code: str, message: str, mark: Mark) -> NoReturn:
        self.add(code, message, mark)
        raise _Stopped

    def _finish(self) -> None:
        if self._root is not None and not self._rejected:
            self.documents.append(Document(self.file, self._index, self._root, self._values, self._keys))
        self._begin()

    def _scalar(self, event: Event) -> None:
        self._refuse_properties(event)
        frame = self._stack[-1] if self._stack else None
        if frame and frame.key is None and type(frame.container) is dict:
            self._key(frame, event)
        else:
            self._place(self._resolve(event), event.start_mark)

    def _open(self, event: Event) -> None:
        self._refuse_properties(event)
        if len(self._stack) == MAX_DEPTH:
            self._stop("E-DEPTH", f"nested deeper than {MAX_DEPTH} levels", event.start_mark)
        container: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        path = self._place(container, event.start_mark)
        self._stack.append(_Frame(container, path))

    def _refuse_properties(self, event: Event) -> None:
        if event.anchor is not None:
            self.add("E-ALIAS", f"the anchor &{event.anchor} is refused: write the value out", event.start_mark)
        if event.tag is not None:
            self.add("E-TAG", f"the tag {event.tag[:60]} is refused: values are plain JSON", event.start_mark)

    def _key(self, frame: _Frame, event: Event) -> None:
        key, mark = event.value, event.start_mark
        if not key and not event.style:
            self._stop("E-KEY", "a key is missing before the colon", mark)
        path = (*frame.path, key)
        if (first := self._keys.get(path)) is not None:
            places = f"first on line {_unpack(first).line}, again on line {mark.line + 1}"
            self.add("E-DUP-KEY", f"duplicate key {key[:60]!r}: {places}", mark)
        else:
            self._keys[path] = _pack(mark)
        self._count(mark)
        frame.key = key

    def _place(self, value: Any, mark: Mark) -> Path:
        """Put the value into what is open, or make it the root; its path comes back."""
        self._count(mark)
        path: Path = ()
        if not self._stack:
            self._root = value
        elif isinstance((frame := self._stack[-1]).container, list):
            path = (*frame.path, len(frame.container))
            frame.container.append(value)
        elif frame.key is None:
            self._stop("E-KEY", "a key must be text, not a list or mapping", mark)
        else:
            path = (*frame.path, frame.key)
            frame.container.setdefault(frame.key, value)
            frame.key = None
        self._values[path] = _pack(mark)
        return path

    def _count(self, mark: Mark) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop("E-LIMIT", f"more than {MAX_NODES:,} values in one file", mark)

    def _resolve(self, event: Event) -> Scalar:
        text: str = event.value
        if event.style:
            if "\0" in text or _SURROGATE.search(text):
                self.add(
                    "E-VALUE",
                    "the text contains a character that is not text (NUL or half of a pair)",
                    event.start_mark,
                )
            return text
        try:
            value = resolve(text)
        except ValueError as error:
            self.add("E-VALUE", f"{error}; quote it if it is meant as text", event.start_mark)
            return None
        if other := ambiguity(text, value):
            message = (
                f"{text[:60]} is read as {_describe(value)}, older YAML reads {other}: quote it or write it plainly"
            )
            self.add("W-AMBIGUOUS", message, event.start_mark)
        return value


def _describe(value: Scalar) -> str:
    return "text" if isinstance(value, str) else f"the number {value}"


def _pack(mark: Mark) -> int:
    place: int = (mark.line + 1) << _COLUMN_BITS | (mark.column + 1)
    return place


def _unpack(place: int) -> Position:
    return Position(place >> _COLUMN_BITS, place & ((1 << _COLUMN_BITS) - 1))


def _nearest(first: dict[Path, int], values: dict[Path, int], path: Path) -> Position:
    place = first.get(path)
    while place is None and path:
        place = values.get(path)
        path = path[:-1]
    return _unpack(values.get((), 0) if place is None else place)


def _explain(error: yaml.YAMLError) -> tuple[str, Mark]:
    if isinstance(error, yaml.MarkedYAMLError):
        message = ": ".join(part for part in (error.context, error.problem) if part)
        return message, error.problem_mark or error.context_mark
    return " ".join(str(error).split()), None
