"""What a file says is worked out one time in a process, however many controllers read it: they are born by the hundred.

Only pure functions are remembered, by everything that they were given, so that a history is the same with and without.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch
from weakref import WeakKeyDictionary

from definitions import library, linking
from definitions.compile import Compiled, compile_program
from definitions.definition import Definition
from definitions.files import File, locate, parse_file
from definitions.revision import Blob
from reconciler import last_good
from state import folder
from state.records import DefinitionRecord

SIZE = 512
"""So many files are remembered."""
Asked = tuple[str, str, str]
_files: OrderedDict[tuple[Blob, bytes, str], File] = OrderedDict()
_good: OrderedDict[Any, Definition | None] = OrderedDict()
_places: OrderedDict[Any, list[Any]] = OrderedDict()
_read_back = last_good.LastGood._definition
_compiled: WeakKeyDictionary[Definition, list[tuple[Any, dict[Asked, Any], Compiled]]] = WeakKeyDictionary()


@contextmanager
def remembered() -> Iterator[None]:
    """Have libraries made of files that are known."""
    with (
        patch.object(library, "parse_file", _parse_file),
        patch.object(library, "locate", _locate),
        patch.object(linking, "compile_program", _compile_program),
        patch.object(library, "compile_program", _compile_program),
        patch.object(last_good.LastGood, "_definition", staticmethod(_definition)),
        patch.object(folder, "file_system", lambda _: "tmpfs"),
    ):
        yield


def _parse_file(blob: Blob, data: bytes, commit: str) -> File:
    return _kept(_files, (blob, data, commit), lambda: parse_file(blob, data, commit))


def _locate(blob: Blob, data: bytes, findings: Any) -> list[Any]:
    told = tuple((index, tuple(found)) for index, found in findings.items())
    return list(_kept(_places, (blob, data, told), lambda: locate(blob, data, findings)))


def _definition(row: DefinitionRecord) -> Definition | None:
    told = (row.path, row.index, row.blob, row.commit, row.text)
    return cast("Definition | None", _kept(_good, told, lambda: _read_back(row)))


def _kept(known: OrderedDict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    if key not in known:
        known[key] = make()
        if len(known) > SIZE:
            known.popitem(last=False)
    return known[key]


def _compile_program(target: Definition, find: Any, *others: Any) -> Compiled:
    """The same for the same definition whose names mean the same; what asks for similar names is not remembered.

    What compiles for some drivers compiles to the same for all.
    """
    for drivers, answers, known in _compiled.get(target, ()):
        fits = drivers == others[:1] or (not others and known.program)
        if fits and all(find(*asked) == found for asked, found in answers.items()):
            return known
    meant: dict[Asked, Any] = {}
    helped: list[str] = []

    def finds(kind: str, namespace: str, name: str) -> Any:
        meant[kind, namespace, name] = found = find(kind, namespace, name)
        return found

    def similar(*asked: str) -> Any:
        helped.append("")
        return others[1](*asked)

    compiled = compile_program(target, finds, *others[:1], *([similar] if others[1:] else []))
    if not helped:
        _compiled.setdefault(target, []).append((others[:1], meant, compiled))
    return compiled
