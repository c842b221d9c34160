"""The planted bugs stay plantable: each patch fits the code as it is, says what it breaks, and names tests there are."""

import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.mutants import __main__ as hunting
from tests.mutants.__main__ import Outcome, _red, hunt, verdict
from tests.mutants.mutant import PRODUCT, mutants, plant, renew, rotated
from tests.project.modules import ROOT

MUTANTS = mutants()
EACH = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


def test_there_are_25_of_them():
    assert len(MUTANTS) == 25


@EACH
def test_a_patch_fits_the_tree_as_it_is(mutant):
    """If it does not: plant the bug by hand, `python -m tests.mutants --renew NAME`, take it out again."""
    plant(mutant, ROOT, "--check")


@EACH
def test_a_patch_breaks_the_product_and_says_what_that_violates(mutant):
    text = mutant.file.read_text(encoding="utf-8")
    changed = re.findall(r"^\+\+\+ b/(.+)$", text, flags=re.MULTILINE)

    assert mutant.breaks.endswith(".")
    assert mutant.violates
    assert changed
    assert {name.partition("/")[0] for name in changed} <= set(PRODUCT)
    assert text.count("\n@@") <= 4, "a planted bug is small"


def test_the_tests_that_should_catch_them_exist_with_the_cases_that_are_named():
    nodes = [node for mutant in MUTANTS for node in mutant.catchers]
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *nodes]

    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    assert all(mutant.catchers for mutant in MUTANTS)
    assert found.returncode == 0, found.stdout[-2000:]


def test_a_test_that_is_not_there_is_named_in_a_sentence(monkeypatch):
    @contextmanager
    def here():
        yield ROOT

    monkeypatch.setattr(hunting, "copy_of_the_tree", here)
    gone = "tests/project/test_mutants.py::test_nobody_wrote"

    assert gone in _red([replace(MUTANTS[0], catchers=(gone,))])


def test_every_mutant_has_its_turn():
    turns = [rotated(MUTANTS, 5, turn) for turn in range(5)]

    assert sorted(each.name for turn in turns for each in turn) == [each.name for each in MUTANTS]
    assert rotated(MUTANTS, 5, 327) == rotated(MUTANTS, 5, 327)


def test_a_patch_that_does_not_fit_fails_by_its_name(tmp_path):
    file = tmp_path / "gone.patch"
    file.write_text("--- a/state/gone.py\n+++ b/state/gone.py\n@@ -1 +1 @@\n-here\n+there\n")

    outcome = hunt(replace(MUTANTS[0], name="gone", file=file), workers=1)

    assert "the patch does not apply" in str(outcome)
    assert verdict([outcome], whole=False) == 1


def test_one_of_the_whole_set_may_survive_and_of_a_part_none():
    caught = [Outcome(each, "a test") for each in MUTANTS[1:]]
    survivor = Outcome(MUTANTS[0])

    assert verdict([*caught, survivor], whole=True) == 0
    assert verdict([*caught[1:], survivor, survivor], whole=True) == 1
    assert verdict([*caught[:4], survivor], whole=False) == 1


def test_a_patch_is_renewed_from_what_is_changed_in_a_work_tree(tmp_path):
    file = tmp_path / "bug.patch"
    file.write_text("Breaks: The moon.\nViolates: I7\nCaught by: tests/x.py::test_x\n\ndiff --git a/old b/old\n")
    (tmp_path / "state").mkdir()
    code = tmp_path / "state" / "code.py"
    code.write_text("one\ntwo\n")
    for command in (["init", "-q"], ["add", "state"], ["commit", "-qm", "code"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    code.write_text("one\nbug\n")

    renew(replace(MUTANTS[0], file=file), tmp_path)

    subprocess.run(["git", "checkout", "-q", "state"], cwd=tmp_path, check=True)
    plant(replace(MUTANTS[0], file=file), tmp_path)
    assert code.read_text() == "one\nbug\n"
    assert file.read_text().startswith("Breaks: The moon.\nViolates: I7\n")
