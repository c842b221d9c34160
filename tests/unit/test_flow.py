"""Order from `flow` and references, and what is said when there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from definitions.flow import MAX_STEPS, FlowError, graph

ABCD: dict[str, set[str]] = {"a": set(), "b": set(), "c": set(), "d": set()}


def test_a_list_is_in_order_and_a_list_in_it_is_together() -> None:
    made = graph(ABCD, ["a", ["b", "c"], "d"])

    assert made.predecessors == {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    assert made.order == ("a", "b", "c", "d")


def test_groups_alternate_with_depth() -> None:
    steps: dict[str, set[str]] = {name: set() for name in "abcde"}

    made = graph(steps, ["a", ["b", ["c", "d"]], "e"])

    assert made.predecessors == {"a": (), "b": ("a",), "c": ("a",), "d": ("c",), "e": ("b", "d")}


def test_a_flow_may_begin_with_a_group() -> None:
    made = graph(ABCD, [["a", "b"], "c", ["d"]])

    assert made.predecessors == {"a": (), "b": (), "c": ("a", "b"), "d": ("c",)}


def test_without_flow_the_references_are_the_order() -> None:
    made = graph({"last": {"first"}, "first": set(), "alone": set()})

    assert made.order == ("first", "alone", "last")
    assert made.display == ("last", "first", "alone")
    assert made.predecessors == {"last": ("first",), "first": (), "alone": ()}


def test_a_reference_beside_the_flow_adds_an_edge_and_is_told() -> None:
    made = graph({**ABCD, "c": {"b"}}, ["a", ["b", "c"], "d"])

    assert made.predecessors["c"] == ("a", "b")
    assert made.sideways == (("c", "b"),)


def test_a_reference_along_the_flow_is_nothing_to_tell() -> None:
    made = graph({**ABCD, "d": {"a"}}, ["a", ["b", "c"], "d"])

    assert made.sideways == ()


def test_mutual_references_print_the_cycle_with_both_names() -> None:
    with pytest.raises(FlowError, match=r"b -> c -> b$") as caught:
        graph({**ABCD, "c": {"b"}, "b": {"c"}}, ["a", ["b", "c"], "d"])

    assert caught.value.code == "E-GRAPH"


def test_each_step_of_a_printed_cycle_waits_for_the_next() -> None:
    with pytest.raises(FlowError, match=r"a -> c -> b -> a$"):
        graph({"a": {"c"}, "b": {"a"}, "c": {"b"}})


def test_a_reference_against_the_flow_is_a_cycle() -> None:
    with pytest.raises(FlowError, match=r"a -> d"):
        graph({**ABCD, "a": {"d"}}, ["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("flow", "message", "path"),
    [
        (["a", "b", "c", "d", "e"], "unknown step `e`", (4,)),
        (["a", ["b", "a"], "c", "d"], "`a` stands in `flow` twice", (1, 1)),
        (["a", "b", "d"], "`c` is missing from `flow`", ()),
        (["a", [], "b", "c", "d"], "an empty group", (1,)),
        (["a", ["b", []], "c", "d"], "an empty group", (1, 1)),
        (["a", 5, "b", "c", "d"], "5 is neither", (1,)),
        (["a", {"b": 1}, "c", "d"], "neither", (1,)),
    ],
)
def test_a_bad_entry_is_told_with_its_place(flow: list[object], message: str, path: tuple[int, ...]) -> None:
    with pytest.raises(FlowError, match=message) as caught:
        graph(ABCD, flow)

    assert caught.value.path == path


def test_a_step_that_needs_itself_is_told() -> None:
    with pytest.raises(FlowError, match="itself: a -> a"):
        graph({"a": {"a"}})


def test_too_many_steps_are_refused_before_anything_is_drawn() -> None:
    with pytest.raises(FlowError) as caught:
        graph({f"s{number}": set() for number in range(MAX_STEPS + 1)})

    assert caught.value.code == "E-LIMIT"


def test_a_long_cycle_is_cut() -> None:
    steps = {f"s{number}": {f"s{(number + 1) % 400}"} for number in range(400)}

    with pytest.raises(FlowError) as caught:
        graph(steps)

    assert len(str(caught.value)) < 300


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from("abcdefgh")), min_size=1))
def test_every_graph_is_ordered_or_told(raw: dict[str, set[str]]) -> None:
    steps = {name: needs & raw.keys() for name, needs in raw.items()}
    try:
        made = graph(steps)
    except FlowError:
        assert any(_reaches(steps, name, name) for name in steps)
        return
    place = {name: index for index, name in enumerate(made.order)}
    assert place.keys() == steps.keys()
    assert all(place[needed] < place[name] for name, needs in steps.items() for needed in needs)


def _reaches(steps: dict[str, set[str]], start: str, end: str) -> bool:
    """Whether `start` waits for `end`, directly or not."""
    seen: set[str] = set()
    waiting = set(steps[start])
    while waiting:
        seen |= waiting
        waiting = {deeper for name in waiting for deeper in steps[name]} - seen
    return end in seen
