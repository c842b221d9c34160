"""A sample of mutations says something only if each is one change, is a module, and comes under the same number again."""

import ast

import pytest

from tests.mutation.mutations import mutated, mutations
from tests.mutation.trial import TESTS
from tests.project.modules import ROOT

SOURCE = '''
def choose(a: int | None, b=1):
    """What is chosen."""
    if a is None and b:
        work(b)
    return {"x": a + 2, "y": a < b}


def tell() -> None:
    return choose(None)
'''


def test_each_slip_is_one_of_the_known_ones():
    assert sorted(each.what for each in mutations(SOURCE)) == [
        "1 -> 2",
        "2 -> 3",
        "a + 2 -> a - 2",
        "a < b -> a <= b",
        "a is None -> a is not None",
        "a is None and b -> a is None or b",
        "return {'x': a + 2, 'y': a < b} -> return None",
        "without 'x': a + 2",
        "without 'y': a < b",
        "work(b) -> pass",
    ]


@pytest.mark.parametrize("file", ["reconciler/plan/outcome.py", "state/phases.py"])
def test_every_mutation_is_another_module_than_the_one_before(file):
    source = (ROOT / file).read_text(encoding="utf-8")
    whole = ast.unparse(ast.parse(source))
    made = [mutated(source, each.number) for each in mutations(source)]

    assert whole not in made
    assert all(ast.parse(each) for each in made)
    assert len(set(made)) > len(made) * 0.98


def test_the_tests_that_are_asked_exist():
    assert [name for names in TESTS.values() for name in names if not (ROOT / name).exists()] == []
