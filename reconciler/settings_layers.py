"""Settings come in three layers, file, environment and flags; here they become one tree that remembers who said what.

A wrong setting is only useful as an error if it names the place where somebody wrote it.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, JsonValue, ValidationError

from definitions.documents import Document, read
from reconciler.errors import SettingsError

_PREFIX = "RECONCILER_"
# Not settings: secret values, what the process driver tells its child, where the command line finds file and server.
_OTHERS = re.compile(r"RECONCILER_(SECRET_.*|ATTEMPT_KEY|SETTINGS|SERVER)")
# A Kubernetes Service called `reconciler` puts these into every pod beside it.
_SERVICE_LINKS = re.compile(r"RECONCILER_(SERVICE_(HOST|PORT(_.+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")


class Layers:
    """The merged values and, for every leaf and key, the words that name its place."""

    def __init__(self) -> None:
        self.values: dict[str, JsonValue] = {}
        self._places: dict[tuple[str, ...], str] = {}

    def put(self, path: tuple[str, ...], value: JsonValue, place: str) -> None:
        """Set `value` at `path`, over what an earlier layer said."""
        target = self.values
        for key in path[:-1]:
            inner = target.get(key)
            if not isinstance(inner, dict):
                inner = target[key] = {}
            target = inner
        target[path[-1]] = value
        self.note(path, place)

    def note(self, path: tuple[str, ...], place: str) -> None:
        """Remember where the value at `path`, perhaps inside a list, was read."""
        self._places[path] = place

    def place(self, path: tuple[str, ...]) -> str:
        """Where the value at `path` or the nearest one around it was read."""
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path, "settings")

    def explain(self, error: ValidationError, model: type[BaseModel]) -> str:
        """Every mistake on its own line: place, setting, what is wrong and what would be right."""
        return "\n".join(self._line(each, model) for each in error.errors(include_input=False, include_url=False))

    def _line(self, error: Any, model: type[BaseModel]) -> str:
        path = tuple(str(part) for part in error["loc"])
        text = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            text = f"unknown setting{_suggestion(path, model)}"
        return f"{self.place(path)}: {'.'.join(path)}: {text}"


def read_file(layers: Layers, file: Path) -> None:
    """Put what the YAML `file` says. Raises SettingsError for a file that cannot be read or is not one mapping."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: the settings file cannot be read: {error.strerror}") from None
    documents, problems = read(str(file), data)
    if errors := [str(each) for each in problems if each.code.startswith("E-")]:
        raise SettingsError("\n".join(errors))
    if not documents:
        return
    if len(documents) > 1 or not isinstance(documents[0].value, dict):
        raise SettingsError(f"{file}:1:1: settings are one mapping of names to values")
    for path, value in _leaves((), documents[0].value):
        layers.put(path, value, _file_place(documents[0], path))
    for inner in documents[0].key_positions:
        layers.note(tuple(str(part) for part in inner), _file_place(documents[0], inner))


def read_environment(layers: Layers, environ: Mapping[str, str], model: type[BaseModel]) -> None:
    """Put what the `RECONCILER_*` variables say; a list or mapping is written as YAML. An unknown one is an error."""
    known = {variable(path): (path, plain) for path, plain in settings_paths(model)}
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or _OTHERS.fullmatch(name) or _SERVICE_LINKS.fullmatch(name):
            continue
        if name not in known:
            raise SettingsError(f"{name}: no setting has this variable{_did_you_mean(name, known)}")
        path, plain = known[name]
        layers.put(path, environ[name] if plain else _structure(name, environ[name]), name)


def read_flags(layers: Layers, flags: Mapping[str, JsonValue]) -> None:
    """Put what the command line says, by dotted path; None means not given."""
    for name, value in flags.items():
        if value is not None:
            layers.put(tuple(name.split(".")), value, f"flag {name}")


def settings_paths(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Every leaf of the tree in order, by the names in the file, and whether its value is a plain word."""
    for name, field in model.model_fields.items():
        here = (*path, field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_paths(field.annotation, here)
        else:
            yield here, not _is_structure(field.annotation)


def _is_structure(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", annotation) in {dict, list, tuple} or any(
        _is_structure(each)
        for each in get_args(annotation)
        if getattr(annotation, "__origin__", None) not in {dict, list, tuple}
    )


def variable(path: tuple[str, ...]) -> str:
    """The environment variable of the setting at `path`: RECONCILER_DISPATCH_PER_DRIVER for dispatch.perDriver."""
    return _PREFIX + "_".join(re.sub(r"(?<=[a-z])([A-Z])", r"_\1", part).upper() for part in path)


def _leaves(path: tuple[str, ...], value: JsonValue) -> Iterator[tuple[tuple[str, ...], JsonValue]]:
    if isinstance(value, dict) and (value or not path):
        for key, inner in value.items():
            yield from _leaves((*path, key), inner)
    else:
        yield path, value


def _file_place(document: Document, path: tuple[str | int, ...]) -> str:
    position = document.key_position(path)
    return f"{document.file}:{position.line}:{position.column}"


def _structure(name: str, text: str) -> JsonValue:
    documents, problems = read(name, text.encode())
    if any(each.code.startswith("E-") for each in problems) or len(documents) != 1:
        raise SettingsError(f"{name}: the value is a list or mapping in YAML or JSON, for example [a, b]")
    return documents[0].value


def _suggestion(path: tuple[str, ...], model: type[BaseModel]) -> str:
    names = [
        here[len(path) - 1]
        for here, _ in settings_paths(model)
        if here[: len(path) - 1] == path[:-1] and len(here) >= len(path)
    ]
    return _did_you_mean(path[-1], names)


def _did_you_mean(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean `{near[0]}`?" if near else ""
