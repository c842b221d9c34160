"""`reconciler plan` over real repositories and real state folders."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.app import app
from tests.controllers import run_until_idle
from tests.repositories import Repository

JOB = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: look}\nspec: {http: {url: 'http://127.0.0.1:1/'}}\n"
TASK = "apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: %s}\nspec: {job: look}\n"


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    found = Repository(tmp_path / "ops")
    found.commit("one job", job=JOB)
    return found


def plan(repository: Repository, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", "--source", str(repository.folder), *arguments])


def test_without_task_files_there_is_nothing_to_do_and_it_says_where_it_looked(repository):
    result = plan(repository)

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("nothing to do: 0 task files under . at HEAD (")


def test_a_new_task_is_a_change(repository):
    repository.commit("a task", one=TASK % "one")

    result = plan(repository)

    assert result.exit_code == 2, result.output
    assert result.stdout.splitlines()[0].startswith("+ default/one: run 1 of job look")


def test_uncommitted_files_are_not_planned(repository):
    repository.write("one.yaml", TASK % "one")

    assert plan(repository).exit_code == 0


def test_a_folder_source_is_planned_as_it_lies_there(repository):
    repository.write("one.yaml", TASK % "one")

    result = CliRunner().invoke(app, ["plan", "--source", f"dir:{repository.folder}"])

    assert result.exit_code == 2, result.output


def test_a_rejected_file_is_an_error_but_the_rest_is_planned(repository):
    repository.commit("good and bad", one=TASK % "one", bad=TASK.replace("spec", "spek") % "bad")

    result = plan(repository)

    assert result.exit_code == 1
    assert "bad.yaml:4:1" in result.stderr
    assert "+ default/one" in result.stdout


def test_two_commits_are_compared_as_if_the_first_were_applied(repository):
    repository.commit("one", one=TASK % "one", gone=TASK % "gone")
    (repository.folder / "gone.yaml").unlink()
    repository.commit("two", two=TASK % "two")

    result = plan(repository, "--base", "HEAD~1", "--head", "HEAD")
    lines = result.stdout.splitlines()

    assert result.exit_code == 2, result.output
    assert lines[0].startswith("assuming HEAD~1 (")
    assert any(line.startswith("- default/gone: its file was removed") for line in lines)
    assert any(line.startswith("+ default/two") for line in lines)
    assert not any("default/one" in line for line in lines)


def test_equal_commits_need_nothing(repository):
    repository.commit("one", one=TASK % "one")

    result = plan(repository, "--base", "main", "--head", "HEAD", "-o", "json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["actions"] == []


@pytest.mark.parametrize(
    "arguments",
    [["--base", "HEAD"], ["--base", "nope", "--head", "HEAD"], ["--ref", "nope"], ["--path", "nowhere"]],
)
def test_what_cannot_be_compared_is_one_line(repository, arguments):
    result = plan(repository, *arguments)

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1, result.output


def test_a_folder_without_git_is_refused_with_the_way_to_name_it(tmp_path: Path):
    result = CliRunner().invoke(app, ["plan", "--source", str(tmp_path)])

    assert result.exit_code == 1
    assert "dir:" in result.stderr


def test_a_revision_that_takes_too_much_away_would_be_refused(repository):
    names = [f"t{number}" for number in range(10)]
    repository.commit("ten", **{name: TASK % name for name in names})
    for name in names:
        (repository.folder / f"{name}.yaml").unlink()
    repository.commit("none of them")

    result = plan(repository, "--base", "HEAD~1", "--head", "HEAD")

    assert result.exit_code == 1
    assert "PruneBlocked" in result.stdout
    assert "Reconciler-Allow-Prune: 10" in result.stdout


def test_a_new_state_folder_that_holds_is_planned_as_such(repository, tmp_path):
    repository.commit("a task", one=TASK % "one")
    settings = tmp_path / "settings.yaml"
    settings.write_text("adopt: hold\n")

    result = plan(repository, "--settings", str(settings))

    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["+ default/one", "1 to do"]


def test_what_has_run_is_compared_with_the_files(repository, tmp_path):
    repository.commit("a task", one=TASK % "one")
    state = tmp_path / "state"
    place = ("--source", str(repository.folder), "--state", str(state))
    CliRunner().invoke(app, ["run", *place, "--listen", "off", "--until-idle"])
    same = CliRunner().invoke(app, ["plan", *place])
    repository.commit("again", one=TASK % "one" + "control: {run: 2}\n")
    again = CliRunner().invoke(app, ["plan", *place])

    assert same.exit_code == 0, same.output
    assert same.stdout.startswith("nothing to do: 1 task file under . at HEAD (")
    assert again.exit_code == 2
    assert "+ default/one: run 2 of job look" in again.stdout


# -- triggers ------------------------------------------------------------------------------------------------------------

TRIGGER = "apiVersion: reconciler/v1\nkind: Trigger\nmetadata: {name: %s}\nspec:\n  task: {job: look}\n  %s\n"


def test_a_new_trigger_says_when_it_fires_and_when_it_would_have(repository):
    repository.commit("a trigger", nightly=TRIGGER % ("nightly", 'cron: "0 2 29 2 *"'))

    result = plan(repository)

    assert result.exit_code == 2, result.output
    assert "\n+ default/nightly: trigger: begins; next at 20" in result.stdout
    told = next(line for line in result.output.splitlines() if "would have fired at" in line)
    assert "default/nightly: fires at 20" in told and "2024-02-29 02:00:00Z, and does not make up for that" in told


def test_a_trigger_that_is_in_force_and_not_due_is_nothing_to_do(repository, tmp_path):
    repository.commit("a trigger", nightly=TRIGGER % ("nightly", 'cron: "0 2 29 2 *"'))
    run_until_idle(repository.folder, tmp_path / "state")

    result = plan(repository, "--state", str(tmp_path / "state"))

    assert result.exit_code == 0, result.output


def test_what_a_merge_would_fire_is_part_of_its_plan(repository):
    repository.commit("a trigger", build=TRIGGER % ("build", "onCommit: {paths: ['app/**']}"))
    repository.write("app/main.py", "print(1)")
    tip = repository.commit("code")

    result = plan(repository, "--base", "HEAD~1", "--head", "HEAD")

    assert result.exit_code == 2, result.output
    assert f"+ default/build-{tip[:12]}: run 1 of job look" in result.stdout.splitlines()


@pytest.mark.parametrize("beside", ["state", "base"])
def test_a_trigger_whose_file_goes_beside_a_rejected_one_is_said_to_fire_on(repository, tmp_path, beside):
    repository.commit("a trigger", nightly=TRIGGER % ("nightly", 'cron: "0 2 29 2 *"'))
    if beside == "state":
        run_until_idle(repository.folder, tmp_path / "state")
    (repository.folder / "nightly.yaml").unlink()
    repository.commit("gone, and a mistake", bad=TASK.replace("spec", "spek") % "bad")
    places = ["--state", str(tmp_path / "state")] if beside == "state" else ["--base", "HEAD~1", "--head", "HEAD"]

    result = plan(repository, *places)

    assert result.exit_code == 1, "a file is rejected"
    said = "default/nightly: its file is gone, and the trigger fires on, because a revision with rejected files removes"
    assert said in result.output
    assert "its file was removed" not in result.output
