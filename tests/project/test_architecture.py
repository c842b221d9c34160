"""The parts of the architecture that import-linter cannot say: doors, sizes, and what lies at the top."""

import re
import subprocess
import tomllib

import pytest

from state.phases import ENDED_ATTEMPTS, PUBLIC, TABLE, AttemptPhase, Phase, Signal, State, StepPhase, TaskPhase
from tests.project.modules import PACKAGES, ROOT, libraries, modules, tree
from tests.project.picture import box_of

MAX_LINES = 400
TOP = {"reconciler", "definitions", "state", "tests", "charts", "docs", ".ci"}
SINGLE_FILES = {
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements.lock",
}
GRAB_BAGS = {"util", "utils", "helper", "helpers", "common", "base", "misc", "manager", "managers"}

# library -> the modules that may import it; a name that ends with `.` is a whole package
DOORS = {
    "git": ("definitions.sources.mirror",),
    "watchfiles": ("definitions.sources.watch",),
    "simpleeval": ("definitions.expressions",),
    "yaml": ("definitions.documents", "definitions.scalars"),
    "httpx": ("reconciler.drivers.http",),
    "httpcore": ("reconciler.drivers.http",),
    "docker": ("reconciler.drivers.engine",),
    "kubernetes": ("reconciler.drivers.kubernetes",),
    "apscheduler": ("definitions.cron",),
    "pydantic_monty": ("reconciler.drivers.script",),
    "sqlite3": ("state.",),
    "sqlite_utils": ("state.",),
    "fastapi": ("reconciler.api.",),
    "starlette": ("reconciler.api.",),
    "uvicorn": ("reconciler.api.",),
    "jinja2": ("reconciler.api.",),
    "typer": ("reconciler.cli.",),
    "rich": ("reconciler.cli.",),
}


def tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [name for name in listing.stdout.split("\0") if name]


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_client_library_has_one_door(library):
    users = {module for module in modules() if library in libraries(module)}
    strangers = {user for user in users if not any(is_behind(user, door) for door in DOORS[library])}
    assert not strangers, f"{library} is imported by {sorted(strangers)}, its door is {DOORS[library]}"


def is_behind(module, door):
    return module.startswith(door) if door.endswith(".") else module == door


def test_every_module_that_decides_stands_in_the_contract_of_the_pure():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = [contract["source_modules"] for contract in settings if contract["id"] == "pure"]
    heads = {".".join(module.split(".")[:2]) for module in modules() if box_of(module) in {"plan", "definitions"}}
    assert sorted(heads - set(pure) - {"definitions.schema"}) == []


def test_every_init_is_empty():
    filled = [
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("__init__.py")
        if file.stat().st_size
    ]
    assert filled == []


def test_every_folder_with_modules_is_a_package():
    folders = {file.parent for file in modules().values()}
    assert [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_every_module_says_why_it_exists():
    silent = [
        module for module in modules() if not any(isinstance(node.value.value, str) for node in docstrings(module))
    ]
    assert silent == []


def docstrings(module):
    first = tree(module).body[:1]
    return [node for node in first if hasattr(node, "value") and hasattr(node.value, "value")]


def test_no_module_is_too_long_to_read():
    long = {
        module: count for module, file in modules().items() if (count := file.read_bytes().count(b"\n")) > MAX_LINES
    }
    assert long == {}


def test_no_module_is_a_grab_bag():
    assert [module for module in modules() if GRAB_BAGS & set(re.split(r"[._]", module))] == []


def test_the_top_level_holds_what_the_design_lists_and_nothing_else():
    names = tracked()
    assert {name.partition("/")[0] for name in names if "/" in name} <= TOP
    assert {name for name in names if "/" not in name} <= SINGLE_FILES


def test_no_test_folder_shadows_a_package():
    folders = {file.name for file in (ROOT / "tests").iterdir() if file.is_dir()}
    installed = set(PACKAGES) | {"git", "docker", "kubernetes", "httpx", "typer", "yaml"}
    assert folders & installed == set()


def test_the_wheel_holds_exactly_the_three_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES)
    assert project["tool"]["importlinter"]["root_packages"] == list(PACKAGES)


def test_the_lock_has_a_hash_for_everything_and_no_address():
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in lock


def test_every_phase_has_a_public_state_and_every_state_a_phase():
    phases: set[Phase] = {*TaskPhase, *StepPhase, *AttemptPhase}
    assert set(PUBLIC) == phases
    assert set(PUBLIC.values()) == set(State)


def test_the_transition_table_never_leaves_a_kind_of_phase():
    assert [key for key, after in TABLE.items() if type(key[0]) is not type(after)] == []


def test_an_ended_attempt_has_no_way_on():
    assert [key for key in TABLE if isinstance(key[0], AttemptPhase) and key[0] in ENDED_ATTEMPTS] == []


def test_every_signal_can_happen():
    assert {signal for _, signal in TABLE} == set(Signal)


@pytest.mark.parametrize("kind", [TaskPhase, StepPhase, AttemptPhase])
def test_every_phase_can_be_reached(kind):
    beginnings = {TaskPhase.UNADOPTED, TaskPhase.CREATED, StepPhase.WAITING, AttemptPhase.INTENT}
    assert set(kind) - {after for after in TABLE.values() if isinstance(after, kind)} <= beginnings
