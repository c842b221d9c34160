"""Whether a document has the shape of one of the four kinds, told in words that help the person who wrote it.

pydantic decides; this module finds the envelope, brings the many errors of a union down to one, drops what is not in
the data from their locations, and says what would be right instead of what the validator calls it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from definitions.definition import Model
from definitions.documents import Path
from definitions.findings import Finding, listing, suggestion
from definitions.models import KINDS

VERSION = "reconciler/v1"
MAX_FINDINGS = 20


def is_ours(value: object) -> bool:
    """Whether a document says that it is one of ours, of whatever version."""
    version = value.get("apiVersion") if isinstance(value, dict) else None
    return isinstance(version, str) and version.startswith("reconciler/v")


def is_stray(value: object) -> bool:
    """Whether a document has one of our kinds and no `apiVersion` that makes it another system's."""
    if not isinstance(value, dict) or value.get("kind") not in tuple(KINDS) or is_ours(value):
        return False
    version = value.get("apiVersion")
    return version is None or "reconciler" in str(version).lower()


def shape(value: Mapping[str, Any]) -> Model | tuple[Finding, ...]:
    """The model of one of our documents, or what is wrong with its shape."""
    if value["apiVersion"] != VERSION:
        message = f"{value['apiVersion']!r:.60} is not known to this version; write {VERSION}"
        return (Finding(("apiVersion",), "E-API-VERSION", message),)
    kind = value.get("kind")
    if kind is None:
        return (Finding((), "E-KIND", f"`kind` is missing; one of {listing(KINDS)}"),)
    if not isinstance(kind, str) or kind not in KINDS:
        hint = suggestion(kind, KINDS) if isinstance(kind, str) else ""
        message = f"unknown kind {kind!r:.60}{hint or f'; one of {listing(KINDS)}'}"
        return (Finding(("kind",), "E-KIND", message),)
    try:
        return KINDS[kind].model_validate(value)
    except ValidationError as error:
        return tuple(_findings(value, KINDS[kind], error))[:MAX_FINDINGS]


def _findings(value: Mapping[str, Any], model: type[BaseModel], error: ValidationError) -> Iterable[Finding]:
    """One finding for each place in the data, whatever number of union branches failed there."""
    places: dict[tuple[Path, str], list[ErrorDetails]] = {}
    for each in error.errors(include_url=False, include_input=False):
        places.setdefault((_path(value, each), _code(each)), []).append(each)
    inner = {path[:length] for path, _ in places for length in range(len(path))}
    for (path, code), errors in places.items():
        if path not in inner or not all(each["type"] in _WANTED for each in errors):  # another branch came further
            yield _finding(value, model, path, code, errors)


def _code(error: ErrorDetails) -> str:
    return {"extra_forbidden": "E-UNKNOWN-FIELD", "missing": "E-MISSING-FIELD"}.get(error["type"], "E-FIELD")


def _path(value: Any, error: ErrorDetails) -> Path:
    """The location as far as it is in the data: names of union branches and of missing fields are dropped."""
    path: list[str | int] = []
    for part in error["loc"]:
        if _has(value, part):
            value = value[part]
            path.append(part)
    return tuple(path)


def _has(value: object, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def _finding(
    value: Mapping[str, Any], model: type[BaseModel], path: Path, code: str, errors: list[ErrorDetails]
) -> Finding:
    first = errors[0]
    if code == "E-UNKNOWN-FIELD":
        known = _fields(model, path[:-1])
        hint = suggestion(str(path[-1]), known) or (f"; known here: {listing(known)}" if known else "")
        return Finding(path, code, f"unknown field `{_short(path[-1])}`{hint}", on_key=True)
    if code == "E-MISSING-FIELD":
        missing = listing(str(each["loc"][-1]) for each in errors)
        return Finding(path, code, f"missing {'field' if len(errors) == 1 else 'fields'} {missing}")
    on_key = first["loc"][-1:] == ("[key]",)  # a check of the whole model has no location
    return Finding(path, code, _sentence(_dig(value, path), path, errors), on_key=on_key)


def _sentence(value: object, path: Path, errors: list[ErrorDetails]) -> str:
    """`must be …, not …`, or what our own check says."""
    own = next((each for each in errors if each["type"] in ("value_error", "assertion_error")), None)
    if own is not None:
        return str(own["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    name = f"`{_short(path[-1])}` " if path and isinstance(path[-1], str) else ""
    wanted = " or ".join(dict.fromkeys(_wanted(each) for each in errors))
    quote = isinstance(value, bool | int | float) and any(each["type"] == "string_type" for each in errors)
    hint = f'; write it in quotes: "{_spelled(value)}"' if quote else _in_full(path, value)
    return f"{name}must be {wanted}, not {_described(value)}{hint}"


def _in_full(path: Path, value: object) -> str:
    """How what was written short, as some fields can be, is written here."""
    key = str(path[-1]) if path else ""
    if key == "wait" and isinstance(value, str | int | float) and not isinstance(value, bool):
        moment = isinstance(value, str) and "-" in value
        said = "{until: " if moment else "{for: "
        return f"; write `{key}: {said}{_short(str(value))}{'' if isinstance(value, str) else 's'}}}`"
    return f"; write `{key}: {{message: …}}`" if key == "approval" and isinstance(value, str) else ""


def _wanted(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("literal_error", "enum"):
        return f"one of {context.get('expected', '')}".replace("one of 'unlimited'", "'unlimited'")
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    return _WANTED.get(kind, str(error["msg"]).removeprefix("Input should be ").lower())


_BOUNDS = {
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "string_too_short": "text of at least {min_length} character(s)",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text like {pattern}",
    "too_short": "of at least {min_length} item(s)",
}
_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "timedelta_type": "a duration",
}


def _described(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"the number {value}" if isinstance(value, int | float) else f"{value!r:.60}"


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fields(model: type[BaseModel], path: Path) -> list[str]:
    """The field names, as in files, of the model at `path`; [] if that is not a model."""
    current: list[Any] = [model]
    for part in path:
        current = [deeper for each in current for deeper in _inside(each, part)]
    found = [each for each in current if isinstance(each, type) and issubclass(each, BaseModel)]
    return [field.alias or name for each in found for name, field in each.model_fields.items()]


def _inside(annotation: Any, part: str | int) -> list[Any]:
    """The types that the value behind `part` may have in a value of this type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        return [
            leaf
            for name, field in fields.items()
            if (field.alias or name) == part
            for leaf in _leaves(field.annotation)
        ]
    arguments = get_args(annotation)
    return _leaves(arguments[-1]) if arguments else []


def _leaves(annotation: Any) -> list[Any]:
    """The branches of a union and what Annotated wraps; lists and mappings stay whole."""
    arguments = get_args(annotation)
    origin = getattr(annotation, "__origin__", None)
    if not arguments or origin in (list, dict):
        return [annotation]
    if hasattr(annotation, "__metadata__"):
        return _leaves(arguments[0])
    return [leaf for each in arguments for leaf in _leaves(each)]


def _short(part: str | int) -> str:
    text = str(part)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _dig(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value
