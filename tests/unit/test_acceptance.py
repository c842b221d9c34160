"""Which revisions take away too much to be put in force without a word from somebody."""

from dataclasses import replace

import pytest

from definitions.library import Library
from definitions.revision import Revision
from reconciler.plan.acceptance import refusal
from tests.definition_files import GOOD, Shelf, task

BAD = "apiVersion: reconciler/v1\nkind: [\n"


def library(*names: str, job: str | None = GOOD) -> Library:
    """A library with a job (or a bad file, or none) and these tasks of it."""
    files = {name: task(name, "job: good, with: {name: x}") for name in names}
    return Shelf().put(**({"good": job} if job else {}), **files)


def live(count: int) -> list[tuple[str, str]]:
    return [("demo", f"t{number}") for number in range(count)]


def names(start: int, end: int) -> list[str]:
    return [f"t{number}" for number in range(start, end)]


def revision(found: Library, trailer: str = "") -> Revision:
    return replace(found.tree.revision, trailers=(("reconciler-allow-prune", trailer),) if trailer else ())


@pytest.mark.parametrize(
    ("alive", "gone", "refused"),
    [
        (5, 5, False),
        (6, 5, False),
        (6, 6, True),
        (25, 5, False),
        (30, 6, False),
        (30, 7, True),
        (100, 20, False),
        (100, 21, True),
    ],
)
def test_a_revision_may_take_away_five_tasks_or_a_fifth_of_the_live_ones(alive, gone, refused):
    found = library(*names(gone, alive))

    said = refusal(revision(found), found, live(alive), had=alive + 1)

    assert (said is not None) is refused
    if said:
        assert said.reason == "PruneBlocked"
        assert f"removes {gone} of {alive} live tasks (demo/t0, demo/t1" in said.message
        assert f"`Reconciler-Allow-Prune: {gone}`" in said.message


def test_a_folder_that_loses_many_tasks_is_told_the_flag_because_it_has_no_commits():
    found = library()
    folder = replace(found.tree.revision, commit="dir:" + "0" * 64)

    said = refusal(folder, found, live(6), had=7)

    assert said is not None
    assert said.message.endswith("to mean it, start the controller anew with `--allow-prune 6`")


@pytest.mark.parametrize(
    ("trailer", "refused"),
    [
        ("9", False),
        ("8", True),
        ("100", False),
        ("all", True),
        ("-9", True),
        ("9.0", True),
        (" 9 ", False),
        ("9" * 20, True),
    ],
)
def test_a_trailer_confirms_as_many_as_it_says(trailer, refused):
    found = library(*names(9, 10))

    said = refusal(revision(found, trailer), found, live(10), had=11)

    assert (said is not None) is refused


def test_an_emptied_tree_is_not_believed():
    empty = Shelf().commit({})

    said = refusal(revision(empty), empty, live(2), had=3)

    assert said is not None
    assert said.reason == "EmptySet"
    assert "E-EMPTY-SET" in said.message
    assert refusal(revision(empty, "2"), empty, live(2), had=3) is None


def test_an_empty_tree_is_fine_where_nothing_was_in_force():
    empty = Shelf().commit({})

    assert refusal(revision(empty), empty, (), had=0) is None


def test_a_revision_with_rejected_files_removes_nothing_and_is_taken():
    found = library(job=BAD)

    assert found.rejected
    assert refusal(revision(found), found, live(50), had=51) is None


def test_new_and_changed_tasks_need_no_confirmation():
    found = library(*names(0, 60))

    assert refusal(revision(found), found, live(3), had=4) is None
