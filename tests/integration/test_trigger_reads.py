"""Triggers as everybody reads them: over the API and by the commands, from one state folder."""

import json
import re
from datetime import UTC, datetime
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from reconciler.api.definition_models import Definition
from reconciler.api.models import Event, Page
from reconciler.api.trigger_models import Trigger
from reconciler.cli.app import app
from tests.read_side import World, grade_class, nightly, served

NOW = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    found: World = grade_class(tmp_path_factory.mktemp("state"))
    nightly(found, NOW)
    yield found
    found.close()


@pytest.fixture(scope="module")
def address(world):
    with served(world.folder, clock=lambda: NOW) as found:
        yield found


@pytest.fixture
def get(address):
    def ask(path):
        with urlopen(f"{address}/api/v1{path}", timeout=10) as response:
            return json.load(response)

    return ask


@pytest.fixture
def invoke(address):
    return lambda *words: CliRunner().invoke(app, [*words, "--server", address])


def test_a_trigger_shows_its_last_slots_and_its_next_five_times(get):
    found = get("/triggers/demo/nightly")

    Trigger.model_validate(found)
    status = found["status"]
    assert (status["state"], status["reason"]) == ("ACTIVE", "Scheduled")
    assert status["message"] == "fires next at 2026-11-23 06:30:00Z, in 1 d"
    assert [(each["at"], each["outcome"], each["task"]) for each in status["last"]] == [
        ("2026-11-21T18:00:00.000Z", "skipped", None),
        ("2026-11-20T18:00:00.000Z", "fired", "nightly-20261120T180000Z"),
        ("2026-11-19T18:00:00.000Z", "skipped", None),
    ]
    assert status["next"] == [f"2026-11-{day}T18:00:00.000Z" for day in (22, 23, 24, 25, 26)]
    assert status["lastTask"] == {"name": "nightly-20261120T180000Z", "run": 1, "state": "CREATED", "reason": ""}
    assert found["spec"]["timezone"] == "Asia/Shanghai"


def test_triggers_are_listed_in_pages_with_why_they_wait(get):
    first = get("/triggers?limit=2")
    second = get(f"/triggers?limit=2&cursor={first['next']}")

    Page[Trigger].model_validate(first)
    told = {each["metadata"]["name"]: each["status"] for each in (*first["items"], *second["items"])}
    assert {name: (each["state"], each["reason"]) for name, each in told.items()} == {
        "build": ("ACTIVE", "WaitingForCommit"),
        "nightly": ("ACTIVE", "Scheduled"),
        "paused": ("SUSPENDED", "Suspended"),
    }
    assert told["build"]["message"] == "fires at a commit that changes app/**"
    assert told["paused"]["message"] == "CHG-1; to go on: `reconciler resume --trigger demo/paused`"
    assert told["paused"]["next"] == []
    assert second["next"] is None
    assert get("/triggers?namespace=elsewhere")["items"] == []


def test_a_trigger_that_never_was_is_not_found(get):
    with pytest.raises(HTTPError, match="404"):
        get("/triggers/demo/nobody")


def test_what_a_trigger_did_stands_among_the_events_by_its_name(get):
    found = get("/events?limit=500")

    Page[Event].model_validate(found)
    of_it = [each for each in found["items"] if each["trigger"] == "nightly"]
    assert [each["after"] for each in of_it] == ["active", "skipped", "fired", "skipped"]
    assert {(each["namespace"], each["task"], each["subject"]) for each in of_it} == {("demo", "", "trigger")}


def test_a_task_says_which_trigger_made_it(get):
    assert get("/tasks/demo/nightly-20261120T180000Z")["status"]["source"]["trigger"] == "nightly"
    assert get("/tasks/demo/grade-alice")["status"]["source"]["trigger"] == ""


def test_the_definition_of_a_trigger_is_listed_too(get):
    found = get("/definitions?kind=Trigger")

    Page[Definition].model_validate(found)
    assert len(found["items"]) == 3


def test_triggers_are_listed_by_the_command(invoke):
    result = invoke("get", "triggers")

    assert result.exit_code == 0, result.output
    head, *rows = result.stdout.splitlines()
    assert head.split()[:3] == ["NAMESPACE", "NAME", "STATE"]
    assert len(rows) == 3
    assert json.loads(invoke("get", "triggers", "-o", "json").stdout)["items"][0]["kind"] == "Trigger"


@pytest.mark.parametrize("name", ["nightly", "demo/nightly"])
def test_one_trigger_is_shown_with_its_times(invoke, name):
    lines = invoke("get", "trigger", name).stdout.splitlines()

    assert lines[0].startswith("demo/nightly is ACTIVE (Scheduled): fires next at")
    assert "  2026-11-20T18:00:00.000Z  fired  nightly-20261120T180000Z" in lines
    assert "  2026-11-21T18:00:00.000Z  skipped  Overlap one is not over" in lines
    assert "  2026-11-22T18:00:00.000Z" in lines
    assert json.loads(invoke("get", "trigger", name, "-o", "json").stdout)["metadata"]["name"] == "nightly"


def test_a_trigger_that_is_not_there_is_told_with_what_was_meant(invoke):
    result = invoke("get", "trigger", "nightli")

    assert result.exit_code == 1
    assert "did you mean nightly?" in result.stderr


def test_the_events_tell_of_a_trigger_by_name_and_slot(invoke):
    assert re.search("demo/nightly  +trigger 20261121T180000Z", invoke("get", "events").stdout)
