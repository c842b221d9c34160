"""One JSON Schema for all four kinds, so that editors complete and check definition files while they are written.

Made from the models, which stay the only description of the format; `schema.json` beside this module is what it gives,
published for the `# yaml-language-server` hint, and a test fails when the two differ.
"""

import json
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from definitions.meanings import explained
from definitions.models import Job, Task, Trigger, Workflow

_Document = Annotated[Job | Workflow | Task | Trigger, Field(discriminator="kind")]


def schema() -> dict[str, Any]:
    """The schema of one document of a definition file (JSON Schema 2020-12)."""
    made = TypeAdapter(_Document).json_schema(by_alias=True, mode="validation")
    title = {"title": "reconciler definition", "description": "A Job, Workflow, Task or Trigger (reconciler/v1)"}
    return {"$schema": GenerateJsonSchema.schema_dialect, **title, **explained(made)}


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
