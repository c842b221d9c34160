"""One mapping of a YAML document brought to a new value by the smallest changes of the text.

Only what differs is written: a scalar in its place, a new entry behind the last one in the style that is there (lines
or brackets), an entry that goes with its line. The result is read again, and must say what was asked for and nothing
else; otherwise nothing comes out.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from definitions.documents import Document, Path, read
from definitions.values import Json
from reconciler.cli.extent import Extent, Unclear
from reconciler.cli.failure import Failure
from reconciler.cli.flow_style import written

_IN_LINES: Final = 2  # `control` and `control.steps` are written as lines, what is below them in brackets
_STEP: Final = 2


class _Absent:
    """Instead of a value: there is to be none."""


_ABSENT: Final = _Absent()
_Edit = tuple[Path, Json | _Absent]


def amend(file: str, text: str, index: int, key: str, wanted: Mapping[str, Json]) -> str:
    """`text` with the mapping `key` of its document number `index` saying `wanted`, and everything else as it was.

    `file` is only a name for messages. Raises Failure where the file cannot be read or this place not be changed alone.
    """
    try:
        before = _documents(file, text)
    except Unclear as error:
        raise Failure(f"{error}; the file is not in force until that is right, so nothing was changed in it") from None
    changed, path = text, (key,)
    try:
        for edit in _edits(path, _at(before[index], path), wanted):
            document = _documents(file, changed)[index]
            changed = _apply(Extent(changed, document), *edit)
        _require(_documents(file, changed), before, index, key, wanted)
    except (Unclear, KeyError, IndexError) as error:
        place = before[index].key_position(path)
        raise Failure(
            f"{file}:{place.line}: `{key}` is written in a way that cannot be changed by itself ({error}); "
            "edit the file by hand and commit it"
        ) from None
    return changed


def _documents(file: str, text: str) -> dict[int, Document]:
    """The documents by their number. Raises Unclear with the first error."""
    documents, problems = read(file, text.encode())
    wrong = next((str(problem) for problem in problems if not problem.warning), None)
    if wrong:
        raise Unclear(wrong)
    return {document.index: document for document in documents}


def _at(document: Document, path: Path) -> Any:
    value: Any = document.value
    for part in path:
        value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value


def _edits(path: Path, old: Any, new: Any) -> Iterator[_Edit]:
    """The smallest changes that lead from `old` to `new`, what goes last."""
    if isinstance(old, dict) and isinstance(new, Mapping) and new:
        for name, value in new.items():
            yield from _edits((*path, name), old.get(name, _ABSENT), value)
        yield from (((*path, name), _ABSENT) for name in old if name not in new)
    elif isinstance(old, _Absent) or _canonical(old) != _canonical(new):
        yield path, new


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _apply(extent: Extent, path: Path, value: Json | _Absent) -> str:
    if isinstance(value, _Absent):
        return _removed(extent, path)
    try:
        extent.value(path)
    except KeyError:
        return _inserted(extent, path, value)
    start, end = extent.start(path), extent.end(path)
    if start == end or (extent.children(path) and not extent.flow(path)):
        return f"{extent.text[: extent.colon(path)]} {written(value)}{extent.text[end:]}"
    return extent.text[:start] + written(value) + extent.text[end:]


def _inserted(extent: Extent, path: Path, value: Json) -> str:
    """A new entry behind the last one of its mapping."""
    parent, text = path[:-1], extent.text
    siblings = extent.children(parent)
    if extent.flow(parent):
        end = extent.end(siblings[-1]) if siblings else extent.start(parent) + 1
        entry = f"{written(path[-1])}: {written(value)}"
        return text[:end] + (f", {entry}" if siblings else entry) + text[end:]
    end = extent.line_end(extent.end(parent))
    lines = _entry(path, value, extent.column(parent), _step(extent))
    return text[:end] + "".join(extent.line_break + line for line in lines) + text[end:]


def _entry(path: Path, value: Json, indentation: int, step: int) -> list[str]:
    """`key: value` as lines."""
    name = " " * indentation + written(path[-1]) + ":"
    if not isinstance(value, dict) or not value or len(path) > _IN_LINES:
        return [f"{name} {written(value)}"]
    below = [_entry((*path, key), each, indentation + step, step) for key, each in value.items()]
    return [name, *(line for lines in below for line in lines)]


def _step(extent: Extent) -> int:
    """How far this document indents what is below a key."""
    base = extent.column(())
    columns = (
        extent.column(path) - base
        for path in extent.children(())
        if isinstance(extent.value(path), dict) and not extent.flow(path)
    )
    return next((column for column in columns if column > 0), _STEP)


def _removed(extent: Extent, path: Path) -> str:
    return _out_of_brackets(extent, path) if extent.flow(path[:-1]) else _out_of_lines(extent, path)


def _out_of_brackets(extent: Extent, path: Path) -> str:
    text, siblings = extent.text, extent.children(path[:-1])
    number = siblings.index(path)
    start, end = extent.key(path), extent.end(path)
    if number + 1 < len(siblings):
        end = extent.key(siblings[number + 1])
    elif number and "#" not in text[extent.end(siblings[number - 1]) : start]:
        start = extent.end(siblings[number - 1])
    comments = "".join(f" {each}{extent.line_break}" for each in extent.comments(start, end))
    return text[:start] + comments + text[end:]


def _out_of_lines(extent: Extent, path: Path) -> str:
    """The lines from the key to the end of the value go; the comments in them stay, each on a line of its own."""
    text = extent.text
    start, end = extent.line_start(extent.key(path)), extent.line_end(extent.end(path))
    if text[start : extent.key(path)].strip():
        raise Unclear("other things stand on its line")
    after = end + len(text[end : end + 2]) if text[end : end + 2] == "\r\n" else end + 1
    indentation = text[start : extent.key(path)]
    comments = "".join(f"{indentation}{each}{extent.line_break}" for each in extent.comments(start, end))
    if after > len(text):
        return f"{text[:start]}{comments}".removesuffix("\n").removesuffix("\r")
    return text[:start] + comments + text[after:]


def _require(
    after: Mapping[int, Document], before: Mapping[int, Document], index: int, key: str, wanted: Mapping[str, Json]
) -> None:
    """Raises Unclear unless `after` says the same as `before` but for `key` of one document."""
    expected = {number: document.value for number, document in before.items()}
    value = expected[index]
    expected[index] = {**value, key: dict(wanted)} if isinstance(value, dict) else value
    if _canonical(expected) != _canonical({number: document.value for number, document in after.items()}):
        raise Unclear("the change would reach further than it should")
