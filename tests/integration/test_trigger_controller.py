"""Triggers in a real controller over a real repository, whose clock a test puts forward."""

import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from state.reader import Reader
from tests.controllers import Controller, command, run_until_idle, task
from tests.repositories import Repository

CLOCK = """\
import os
from datetime import timedelta
from reconciler import clock
_now = clock.now
clock.now = lambda: _now() + timedelta(seconds=float(open(os.environ["TEST_CLOCK"]).read()))
"""
JOB = 'apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: one}\nspec:\n  script: {body: "return 1"}\n'
MINUTE, DAY = 60.0, 86400.0


def trigger(spec: str, name: str = "tick", more: str = "") -> str:
    head = f"apiVersion: reconciler/v1\nkind: Trigger\nmetadata: {{name: {name}}}\n"
    return f"{head}spec:\n  task: {{job: one}}\n  {spec}\n{more}"


class Clock:
    """The clock of controllers that are started with `env`: what it is ahead of the real one."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ahead"
        self.seconds = 0.0
        self.put(0)
        (folder / "sitecustomize.py").write_text(CLOCK)
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"), str(Path.cwd()))))
        self.env = {"PYTHONPATH": path, "TEST_CLOCK": str(self.file)}

    def put(self, seconds: float) -> None:
        self.seconds += seconds
        fresh = self.file.with_suffix(".new")
        fresh.write_text(str(self.seconds))
        fresh.replace(self.file)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)


@pytest.fixture
def clock(tmp_path):
    (tmp_path / "clock").mkdir()
    return Clock(tmp_path / "clock")


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


def decisions(state: Path, name: str = "tick") -> list[tuple[str, str]]:
    """Slot and outcome of each decision of a trigger, the oldest first."""
    reader = Reader(state)
    try:
        found = reader.trigger("default", name)
        events = reader.firings(found.uid, 50) if found else []
        return [(each.path, each.after) for each in reversed(events)]
    finally:
        reader.close()


def phase(state: Path, name: str) -> str:
    """Where a trigger stands."""
    with closing(Reader(state)) as reader:
        record = reader.trigger("default", name)
    return record.phase.value if record else ""


def test_a_trigger_fires_each_minute_and_after_a_kill_for_the_latest_missed_one(repository, tmp_path, clock):
    state = tmp_path / "state"
    commit = repository.commit(one=JOB, tick=trigger("cron: '* * * * *'"))
    with Controller(repository.folder, state, api=True, env=clock.env) as first:
        first.follows(commit)
        clock.put(MINUTE)
        first.until(lambda: decisions(state))
        fired = decisions(state)
        made = first.reaches(f"tick-{fired[0][0]}", "finished")
        shown = first.get("/triggers/default/tick")
        first.kill()
    clock.put(3 * DAY)
    with Controller(repository.folder, state, env=clock.env) as second:
        second.until(lambda: len(decisions(state)) > len(fired) + 1)
        after = decisions(state)[len(fired) :]

    assert [outcome for _, outcome in fired] == ["fired"] * len(fired)
    assert (made.record.trigger, made.record.origin.path) == ("tick", "tick.yaml")
    assert shown["status"]["state"] == "ACTIVE" and len(shown["status"]["next"]) == 5
    assert [outcome for _, outcome in after[:2]] == ["skipped", "fired"]
    assert after[1][0] <= f"{clock.now():%Y%m%dT%H%M%SZ}"


def test_a_trigger_goes_on_after_a_start_at_which_its_source_is_away(repository, tmp_path, clock):
    state = tmp_path / "state"
    commit = repository.commit(one=JOB, tick=trigger("cron: '* * * * *'"))
    with Controller(repository.folder, state, env=clock.env) as first:
        first.follows(commit)
        first.terminate()
    repository.folder.rename(tmp_path / "away")
    with Controller(repository.folder, state, env=clock.env) as second:
        second.until(lambda: "FetchFailed" in str(second.conditions()) or "Not" in str(second.conditions()))
        clock.put(MINUTE)
        # a minute that passed between the two starts is skipped
        slot = second.until(lambda: [slot for slot, outcome in decisions(state) if outcome == "fired"])[0]
        second.reaches(f"tick-{slot}", "finished")


def test_a_commit_fires_what_watches_its_paths_also_files_that_are_no_definitions(repository, tmp_path):
    state = tmp_path / "state"
    repository.commit(one=JOB, build=trigger("onCommit: {paths: ['app/**']}", "build"))
    with Controller(repository.folder, state) as first:
        first.until(first.revision)
        repository.write("README.md", "nothing")
        first.follows(repository.commit("readme"))
        before = decisions(state, "build")
        first.terminate()
    repository.write("app/main.py", "print(1)")
    repository.commit("code")
    repository.write("README.md", "more")
    tip = repository.commit("readme again")
    with Controller(repository.folder, state) as second:
        second.reaches(f"build-{tip[:12]}", "finished")

    assert before == []
    assert decisions(state, "build") == [(tip[:12], "fired")]


def test_a_changed_input_fires_and_a_trigger_alone_is_no_work_to_wait_for(tmp_path):
    folder, state = tmp_path / "definitions", tmp_path / "state"
    folder.mkdir()
    (folder / "one.yaml").write_text(JOB)
    (folder / "t.yaml").write_text(trigger("onChange: true", "apply") + "---\n" + trigger("cron: '0 2 * * *'"))
    (folder / "task.yaml").write_text(task("alone", "job: one"))
    first = run_until_idle(f"dir:{folder}", state)
    before = decisions(state, "apply")
    (folder / "one.yaml").write_text(JOB.replace("return 1", "return 2"))

    second = run_until_idle(f"dir:{folder}", state)

    ((slot, outcome),) = decisions(state, "apply")
    assert (first.process.returncode, second.process.returncode) == (0, 0)
    assert before == []
    assert outcome == "fired"
    assert second.found(f"apply-{slot}").record.phase.value == "finished"


def test_a_task_of_a_trigger_is_not_removed_because_it_has_no_file_and_no_revision_is_refused_for_it(
    repository, tmp_path, clock
):
    state = tmp_path / "state"
    slow = JOB.replace("one", "slow").replace('"return 1"', '"return None"') + "  until: result == 1\n  every: 1s\n"
    many = "---\n".join(
        trigger("cron: '* * * * *'", f"t{number}").replace("job: one", "job: slow") for number in range(8)
    )
    commit = repository.commit(slow=slow, many=many)
    with Controller(repository.folder, state, env=clock.env) as controller:
        controller.follows(commit)
        clock.put(MINUTE)
        controller.until(lambda: all(decisions(state, f"t{number}") for number in range(8)))
        removed = repository.commit("no triggers", many="# nothing\n")
        controller.follows(removed)
        clock.put(MINUTE)
        slot = decisions(state, "t0")[0][0]
        made = controller.reaches(f"t0-{slot}", "running")

    assert not any("PruneBlocked" in each for each in controller.conditions())
    assert made.record.trigger == "t0"
    assert len(decisions(state, "t0")) == 1


def test_a_trigger_that_is_held_is_adopted_at_the_next_start_too(repository, tmp_path):
    state = tmp_path / "state"
    repository.commit(one=JOB, tick=trigger("cron: '0 0 1 1 *'"), beat=trigger("cron: '0 0 1 1 *'", "beat"))
    run_until_idle(repository.folder, state, "--adopt", "hold")
    assert {phase(state, name) for name in ("tick", "beat")} == {"unadopted"}

    assert command("adopt", "beat", "--state", str(state)).returncode == 0
    run_until_idle(repository.folder, state)

    assert (phase(state, "beat"), phase(state, "tick")) == ("active", "unadopted")
    assert not list((state / "requests").iterdir())
