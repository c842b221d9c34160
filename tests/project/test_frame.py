"""The frame that a newcomer meets first: make, continuous integration, the lock, the licence."""

import os
import re
import shutil
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.modules import ROOT

TARGETS = {
    "help",
    "install",
    "demo",
    "demo-docker",
    "test",
    "e2e",
    "lint",
    "format",
    "simulate",
    "pairs",
    "docs",
    "bench",
    "crash",
    "storage",
    "coverage",
    "mutation",
    "mutants",
    "lock",
    "clean",
}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def locked():
    lines = re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def test_make_without_a_target_lists_every_target():
    answer = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, check=True, text=True)
    listed = set(re.findall(r"^  make ([\w-]+) +\S", answer.stdout, flags=re.MULTILINE))
    assert listed == TARGETS


@pytest.mark.parametrize("python", ["", "false"])
def test_install_without_a_usable_python_says_what_to_install(tmp_path, python):
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    answer = subprocess.run(
        ["make", "install", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, check=False, text=True
    )
    assert answer.returncode != 0
    assert "apt install" in answer.stderr


def test_continuous_integration_runs_what_a_contributor_runs():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert re.search(r"for target in install test lint demo; do", text)
    assert "stage crash KILLS=10 POINTS=40" in text
    assert re.search(r"^stage mutants ", text, flags=re.MULTILINE)


def test_continuous_integration_does_not_go_on_without_strace(tmp_path):
    for name in ("bash", "git", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "CI": "true"}
    answer = subprocess.run(
        [tmp_path / "bash", ROOT / ".ci" / "run"], env=environment, capture_output=True, check=False, text=True
    )
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "apt install strace" in answer.stderr


def test_the_lock_satisfies_every_requirement(project, locked):
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *extras["speed"], *extras["script"]]
    wanted += [*project["dependency-groups"]["dev"], *project["build-system"]["requires"]]
    unmet = [
        str(each)
        for each in map(Requirement, wanted)
        if not each.specifier.contains(locked.get(canonicalize_name(each.name), "0"))
    ]
    assert unmet == []


def test_the_licence_is_the_one_that_is_declared(project):
    assert project["project"]["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_the_distribution_cannot_be_uploaded_by_mistake(project):
    assert "Private :: Do Not Upload" in project["project"]["classifiers"]


def test_every_lint_exception_says_why():
    text = (ROOT / "pyproject.toml").read_text()
    silent = re.findall(r'^  "[A-Z]{1,4}[0-9]{0,4}",\s*$', text, flags=re.MULTILINE)
    assert silent == []


def test_tests_do_not_see_the_users_git_configuration():
    answer = subprocess.run(
        ["git", "config", "--list", "--show-scope"], capture_output=True, check=True, text=True, cwd="/"
    )
    assert {line.split()[0] for line in answer.stdout.splitlines()} <= {"command"}
