"""The demo definitions as pins, the grade workflow first: what a task of it keeps."""

from pathlib import Path

import yaml

from definitions import models
from definitions.definition import canonical, digest_of
from state.records import Pin

DEMO = Path(models.__file__).parent / "demo"


def pin(file: Path) -> Pin:
    value = yaml.safe_load(file.read_text())
    text = canonical(value)
    name, path = value["metadata"]["name"], file.relative_to(DEMO).as_posix()
    return Pin(
        value["kind"], value["metadata"].get("namespace", "default"), name, digest_of(text), text, "c0ffee", path
    )


PINS = tuple(pin(file) for file in (DEMO / "grade.yaml", *sorted((DEMO / "apis").iterdir())))
