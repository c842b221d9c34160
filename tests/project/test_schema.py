"""The published schema is the one that the models give, and it takes and refuses what they take and refuse."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from definitions import schema
from definitions.documents import read

DEMO = schema.PUBLISHED.parent / "demo"
JOB: dict[str, Any] = {
    "apiVersion": "reconciler/v1",
    "kind": "Job",
    "metadata": {"name": "a"},
    "spec": {"http": {"url": "http://h"}},
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    published = json.loads(schema.PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    return jsonschema.Draft202012Validator(published)


def test_the_published_schema_is_what_the_models_give() -> None:
    assert schema.PUBLISHED.read_text() == schema.text(), "write definitions.schema.text() into definitions/schema.json"


@pytest.mark.parametrize("path", sorted(DEMO.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_demo_file_fits_the_schema(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    documents, _ = read(path.name, path.read_bytes())

    assert documents
    assert [error.message for document in documents for error in validator.iter_errors(document.value)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Jbo"},
        {"apiVersion": "reconciler/v2"},
        {"extra": 1},
        {"spec": {"http": {"url": "http://h", "methd": "GET"}}},
        {"spec": {"http": {"url": "http://h"}, "every": "soon"}},
        {"spec": {"http": {"url": "http://h", "idempotent": "yes"}}},
        {"metadata": {"name": "a", "labels": {"app": 2048}}},
    ],
)
def test_the_schema_refuses_what_the_models_refuse(
    change: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    assert validator.is_valid(JOB)
    assert not validator.is_valid(JOB | change)
