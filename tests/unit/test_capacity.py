"""Room: which claims are granted, in which order, and what those are told that find none."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.actions import Action, Claim
from reconciler.observed import Limits
from reconciler.plan.capacity import grant
from state.changes import StepAdvanced
from state.phases import Signal
from state.records import Cause, Uid
from state.room import QUEUED_FOR_CAPACITY, QUEUED_FOR_GROUP, REPLACED, Usage

PLAN = Cause("plan")
IDLE, FREE = Usage(), Limits()


def start(name: str, namespace: str = "demo", rank: int = 1, **claim: Any) -> Action:
    """A start that asks for room; `name` tells it from the others."""
    said = {"driver": "http", "group": f"{namespace}/ask", "limit": None, **claim}
    uid = Uid(name)
    changes = (StepAdvanced(uid, "a", Signal.START, PLAN),)
    denied = (StepAdvanced(uid, "a", Signal.QUEUE, PLAN),)
    return Action(">", uid, name, "attempt 1", changes, None, Claim(namespace, rank=rank, **said), denied)


def away(name: str, policy: str, rank: int = 1) -> Action:
    """A start of a group of one, with what is written where it does not wait."""
    action = start(name, rank=rank, limit=1, group="main", policy=policy)
    skips = policy == "skip"
    said = StepAdvanced(
        action.uid, "a", Signal.SKIP if skips else Signal.CANCEL, PLAN, "GroupBusy" if skips else REPLACED
    )
    return replace(action, away=said)


def told(*actions: Action, usage: Usage = IDLE) -> list[str]:
    """Every decision in words, what goes ahead first."""
    ahead, parked = grant(actions, usage, FREE)
    return [f"{each.subject} {each.what}" for each in (*ahead, *parked)]


def test_what_does_not_wait_for_its_group_ends_where_there_is_no_place():
    actions = [away("t", "skip"), away("u", "skip", rank=2), away("v", "queue", rank=3)]

    assert told(*actions) == [
        "t attempt 1",
        "u skipped: the group main is full: 1 of 1 calls",
        "v queued: the group main is full: 1 of 1 calls",
    ]


def test_of_those_that_replace_each_other_only_the_newest_begins():
    actions = [away("u", "replace", rank=2), away("t", "queue"), away("v", "queue", rank=3)]

    assert told(*actions) == ["t replaced by v", "u replaced by v", "v attempt 1"]
    assert told(actions[0], actions[1]) == ["t replaced by u", "u attempt 1"]
    assert told(actions[1], actions[2]) == ["t attempt 1", "v queued: the group main is full: 1 of 1 calls"]


def test_a_workflow_needs_a_place_among_the_workflows_of_its_group_and_no_other_room():
    enters = start("t", driver="", group="main", limit=1)
    full = Limits(total=1, namespace=1)

    assert granted(enters, usage=Usage(busy=1, namespaces={"demo": 1}, groups={"main": 1}), limits=full) == ["t"]
    assert granted(enters, usage=Usage(runs={"main": 1})) == []


def test_who_waits_for_something_else_than_before_has_it_written():
    action = replace(start("t", limit=1, group="main"), waits=QUEUED_FOR_GROUP)

    _, (same,) = grant([action], Usage(groups={"main": 1}), FREE)
    _, (other,) = grant([action], Usage(busy=1), Limits(total=1))

    assert same.changes == ()
    (change,) = other.changes
    assert isinstance(change, StepAdvanced)
    assert (change.reason, change.group) == (QUEUED_FOR_CAPACITY, "")


def granted(*actions: Action, usage: Usage = IDLE, limits: Limits = FREE, served: str = "") -> list[str]:
    return [action.uid for action in grant(actions, usage, limits, served)[0]]


def test_without_limits_everything_goes_ahead():
    assert sorted(granted(*(start(f"t{number}") for number in range(50)))) == sorted(f"t{n}" for n in range(50))


def test_what_needs_no_room_goes_first_and_in_its_order():
    plain = [Action("=", Uid(name), name, "finished") for name in ("z", "y")]

    assert granted(start("t"), *plain, limits=Limits(total=0)) == ["z", "y"]


@pytest.mark.parametrize(
    ("limits", "usage", "expected"),
    [
        (Limits(total=3), Usage(busy=2), "3 of 3 calls under way in all"),
        (Limits(namespace=1), Usage(), "1 of 1 calls under way in the namespace demo"),
        (Limits(drivers={"http": 2}), Usage(drivers={"http": 1}), "2 of 2 calls under way by the http driver"),
    ],
)
def test_who_finds_no_room_is_told_which_limit_is_in_the_way(limits, usage, expected):
    _, (parked,) = grant([start("first", rank=1), start("second", rank=2)], usage, limits)

    (change,) = parked.changes
    assert str(parked) == f"~ second: queued: {expected}"
    assert isinstance(change, StepAdvanced)
    assert (change.reason, change.message, parked.order) == ("QueuedForCapacity", expected, None)


def test_a_closed_gate_is_not_told_as_a_number():
    _, (parked,) = grant([start("t")], Usage(busy=2), Limits(total=0))

    assert str(parked) == "~ t: queued: no new call is made now"


def test_a_full_group_has_a_reason_of_its_own():
    _, (parked,) = grant([start("t", limit=1)], Usage(groups={"demo/ask": 1}), Limits())

    (change,) = parked.changes
    assert isinstance(change, StepAdvanced)
    assert (change.reason, change.message) == ("QueuedForGroup", "the group demo/ask is full: 1 of 1 calls")


def test_nobody_takes_a_place_in_a_group_where_an_older_one_of_any_namespace_waits():
    old = start("old", rank=1, limit=1, group="main", namespace="z")
    new = start("new", rank=2, limit=9, group="main", namespace="a")
    skips = replace(away("skips", "skip", rank=3), claim=Claim("a", "http", "main", 9, 3, policy="skip"))

    assert granted(new, old, usage=Usage(groups={"main": 1}, namespaces={"z": 1})) == []
    assert granted(new, old, usage=Usage(namespaces={"z": 1})) == ["new", "old"], "there is a place for both"
    assert granted(
        start("new", rank=2, limit=1, group="main", namespace="a"), old, usage=Usage(namespaces={"z": 1})
    ) == ["old"]
    assert told(old, skips, usage=Usage(groups={"main": 1})) == [
        "skips skipped: others wait before it in the group main",
        "old queued: the group main is full: 1 of 1 calls",
    ]


def test_who_is_kept_out_by_another_limit_keeps_nobody_out_of_its_group():
    old = start("old", rank=1, limit=1, group="main", namespace="z")
    new = start("new", rank=2, limit=1, group="main", namespace="a")

    assert granted(old, new, usage=Usage(namespaces={"z": 1}), limits=Limits(namespace=1)) == ["new"]


def test_a_workflow_in_a_workflow_takes_no_place_before_an_older_task_in_line():
    enters = start("t", rank=2, driver="", group="main", limit=3)

    assert [each.uid for each in grant([enters], IDLE, FREE, waits={"main": 1})[0]] == []
    assert [each.uid for each in grant([enters], IDLE, FREE, waits={"main": 3})[0]] == ["t"]


def test_a_poll_takes_no_second_place_in_its_group():
    poll = start("poll", rank=1, begins=False)

    assert granted(poll, start("other", rank=2, limit=2), usage=Usage(groups={"demo/ask": 1})) == ["poll", "other"]


def test_the_oldest_task_comes_first_and_one_without_a_number_last():
    actions = [start("new", rank=0), start("younger", rank=7), start("older", rank=3)]

    assert granted(*actions) == ["older", "younger", "new"]


def test_the_namespace_with_less_under_way_comes_first():
    usage = Usage(busy=3, namespaces={"a": 2, "b": 1})

    assert granted(start("x", "a"), start("y", "b"), usage=usage, limits=Limits(total=4)) == ["y"]


def test_among_equals_the_turn_goes_on_after_the_one_that_was_served_last():
    actions = [start("x", "a"), start("y", "b"), start("z", "c")]

    turns = [granted(*actions, limits=Limits(total=1), served=served) for served in ("", "a", "b", "c")]

    assert turns == [["x"], ["y"], ["z"], ["x"]]


def test_a_namespace_with_a_long_line_never_starves_another():
    lines = {"a": 100, "b": 3}
    served, order = "", ""
    while lines["b"]:
        actions = [start(f"{name}{n}", name, rank=n + 1) for name, left in lines.items() for n in range(left)]
        (first,) = granted(*actions, limits=Limits(total=1), served=served)
        served = first[0]
        lines[served] -= 1
        order += served

    assert order == "ababab"


CLAIMS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["http", "process"]), st.sampled_from([None, 1, 2]), st.booleans()
    ),
    max_size=30,
)


@given(CLAIMS, st.integers(0, 5), st.integers(0, 3), st.integers(0, 3))
def test_no_limit_is_ever_exceeded_and_no_room_is_left_unused(claims, total, namespace, driver):
    limits = Limits(total=total, namespace=namespace, drivers={"http": driver})
    actions = [
        start(f"t{number}", where, number + 1, driver=how, group=f"{how}-{limit}", limit=limit, begins=begins)
        for number, (where, how, limit, begins) in enumerate(claims)
    ]

    ahead, parked = grant(actions, Usage(), limits)

    busy = Counter(each.claim.namespace for each in ahead)
    drivers = Counter(each.claim.driver for each in ahead)
    groups = Counter(each.claim.group for each in ahead if each.claim.begins)
    assert len(ahead) <= total
    assert all(count <= namespace for count in busy.values())
    assert drivers["http"] <= driver
    assert all(groups[each.claim.group] <= each.claim.limit for each in ahead if each.claim.begins and each.claim.limit)
    for each in parked:
        full = [len(ahead) >= total, busy[each.claim.namespace] >= namespace]
        full += [each.claim.driver == "http" and drivers["http"] >= driver]
        full += [each.claim.begins and each.claim.limit is not None and groups[each.claim.group] >= each.claim.limit]
        assert any(full)
    assert len(ahead) + len(parked) == len(actions)
