"""The tables of docs/definitions.md and docs/settings.md, written from the JSON schemas of the models."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from definitions.models import format_duration

Schema = Mapping[str, Any]


def tables(schema: Schema, first: Sequence[str] = ()) -> str:
    """A heading and a table for each object in `schema`'s definitions: the schema itself, `first`, then the others."""
    objects = dict(_objects(schema))
    order = [*first, *(name for name in objects if name not in first)]
    return "\n\n".join(_table(name, objects[name], schema) for name in order)


def names(schema: Schema) -> frozenset[str]:
    """Every field that any object of the schema has, as `Object.field`."""
    return frozenset(f"{name}.{field}" for name, each in _objects(schema) for field in each["properties"])


def _spelled(whole: Schema, field: Any) -> Any:
    """A field's schema with enumerations in their place: a list of words needs no section of its own."""
    if isinstance(field, list):
        return [_spelled(whole, each) for each in field]
    if not isinstance(field, dict):
        return field
    words = whole.get("$defs", {}).get(str(field.get("$ref", "")).rsplit("/", 1)[-1], {}).get("enum")
    spelled = {key: _spelled(whole, each) for key, each in field.items()}
    return {"enum": words} | {key: each for key, each in spelled.items() if key != "$ref"} if words else spelled


def without_meaning(schema: Schema) -> list[str]:
    """The fields that nobody has explained: neither themselves nor the object that they hold."""
    return [
        f"{name}.{field}"
        for name, each in _objects(schema)
        for field, one in each["properties"].items()
        if not one.get("description") and not _object_of(schema, one).get("description")
    ]


def _object_of(schema: Schema, field: Schema) -> dict[str, Any]:
    """The description of the object that the field holds, if it holds one."""
    found = schema.get("$defs", {}).get(field.get("$ref", "").rsplit("/", 1)[-1], {})
    return {"description": found["description"]} if "description" in found else {}


def _objects(schema: Schema) -> Iterator[tuple[str, Schema]]:
    own = {schema["title"]: schema} if "properties" in schema else {}
    every = own | dict(schema.get("$defs", {}))
    return ((name, each) for name, each in every.items() if each.get("properties"))


def _table(name: str, schema: Schema, whole: Schema) -> str:
    fields = {field: _object_of(whole, each) | _spelled(whole, each) for field, each in schema["properties"].items()}
    rows = [_row(field, each, field in schema.get("required", ())) for field, each in fields.items()]
    text = schema.get("description", "")
    return "\n".join(
        [
            f"### {name}",
            "",
            *([text, ""] if text else []),
            "| field | type | default | meaning |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def _row(field: str, schema: Schema, required: bool) -> str:
    default = "required" if required else _default(schema)
    text = " ".join(schema.get("description", "").split())
    return f"| `{field}` | {_cell(kind(schema))} | {default} | {_cell(text)} |"


def _default(schema: Schema) -> str:
    value = schema.get("default")
    if isinstance(value, dict | list) or value in (None, ""):
        return ""
    if is_duration(schema) and isinstance(value, str) and value.startswith("P"):
        return f"`{format_duration(TypeAdapter(timedelta).validate_python(value))}`"
    return f"`{_literal(value)}`"


def is_duration(schema: Schema) -> bool:
    return any("(ms|s|m|h|d|w)" in each.get("pattern", "") for each in schema.get("anyOf", ()))


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def kind(schema: Schema) -> str:
    """A schema as a few words: `list of text`, `Http`, `hold, retry or fail`."""
    if schema.get("$ref", "").endswith("/JsonValue"):
        return "any value"
    if "$ref" in schema:
        return f"[{(name := schema['$ref'].rsplit('/', 1)[1])}](#{name.lower()})"
    if "const" in schema:
        return f"`{_literal(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{_literal(each)}`" for each in schema["enum"])
    if is_duration(schema):
        return "duration"
    if any(key in schema for key in ("anyOf", "oneOf")):
        return " or ".join(
            dict.fromkeys(kind(each) for each in schema.get("anyOf") or schema["oneOf"] if each.get("type") != "null")
        )
    if schema.get("type") == "array":
        return f"list of {kind(schema['items'])}" if schema.get("items") else "list"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of {kind(schema['additionalProperties'])}"
    return {
        "string": "text",
        "object": "map",
        "integer": "integer",
        "number": "number",
        "boolean": "true or false",
    }.get(schema.get("type", ""), "any value")
