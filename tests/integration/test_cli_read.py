"""The reading commands over a real state folder and over the real API of the same folder: one answer, two ways."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.app import app
from state.logs import Logs
from state.records import task_uid
from tests.read_side import World, grade_class, served

ALICE = task_uid("main", "demo", "grade-alice", 1)
BOB = task_uid("main", "默认", "评分 鲍勃", 1)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    found = grade_class(tmp_path_factory.mktemp("state"))
    Logs(found.folder / "logs").log(ALICE, "step1", 1).write(b"GET /api1\n\x1b[31mred\n")
    Logs(found.folder / "logs").log(BOB, "step1", 1).write(b"no newline at the end")
    yield found
    found.close()


@pytest.fixture(scope="module")
def address(world) -> Iterator[str]:
    with served(world.folder) as found:
        yield found


@pytest.fixture(params=["state", "server"])
def invoke(request, world, address):
    place = ["--state", str(world.folder)] if request.param == "state" else ["--server", address]

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, *place])

    return run


def test_tasks_are_listed_with_their_states(invoke):
    result = invoke("get", "tasks")

    assert result.exit_code == 0, result.output
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["NAMESPACE", "NAME", "STATE", "REASON", "PROGRESS", "AGE", "MESSAGE"]
    assert len(rows) == 4
    assert any("grade-alice" in row and "RUNNING" in row for row in rows)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--status", "FAILED"], {"grade-carol"}),
        (["--status", "failed"], {"grade-carol"}),
        (["-n", "默认"], {"评分 鲍勃"}),
        (["-l", "class=a"], {"grade-alice", "grade-carol"}),
        (["--workflow", "other"], set()),
        (["--sort", "due", "--limit", "1"], {"grade-alice"}),
    ],
)
def test_tasks_are_filtered(invoke, filters, names):
    found = json.loads(invoke("get", "tasks", "-o", "json", *filters).stdout)

    assert {each["metadata"]["name"] for each in found["items"]} == names


def test_one_task_is_shown_whole(invoke):
    assert "desired by: tasks/all.yaml" in invoke("get", "task", "grade-alice").stdout
    assert json.loads(invoke("get", "task", "demo/grade-alice", "-o", "json").stdout)["kind"] == "Task"


def test_the_tree_has_every_step(invoke):
    lines = invoke("tree", "grade-alice").stdout.splitlines()

    assert [line.split()[1] for line in lines] == [
        "demo/grade-alice",
        "step1",
        "step2",
        "api2",
        "api3",
        "step3",
        "step4",
        "api5",
        "api6",
    ]
    assert len(json.loads(invoke("tree", "grade-alice", "-o", "json").stdout)) == 4


def test_a_finished_task_is_followed_no_longer_than_needed(invoke):
    result = invoke("tree", "评分 鲍勃", "-f")

    assert result.exit_code == 0
    assert "默认/评分 鲍勃  FINISHED" in result.stdout


def test_why_says_what_a_task_waits_for_and_what_failed(invoke):
    assert "until is not true yet" in invoke("why", "grade-alice").stdout
    carol = invoke("why", "grade-carol").stdout
    assert "demo/grade-carol is FAILED" in carol
    assert "\x1b" not in carol
    assert json.loads(invoke("why", "grade-carol", "-o", "json").stdout)["lastChange"]["after"] == "failed"


def test_the_log_of_a_step_is_printed_inert(invoke):
    assert invoke("logs", "grade-alice", "step1").stdout == "GET /api1\n�[31mred\n"
    assert invoke("logs", "grade-alice").stdout.startswith("GET /api1")
    assert json.loads(invoke("logs", "grade-alice", "-o", "json").stdout)[0]["step"] == "step1"


def test_a_log_is_followed_until_its_task_has_ended(invoke):
    result = invoke("logs", "评分 鲍勃", "-f")

    assert result.exit_code == 0
    assert result.stdout == "== step1 ==\nno newline at the end\n"


def test_a_step_without_a_log_says_how_to_find_the_steps(invoke):
    result = invoke("logs", "grade-alice", "step9")

    assert result.exit_code == 1
    assert "reconciler tree" in result.stderr


def test_events_tell_what_changed_and_who_caused_it(invoke):
    everything = invoke("get", "events").stdout.splitlines()
    of_carol = invoke("get", "events", "--task", "grade-carol").stdout.splitlines()

    assert 1 < len(of_carol) < len(everything)
    assert "Ada" in of_carol[1]
    assert everything[0].split()[:3] == ["TIME", "OF", "WHAT"]
    assert any("demo/grade-carol" in line for line in everything), "a list of all says whose each change is"


def test_sources_definitions_and_revisions_are_listed(invoke):
    assert "c0ffeec0ff" in invoke("get", "sources").stdout
    assert "3:5 E-UNKNOWN-FIELD" in invoke("get", "definitions", "--rejected").stdout
    assert len(invoke("get", "definitions", "--kind", "Workflow").stdout.splitlines()) == 2
    assert "Grade them" in invoke("get", "revisions").stdout


@pytest.fixture
def heartbeat(world) -> Iterator[Path]:
    file = world.folder / "heartbeat"
    file.touch()
    yield file
    file.unlink()


@pytest.mark.parametrize("words", [("why", "grade-alice"), ("tree", "grade-alice"), ("get", "tasks")])
def test_a_controller_that_is_gone_is_said_before_the_answer(invoke, heartbeat, words):
    alive = invoke(*words)
    os.utime(heartbeat, (1, 1))

    gone = invoke(*words)

    assert alive.stderr == ""
    assert gone.stderr.startswith("the controller has not been heard of for ")
    assert gone.stderr.endswith(" s: this is how it stood\n")


def test_a_controller_that_makes_no_new_call_says_why(invoke, world, heartbeat):
    counters = world.folder / "counters.json"
    kept = counters.read_bytes() if counters.exists() else b"{}"
    counters.write_text('{"closed": "the disk has 1 MiB left"}')
    try:
        for words in (("why", "grade-alice"), ("get", "sources")):
            assert invoke(*words).stderr == "the controller makes no new call: the disk has 1 MiB left\n"
    finally:
        counters.write_bytes(kept)


def test_an_empty_list_is_said_not_shown(invoke):
    result = invoke("get", "tasks", "-n", "nowhere")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "there are none\n")


def test_an_unknown_task_is_one_line_with_a_suggestion(invoke):
    result = invoke("tree", "grade-alicia")

    assert result.exit_code == 1
    assert "did you mean grade-alice" in result.stderr


def test_a_wrong_filter_is_one_line(invoke):
    result = invoke("get", "tasks", "--status", "NONSENSE")

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_what_would_be_adopted_is_shown_before_it_is_asked_for(world):
    result = CliRunner().invoke(app, ["adopt", "--all", "--dry-run", "--state", str(world.folder)])

    assert result.stdout.splitlines() == ["would adopt demo/grade-dave", "1 of 1 held back"]
    assert list((world.folder / "requests").glob("*")) == []


def test_a_request_to_adopt_is_one_file_that_names_who_when_and_what(tmp_path):
    world = grade_class(tmp_path)
    result = CliRunner().invoke(app, ["adopt", "grade-dave", "--state", str(tmp_path)])
    world.close()

    (file,) = (tmp_path / "requests").iterdir()
    request = json.loads(file.read_text())
    assert result.exit_code == 0, result.output
    assert request["selection"] == ["demo/grade-dave"]
    assert set(request) == {"by", "at", "selection"}


@pytest.mark.parametrize("arguments", [[], ["--all", "--none"], ["--all", "grade-dave"], ["grade-alice"]])
def test_an_unclear_selection_is_refused(world, arguments):
    result = CliRunner().invoke(app, ["adopt", *arguments, "--state", str(world.folder)])

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_a_folder_without_a_database_is_a_foreseen_error(tmp_path: Path):
    result = CliRunner().invoke(app, ["get", "tasks", "--state", str(tmp_path)])

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
