"""The demo tree is seed 1 in our format: the same order, the same calls, the same conditions."""

from pathlib import Path

from definitions import models
from definitions.library import Library
from tests.definition_files import IMPLEMENTED, Shelf

DEMO = Path(models.__file__).parent / "demo"
CONDITIONS = {
    "api1": "result.name != None and len(result.name) != 0",
    "api2": "result.age != None and result.age != 0",
    "api3": "result.sex != None and len(result.sex) != 0",
    "api4": "result.age != 0",
    "api5": "result.grade != 0",
    "api6": "result.msg != ''",
}


def demo() -> Library:
    files = {str(path.relative_to(DEMO)): path.read_bytes() for path in sorted(DEMO.rglob("*.yaml"))}
    return Shelf(drivers=IMPLEMENTED).commit(files)


def test_the_demo_is_sound_and_says_that_step3_waits_for_step2() -> None:
    library = demo()

    assert [(problem.file, problem.code) for problem in library.problems] == [("grade.yaml", "W-FLOW")]
    assert [each.name for each in library.tasks()] == ["grade-alice"]
    assert [library.unresolved(each) for each in library.tasks()] == [None]


def test_the_steps_have_the_order_of_the_seed() -> None:
    program = demo().program("Workflow", "demo", "grade")

    assert program.order == ("step1", "step2", "step3", "step4")
    assert program.nodes["step3"].after == ("step1", "step2")
    assert [node.name for node in program.nodes["step4"].children] == ["api5", "api6"]


def test_every_api_has_the_condition_of_the_seed_and_passes_it_with_its_sample() -> None:
    library = demo()
    for name, condition in CONDITIONS.items():
        unit = library.program("Job", "demo", name).nodes["job"].unit

        assert unit is not None and unit.until is not None
        assert unit.until.expression.text == condition
        assert unit.until.expression.evaluate({"result": unit.sample})
        assert unit.until.expression.evaluate({"result": {}}) in (name in {"api4", "api5", "api6"}, False)


def test_every_demo_file_names_the_schema_in_its_first_line() -> None:
    for path in DEMO.rglob("*.yaml"):
        first = path.read_text().splitlines()[0]

        assert first.startswith("# yaml-language-server: $schema=")
        assert (path.parent / first.partition("=")[2]).resolve() == DEMO.parent / "schema.json"
