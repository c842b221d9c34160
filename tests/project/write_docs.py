"""The generated parts of the documentation: `python -m tests.project.write_docs` writes them, test_docs.py compares."""

import re
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter

from definitions.meanings import explained
from definitions.models import Job, Task, Trigger, Workflow
from tests.project import commands, fields, picture
from tests.project.modules import ROOT

DOCS = ROOT / "docs"
WRITTEN_FIRST = (
    "Job",
    "JobSpec",
    "Http",
    "Workflow",
    "WorkflowSpec",
    "Step",
    "Call",
    "Task",
    "TaskSpec",
    "Control",
    "StepControl",
)


def definition_schema() -> fields.Schema:
    kinds: TypeAdapter[object] = TypeAdapter(Job | Workflow | Task | Trigger)
    return explained(kinds.json_schema())


def settings_schema() -> fields.Schema:
    from reconciler.settings import Settings

    return Settings.model_json_schema()


def architecture_page() -> str:
    return _between((DOCS / "architecture.md").read_text(encoding="utf-8"), "picture", picture.draw())


def definitions_page() -> str:
    return _between(
        (DOCS / "definitions.md").read_text(encoding="utf-8"),
        "fields",
        fields.tables(definition_schema(), WRITTEN_FIRST),
    )


def settings_page() -> str:
    return _between((DOCS / "settings.md").read_text(encoding="utf-8"), "settings", fields.tables(settings_schema()))


PAGES: dict[str, Callable[[], str]] = {
    "architecture.md": architecture_page,
    "cli.md": commands.page,
    "definitions.md": definitions_page,
    "settings.md": settings_page,
}


def _between(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    replaced, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)
    assert count == 1, f"{begin} … {end} must stand in the page, at one place"
    return replaced


def write(folder: Path = DOCS) -> None:
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    write()
