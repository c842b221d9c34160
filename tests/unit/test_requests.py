"""Request files: read in their order, put aside when unreadable, and about unadopted tasks only."""

import json
import os

import pytest

from reconciler.requests import adoptions, waiting
from state.phases import Signal, TaskPhase
from tests.histories import task as record


def write(folder, name, value):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def test_requests_come_in_the_order_of_their_names(tmp_path):
    write(tmp_path, "2.json", {"by": "Bob", "selection": "none"})
    write(tmp_path, "1.json", {"by": "Ada", "selection": "all"})
    write(tmp_path, "notes.txt", "no request")

    found = waiting(tmp_path)

    assert [(each.by, each.selection) for each in found] == [("Ada", None), ("Bob", frozenset())]


def test_a_folder_that_is_not_there_holds_no_requests(tmp_path):
    assert waiting(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"by": "Ada"}',
        '{"selection": 7}',
        '{"selection": null}',
        '{"selection": "demo/a"}',
        "\x00",
    ],
)
def test_a_request_that_cannot_be_read_is_put_aside_and_the_others_count(tmp_path, text):
    write(tmp_path, "1.json", text)
    write(tmp_path, "2.json", {"selection": ["demo/alice"]})

    found = waiting(tmp_path)

    assert [each.selection for each in found] == [frozenset({"demo/alice"})]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.unreadable", "2.json"]
    assert waiting(tmp_path) == found


def test_a_request_that_is_no_plain_file_is_put_aside_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "1.json")
    (tmp_path / "2.json").mkdir()
    write(tmp_path, "3.json", {"selection": "all"})

    found = waiting(tmp_path)

    assert [each.file.name for each in found] == ["3.json"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.unreadable", "2.unreadable", "3.json"]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [("all", ["alice", "bob"]), ("none", []), (["demo/bob"], ["bob"]), (["demo/nobody", "other/alice"], [])],
)
def test_only_what_is_selected_and_not_adopted_yet_begins(tmp_path, selection, expected):
    write(tmp_path, "1.json", {"by": "Ada", "selection": selection})
    (request,) = waiting(tmp_path)
    held = [record(name, phase=TaskPhase.UNADOPTED) for name in ("alice", "bob")]
    others = [record("carl", phase=phase) for phase in TaskPhase if phase is not TaskPhase.UNADOPTED]

    changes = list(adoptions(request, [*held, *others]))

    names = {each.uid: each.name for each in held}
    assert [names[change.uid] for change in changes] == expected
    assert all((change.signal, change.cause.author) == (Signal.ADOPT, "Ada") for change in changes)
