"""What is written is true: pages equal their generators, examples validate, commands exist, links lead somewhere."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from definitions.library import build
from definitions.sources.folder import FolderSource
from reconciler.settings import load
from tests.project import commands, fields, picture, write_docs
from tests.project.modules import ROOT, modules
from tests.project.test_architecture import tracked

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "charts").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CHANGED = "`make docs` writes it again"


def fenced(language):
    """(page, text) of every block of that language."""
    return [
        pytest.param(page, text, id=f"{page.name}-{number}")
        for page in PAGES
        for number, (kind, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
        if kind == language
    ]


def console_lines():
    lines = {
        line.removeprefix("$ ").strip()
        for parameter in fenced("console")
        for line in str(parameter.values[1]).splitlines()
        if line.removeprefix("$ ").startswith("reconciler ")
    }
    return sorted(lines)


@pytest.mark.parametrize("name", sorted(write_docs.PAGES))
def test_a_generated_page_is_what_its_generator_writes(name):
    assert (write_docs.DOCS / name).read_text(encoding="utf-8") == write_docs.PAGES[name](), CHANGED


def test_the_picture_shows_the_imports_and_nothing_else():
    text = (write_docs.DOCS / "architecture.md").read_text(encoding="utf-8")
    drawn = frozenset(re.findall(r"^  (\w+) --> (\w+)$", text, flags=re.MULTILINE))
    assert drawn == picture.arrows(), CHANGED


def test_every_module_stands_in_a_box_of_the_picture():
    assert [module for module in modules() if picture.box_of(module) is None] == []


def test_the_picture_has_no_way_back():
    arrows = picture.arrows()
    assert [(one, other) for one, other in arrows if (other, one) in arrows] == []


def test_every_field_of_every_kind_is_documented():
    text = (write_docs.DOCS / "definitions.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", text, flags=re.DOTALL | re.MULTILINE))
    missing = [
        name
        for name in fields.names(write_docs.definition_schema())
        if f"| `{name.split('.')[1]}` |" not in sections.get(name.split(".")[0], "")
    ]
    assert missing == []


def test_every_field_of_every_kind_has_a_meaning():
    assert fields.without_meaning(write_docs.definition_schema()) == []


@pytest.mark.parametrize("rule", range(1, 15))
def test_every_rule_of_meaning_has_its_place_in_the_concepts_and_a_scenario_named_after_it(rule):
    headings = re.findall(
        r"^## .*\(rules? (.*)\)$", (write_docs.DOCS / "concepts.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    scenarios = list((ROOT / "tests" / "scenarios").glob(f"rule_{rule:02}_*.yaml"))

    assert [numbers for numbers in headings if str(rule) in re.findall(r"\d+", numbers)] != []
    assert scenarios != []


def test_every_setting_has_a_meaning():
    assert fields.without_meaning(write_docs.settings_schema()) == []


@pytest.mark.parametrize(("page", "text"), fenced("yaml"))
def test_an_example_is_a_library_without_a_problem(page, text, tmp_path):
    (tmp_path / "example.yaml").write_text(text, encoding="utf-8")
    source = FolderSource("main", tmp_path, ".", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    library = build(source.tree(source.revision()), source.read, drivers=frozenset({"http", "process", "container"}))
    assert [str(problem) for problem in library.problems] == []
    assert len(library.definitions) == text.count("apiVersion: reconciler/v1")
    assert library.definitions


@pytest.mark.parametrize("line", console_lines())
def test_a_command_in_the_documentation_exists_with_its_flags(line):
    command, flags = commands.called(line)
    assert command, f"there is no such command: {line}"
    assert flags <= command.flags, f"{line}: unknown {sorted(flags - command.flags)}"


def test_every_command_says_what_it_does_and_gives_an_example():
    silent = [
        " ".join(words) for words, each in commands.commands().items() if not re.search(r"reconciler \w", each.text)
    ]
    assert silent == []


def test_every_option_says_what_it_does():
    silent = [
        f"{' '.join(words)} {option.opts[0]}"
        for words, each in commands.commands().items()
        for option in (*each.arguments, *each.options)
        if not option.help
    ]
    assert silent == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_to_a_file_or_heading_that_exists(page):
    text = page.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if not leads_somewhere(page, target)] == []


def leads_somewhere(page: Path, target: str) -> bool:
    name, _, heading = target.partition("#")
    file = page.parent / name if name else page
    return file.exists() and (not heading or heading in anchors(file))


def anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_readme():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"{page.name})" not in text] == []


def test_every_make_target_in_the_documentation_exists():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:`|\$ )make ([a-z0-9-]+)", page.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= targets


def test_the_promise_is_the_same_on_every_page_that_makes_it():
    pages = (ROOT / "README.md", ROOT / "docs" / "reliability.md")
    promises = {
        re.search(r"^\(a\) a recorded run .*?(?=^$)", page.read_text(), re.DOTALL | re.MULTILINE)[0] for page in pages
    }
    assert len(promises) == 1


def test_no_file_claims_what_no_controller_can_keep():
    forbidden = re.compile("exactly" + "[ -]once", re.IGNORECASE)
    assert [name for name, text in texts() if forbidden.search(text)] == []


def test_nothing_is_left_to_do():
    forbidden = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [name for name, text in texts() if forbidden.search(text)] == []


def texts():
    for name in tracked():
        file = ROOT / name
        if file.is_file() and name != "LICENSE":
            yield name, file.read_text(encoding="utf-8", errors="replace")


def test_the_variables_in_the_settings_page_are_understood():
    text = (write_docs.DOCS / "settings.md").read_text(encoding="utf-8")
    examples = dict(re.findall(r"`(RECONCILER_\w+)=(\w+)`", text))
    assert examples
    load(None, examples, {})
