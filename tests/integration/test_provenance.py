"""Who is named for what happens to a task, over real commits of several people and over restarts of the controller."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reconciler.cli.app import app
from state.reader import Reader
from tests.controllers import Controller, job, run_until_idle, task, wait_for
from tests.loopback import Loopback, answer
from tests.repositories import Repository

FLOW = (
    "apiVersion: reconciler/v1\nkind: Workflow\nmetadata: {name: flow}\nspec:\n  flow: [ask, make]\n  steps:\n"
    "    ask: {approval: {message: go on?}}\n    make: {job: make}\n---\n"
)


@pytest.fixture
def target():
    with Loopback() as server:
        server.routes["/make"] = answer(200, {})
        yield server


class World:
    """A repository in which people commit under their names, and a state folder."""

    def __init__(self, folder: Path, target: Loopback) -> None:
        self.repository, self.state = Repository(folder / "ops"), folder / "state"
        self.commit("Ann", "Begin", flow=FLOW + job("make", f'http: {{method: POST, url: "{target.url}/make"}}'))

    def commit(self, who: str, why: str, **files: str) -> str:
        """The first ten digits of what `who` commits."""
        for name, text in files.items():
            self.repository.write(f"{name}.yaml", text)
        self.repository.git("add", "--all")
        self.repository.git("commit", "--quiet", "--message", why, env={"GIT_AUTHOR_NAME": who})
        return self.repository.git("rev-parse", "HEAD")[:10]

    def says(self, *words: str) -> str:
        return CliRunner().invoke(app, [*words, "--state", str(self.state)]).output

    def events(self, name: str) -> Iterator[tuple[str, str, str]]:
        """(step, phase, who) for every change of phase."""
        reader = Reader(self.state)
        task = reader.task("default", name)
        assert task is not None
        for event in reader.events(uid=task.record.uid, limit=500).items:
            if event.before != event.after:
                yield event.path, event.after, event.cause.author
        reader.close()


def asking(label: str = "", control: str = "") -> str:
    said = f"control: {{{control}}}" if control else ""
    return task("one", "workflow: flow", said, labels={"a": label} if label else None)


def test_why_names_who_suspended_a_task_whoever_edits_its_file_later(tmp_path, target):
    world = World(tmp_path, target)
    held = "state: suspended, reason: CHG-1"
    world.commit("Ann", "Run one", one=asking())
    with Controller(world.repository.folder, world.state) as controller:
        controller.reaches("one", "running")
        bob = world.commit("Bob", "Suspend one", one=asking("b", held))
        controller.reaches("one", "suspended")
        world.commit("Carol", "Another reason", one=asking("c", f"{held}-disk"))
        wait_for(lambda: "Carol" in world.says("why", "one"))

    found = world.says("why", "one")

    assert f"suspended by: Bob in {bob} “Suspend one”" in found
    assert "Carol" not in "".join(found.splitlines()[:-1]), "her edit is the last change, and nothing more"


def test_a_run_that_waited_for_its_turn_names_who_asked_for_it_and_who_wrote_what_it_runs(tmp_path, target):
    world = World(tmp_path, target)
    world.commit("Ann", "Run one", one=asking())
    with Controller(world.repository.folder, world.state) as controller:
        wait_for(lambda: "WaitingForApproval" in world.says("get", "task", "one"))
        bob = world.commit("Bob", "Run one again", one=asking("", "run: 2"))
        wait_for(lambda: "RunWaiting" in world.says("why", "one"))
        first = world.says("get", "task", "one")
        (plan,) = set(re.findall("sha256:[0-9a-f]{64}", world.says("tree", "one")))
        approved = f"run: 2, steps: {{ask: {{approve: {{plan: '{plan}'}}}}}}"
        dan = world.commit("Dan", "Approve", one=asking("b", approved))
        controller.reaches("one", "running")
        wait_for(lambda: (found := controller.found("one")) and found.record.run == 2)
    world.commit("Eve", "Nothing of ours", notes="a: b")
    run_until_idle(world.repository.folder, world.state)

    second, story = world.says("get", "task", "one"), world.says("get", "events", "--task", "one")

    assert re.search("desired by: one.yaml at [0-9a-f]{10} “Run one” by Ann", first)
    assert (
        f"desired by: one.yaml at {bob} “Run one again” by Bob\nas written at: {dan} “Approve” by Dan (blob " in second
    )
    assert "Eve" not in second + story


def test_an_approval_names_who_gave_it_although_others_have_changed_the_file_since(tmp_path, target):
    world = World(tmp_path, target)
    world.commit("Ann", "Run one", one=asking())
    with Controller(world.repository.folder, world.state):
        wait_for(lambda: "WaitingForApproval" in world.says("get", "task", "one"))
        (plan,) = set(re.findall("sha256:[0-9a-f]{64}", world.says("tree", "one")))
        approved = f"steps: {{ask: {{approve: {{plan: '{plan}'}}}}}}"
        held = f"state: suspended, reason: CHG-1, {approved}"
        world.commit("Bob", "Retry too early", one=asking("", "steps: {make: {retry: {failed: 1}}}"))
        wait_for(lambda: "Bob" in world.says("why", "one"))
        world.commit("Carol", "Approve", one=asking("", held))
        wait_for(lambda: world.says("why", "one").startswith("default/one is SUSPENDED"))
    world.commit("Dan", "Go on", one=asking("", approved))
    assert run_until_idle(world.repository.folder, world.state).process.returncode == 0

    found = list(world.events("one"))

    assert ("ask", "succeeded", "Carol") in found
    assert ("", "suspended", "Carol") in found
    assert ("", "running", "Dan") in found


def test_commits_that_arrive_together_are_told_apart(tmp_path, target):
    world = World(tmp_path, target)
    held = "state: suspended, reason: CHG-1"
    ann = world.commit("Ann", "Run one", one=asking())
    world.commit("Zoe", "Prettier", one=asking("z"))
    world.commit("Bob", "Suspend it for a moment", one=asking("z", held))
    world.commit("Bob", "No", one=asking("z"))
    bob = world.commit("Bob", "Suspend one", one=asking("z", held))
    carol = world.commit("Carol", "Label one", one=asking("b", held))
    with Controller(world.repository.folder, world.state) as controller:
        controller.reaches("one", "suspended")
    first = world.says("why", "one")
    dan = world.commit("Dan", "Go on", one=asking("b"))
    world.commit("Eve", "Another label", one=asking("c"))
    run_until_idle(world.repository.folder, world.state)

    assert f"suspended by: Bob in {bob} “Suspend one”" in first
    assert f"desired by: one.yaml at {ann} “Run one” by Ann\nas written at: {carol} “Label one” by Carol" in first
    assert ("", "created", "Dan") in list(world.events("one")), dan  # it had not begun
