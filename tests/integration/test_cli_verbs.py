"""The verbs in real repositories: what they write and commit, what they leave alone, and what the controller makes of it."""

import json
import re
import stat
import subprocess

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.app import app
from tests.controllers import COMMAND, Controller, job, run_until_idle, task
from tests.loopback import Loopback, answer
from tests.read_side import grade_class
from tests.repositories import Repository

ALICE = """\
# who asked: Ada
apiVersion: reconciler/v1
kind: Task
metadata: {name: alice, namespace: demo, labels: {batch: "7"}}
spec: {workflow: grade,   with: {name: "Ålice"}}   # two spaces

# the end
"""
BATCH = "---\n".join(
    f"apiVersion: reconciler/v1\nkind: Task\nmetadata: {{name: {name}, labels: {{batch: '7'}}}}\nspec: {{job: hello}}\n{more}"
    for name, more in (("bob", ""), ("carol", "control: {state: revoked, reason: gone}  # final\n"), ("dave", "# d\n"))
)
HELLO = """\
apiVersion: reconciler/v1
kind: Job
metadata: {name: hello}
spec:
  params: {name: string, age: {type: integer, default: 3}, more: {type: object, required: false}}
  http: {url: "http://127.0.0.1:1/${{ params.name }}"}
"""
NIGHTLY = """\
apiVersion: reconciler/v1
kind: Trigger
metadata: {name: nightly, namespace: demo}
spec: {task: {job: hello, with: {name: x}}, cron: "0 2 * * *"}
"""
DIGEST = "sha256:" + "a1" * 32


@pytest.fixture
def repository(tmp_path) -> Repository:
    made = Repository(tmp_path / "ops")
    made.write("tasks/alice.yaml", ALICE)
    made.write("tasks/batch.yaml", BATCH)
    made.write("jobs/hello.yaml", HELLO)
    made.write("ops/nightly.yml", NIGHTLY)
    made.commit("everything")
    return made


def verb(repository: Repository, *words: str, fails: bool = False) -> Result:
    """What `reconciler WORDS` answers; it must not touch anything but the work tree and its repository."""
    result = CliRunner().invoke(app, [*words, "--source", str(repository.folder)])
    assert result.exit_code == (1 if fails else 0), result.output
    if fails:
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert result.stdout == "", "a diff that nothing comes of"
    return result


def text(repository: Repository, path: str) -> str:
    return (repository.folder / path).read_bytes().decode()


def subjects(repository: Repository) -> list[str]:
    return repository.git("log", "--format=%s").splitlines()


def files(repository: Repository, commit: str = "HEAD") -> list[str]:
    return repository.git("show", "--format=", "--name-only", commit).splitlines()


# -- the file, the diff, the commit --------------------------------------------------------------------------------------


def test_a_verb_whose_reader_goes_away_has_done_its_work(repository):
    words = [*COMMAND, "suspend", "-l", "batch=7", "--reason", "CHG-1", "--source", str(repository.folder)]
    verb_ = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert verb_.stdout is not None and verb_.stderr is not None
    verb_.stdout.close()
    said = verb_.stderr.read()
    verb_.stderr.close()

    assert (verb_.wait(30), said) == (1, "")
    assert subjects(repository)[0] == "Suspend 3 tasks with batch=7: CHG-1"
    assert repository.git("status", "--porcelain") == ""


def test_suspending_changes_the_control_commits_it_and_shows_the_diff(repository):
    result = verb(repository, "suspend", "demo/alice", "--reason", "CHG-1234")

    added = "control:\n  state: suspended\n  reason: CHG-1234\n"
    assert text(repository, "tasks/alice.yaml") == ALICE.replace("# two spaces\n", f"# two spaces\n{added}")
    assert subjects(repository) == ["Suspend demo/alice: CHG-1234", "everything"]
    assert files(repository) == ["tasks/alice.yaml"]
    assert repository.git("status", "--porcelain") == ""
    assert "+++ b/tasks/alice.yaml" in result.stdout
    assert "+  state: suspended" in result.stdout
    assert "\x1b" not in result.stdout
    assert f"committed as {repository.git('rev-parse', '--short', 'HEAD')} on main: Suspend demo/alice" in result.stdout


def test_the_diff_is_coloured_where_colours_are_wanted(repository, monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")

    result = verb(repository, "suspend", "alice", "--reason", "CHG-1")

    assert "\x1b[32m+  reason: CHG-1\x1b[0m" in result.stdout


def test_after_a_commit_on_a_branch_that_follows_another_the_push_is_named(repository, tmp_path):
    repository.git("clone", "--quiet", ".", str(tmp_path / "clone"))

    result = verb(Repository(tmp_path / "clone"), "rerun", "alice")

    assert result.stdout.endswith("on main: Rerun demo/alice: run 2\nnext: git push\n")


def test_a_name_is_found_however_it_is_spelt(repository):
    repository.write("tasks/spelt.yaml", task("上线 2048", "job: hello"))  # as a JSON text, so with escapes
    repository.commit("spelt")

    verb(repository, "rerun", "上线 2048")

    assert subjects(repository)[0] == "Rerun default/上线 2048: run 2"


def test_the_author_of_the_commit_is_the_user(repository):
    verb(repository, "suspend", "alice", "--reason", "CHG-1234")

    assert repository.git("log", "-1", "--format=%an %ae") == "Ada Author ada@example.invalid"


def test_suspending_and_resuming_leaves_every_other_byte(repository):
    verb(repository, "suspend", "alice", "--reason", "one: two # three", "--until", "2036-11-22T06:00Z")
    verb(repository, "resume", "alice")

    assert text(repository, "tasks/alice.yaml") == ALICE.replace(
        "# two spaces\n", "# two spaces\ncontrol:\n  state: running\n"
    )
    assert subjects(repository)[0] == "Resume demo/alice"


def test_a_wish_that_is_fulfilled_makes_no_commit(repository):
    verb(repository, "suspend", "alice", "--reason", "CHG-1")

    result = verb(repository, "suspend", "alice", "--reason", "CHG-1")

    assert result.stdout == "nothing to do: demo/alice is suspended with this reason already\n"
    assert len(subjects(repository)) == 2


def test_programs_get_json_and_nothing_else(repository):
    answered = json.loads(verb(repository, "revoke", "dave", "--reason", "old", "-o", "json").stdout)

    assert answered["message"] == "Revoke default/dave: old"
    assert answered["changed"] == [{"kind": "Task", "namespace": "default", "name": "dave", "path": "tasks/batch.yaml"}]
    assert answered["files"] == ["tasks/batch.yaml"]
    assert repository.git("rev-parse", "HEAD").startswith(answered["commit"])
    assert "+  reason: old" in answered["diff"].splitlines()


def test_one_document_of_several_is_changed(repository):
    verb(repository, "suspend", "bob", "--reason", "CHG-1")

    added = "control:\n  state: suspended\n  reason: CHG-1\n"
    assert text(repository, "tasks/batch.yaml") == BATCH.replace("hello}\n---", f"hello}}\n{added}---", 1)


def test_line_breaks_and_mode_of_a_file_stay(repository):
    file = repository.write("tasks/crlf.yaml", task("crlf", "job: hello").replace("\n", "\r\n"))
    file.chmod(0o755)
    repository.commit("crlf")

    verb(repository, "rerun", "crlf")

    assert b"spec: {job: hello}\r\ncontrol:\r\n  run: 2\r\n" in file.read_bytes()
    assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


def test_no_commit_only_writes(repository):
    result = verb(repository, "suspend", "alice", "--reason", "CHG-1", "--no-commit")

    assert "written, not committed: tasks/alice.yaml" in result.stdout
    assert subjects(repository) == ["everything"]
    assert repository.git("status", "--porcelain") == " M tasks/alice.yaml"


def test_a_plain_folder_is_written_to_and_never_committed(repository):
    folder = f"dir:{repository.folder}"

    result = CliRunner().invoke(app, ["suspend", "alice", "--reason", "CHG-1", "--source", folder])

    assert result.exit_code == 0, result.output
    assert "written, not committed" in result.stdout
    assert subjects(repository) == ["everything"]


def test_from_a_folder_of_the_repository_what_is_below_it_is_meant(repository):
    repository.write("staging/alice.yaml", ALICE)
    repository.commit("a second one")
    ambiguous = verb(repository, "suspend", "alice", "--reason", "CHG-1", fails=True)

    result = CliRunner().invoke(
        app, ["suspend", "alice", "--reason", "CHG-1", "--source", str(repository.folder / "staging")]
    )

    assert "tasks/alice.yaml" in ambiguous.stderr
    assert "--path" in ambiguous.stderr
    assert result.exit_code == 0, result.output
    assert files(repository) == ["staging/alice.yaml"]


def test_a_file_whose_name_is_a_pattern_takes_no_other_with_it(repository):
    repository.write("tasks/[ab].yaml", task("odd", "job: hello"))
    repository.write("tasks/a.yaml", task("even", "job: hello"))
    repository.commit("names")
    repository.write("tasks/a.yaml", task("even", "job: hello", "# mine"))

    verb(repository, "suspend", "odd", "--reason", "CHG-1")

    assert files(repository) == ["tasks/[ab].yaml"]


# -- several at a time ---------------------------------------------------------------------------------------------------


def test_a_label_changes_every_file_that_has_it_in_one_commit(repository):
    result = verb(repository, "suspend", "-l", "batch=7", "--reason", "CHG-9")

    assert subjects(repository) == ["Suspend 3 tasks with batch=7: CHG-9", "everything"]
    assert repository.git("log", "-1", "--format=%b").splitlines() == [
        "- demo/alice",
        "- default/bob",
        "- default/dave",
    ]
    assert files(repository) == ["tasks/alice.yaml", "tasks/batch.yaml"]
    assert "left alone: default/carol: default/carol is revoked" in result.stdout
    assert text(repository, "tasks/batch.yaml").count("state: suspended") == 2


CUT = 'apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: erin, labels: {batch: "7"}\nspec: {job: hello}\n'
ODD = CUT.replace('"7"}', '"7"}}').replace("erin", "frank") + "odd: 1\n"
TWICE = ODD.replace("frank", "grace").replace("odd: 1", "control: {}\ncontrol: {}")


def test_a_label_goes_past_rejected_files_names_them_and_is_no_success(repository):
    broken = {"cut": CUT, "odd": ODD, "twice": TWICE, "other": CUT.replace("batch", "team")}
    repository.commit("broken files", **broken)

    result = CliRunner().invoke(
        app, ["suspend", "-l", "batch=7", "--reason", "disk full", "--source", str(repository.folder)]
    )

    assert result.exit_code == 1
    assert subjects(repository)[:2] == ["Suspend 3 tasks with batch=7: disk full", "broken files"]
    left_out = [line for line in result.stdout.splitlines() if line.startswith("left out, its file is rejected: ")]
    assert [line.split(": ", 1)[1].split(" ")[:2] for line in left_out] == [
        ["cut.yaml:4:1", "E-SYNTAX"],
        ["odd.yaml:5:1", "E-UNKNOWN-FIELD"],
        ["twice.yaml:6:1", "E-DUP-KEY"],
    ]
    assert all(text(repository, f"{name}.yaml") == content for name, content in broken.items())


def test_a_label_that_only_rejected_files_have_says_so(repository):
    repository.commit("a broken file", cut=CUT.replace("7", "8"))

    result = verb(repository, "resume", "-l", "batch=8", fails=True)

    assert "no task file in force has batch=8; these are rejected: cut.yaml:4:1 E-SYNTAX" in result.stderr


@pytest.mark.parametrize(("name", "content"), [("erin", CUT), ("frank", ODD), ("grace", TWICE)])
def test_a_verb_for_a_task_in_a_rejected_file_says_where_it_is_rejected(repository, name, content):
    repository.commit("a broken file", broken=content)

    result = verb(repository, "revoke", name, "--reason", "wrong", fails=True)

    assert re.search(r"broken\.yaml:\d+:\d+ E-[A-Z-]+ ", result.stderr), result.stderr
    assert "there is no file" not in result.stderr


def test_a_label_and_a_namespace_narrow_it_down(repository):
    verb(repository, "rerun", "-l", "batch=7", "-n", "demo")

    assert subjects(repository)[0] == "Rerun demo/alice: run 2"


def test_a_step_of_all_tasks_with_a_label(repository):
    verb(repository, "skip", "run", "-l", "batch=7", "-n", "default", "--reason", "by hand", "--output", "n=1")

    assert subjects(repository)[0] == "Skip 3 tasks with batch=7 run: by hand"
    assert text(repository, "tasks/batch.yaml").count("run: {skip: {reason: by hand, outputs: {n: 1}}}") == 3


# -- steps ---------------------------------------------------------------------------------------------------------------


def test_the_number_of_the_failed_attempt_comes_from_the_status(repository, tmp_path):
    repository.write("tasks/failing.yaml", task("failing", "workflow: grade", namespace="demo"))
    repository.commit("failing")
    state = tmp_path / "state"
    state.mkdir()
    world = grade_class(state)
    uid = world.admit("failing")
    world.begin(uid, "step1")
    world.fail(uid, "step1", "refused")
    world.close()

    verb(repository, "retry", "failing", "step1", "--state", str(state))

    assert subjects(repository)[0] == "Retry demo/failing step1 after failure 1"
    assert "steps:\n    step1: {retry: {failed: 1}}" in text(repository, "tasks/failing.yaml")


def test_a_wrong_number_in_the_file_is_replaced_and_the_diff_shows_both(repository):
    verb(repository, "retry", "alice", "run", "--failed", "99")

    said = verb(repository, "retry", "alice", "run", "--failed", "1", "--reason", "a typo").stdout

    assert "-    run: {retry: {failed: 99}}" in said
    assert "+    run: {retry: {failed: 1, reason: a typo}}" in said
    assert subjects(repository)[0] == "Retry demo/alice run after failure 1"


def test_retry_without_a_status_takes_the_number_that_is_given(repository):
    done = verb(repository, "retry", "bob", "run", "--failed", "2")

    assert done.stderr == ""
    assert "    run: {retry: {failed: 2}}" in text(repository, "tasks/batch.yaml")


def test_steps_are_skipped_resolved_and_approved_beside_each_other(repository):
    verb(repository, "skip", "alice", "step3", "--reason", "done by hand", "--output", "isold=true")
    verb(repository, "resolve", "alice", "a.b", "--attempt", "1", "--as", "succeeded", "--reason", "seen")
    verb(repository, "approve", "alice", "deploy", "--plan", DIGEST)

    assert text(repository, "tasks/alice.yaml").split("# two spaces\n")[1] == (
        "control:\n  steps:\n    step3: {skip: {reason: done by hand, outputs: {isold: true}}}\n"
        "    a.b: {resolve: {attempt: 1, as: succeeded, reason: seen}}\n"
        f"    deploy: {{approve: {{plan: {DIGEST}}}}}\n\n# the end\n"
    )
    assert subjects(repository)[:3] == [
        "Approve demo/alice deploy: sha256:a1a1a1a1a1a1",
        "Resolve demo/alice a.b attempt 1 as succeeded: seen",
        "Skip demo/alice step3: done by hand",
    ]


# -- triggers ------------------------------------------------------------------------------------------------------------


def test_a_task_that_a_trigger_made_gets_a_file_that_controls_it(repository):
    verb(repository, "suspend", "nightly-20261122T020000Z", "--reason", "holiday")

    assert text(repository, "ops/nightly-20261122T020000Z.yaml") == (
        "apiVersion: reconciler/v1\nkind: Task\n"
        "metadata: {name: nightly-20261122T020000Z, namespace: demo}\n"
        "control:\n  state: suspended\n  reason: holiday\n"
    )
    assert subjects(repository)[0] == "Suspend demo/nightly-20261122T020000Z: holiday"


def test_the_file_of_a_task_that_a_trigger_made_is_found_again(repository):
    verb(repository, "suspend", "nightly-20261122T020000Z", "--reason", "holiday")
    verb(repository, "resume", "demo/nightly-20261122T020000Z")

    assert text(repository, "ops/nightly-20261122T020000Z.yaml").endswith("control:\n  state: running\n")


def test_a_trigger_itself_is_suspended(repository):
    hint = verb(repository, "suspend", "nightly", "--reason", "holiday", fails=True)

    verb(repository, "suspend", "nightly", "--reason", "holiday", "--trigger")

    assert "--trigger" in hint.stderr
    assert text(repository, "ops/nightly.yml") == NIGHTLY + "control:\n  state: suspended\n  reason: holiday\n"


# -- new -----------------------------------------------------------------------------------------------------------------


def test_new_writes_a_task_with_values_of_the_declared_types(repository):
    given = ("--with", "name=007", "--with", "age=20", "--with", 'more={"a": [1]}')

    verb(repository, "new", "demo/eve", "--job", "hello", *given, "--label", "batch=8")

    assert text(repository, "tasks/eve.yaml") == (
        'apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: eve, namespace: demo, labels: {batch: "8"}}\n'
        'spec: {job: hello, with: {name: "007", age: 20, more: {a: [1]}}}\n'
    )  # fmt: skip
    assert subjects(repository)[0] == "Add demo/eve: job hello"


def test_new_says_that_what_the_task_runs_is_not_committed(repository):
    before = verb(repository, "new", "dan", "--job", "hello", "--with", "name=x").stdout
    repository.write("jobs/fresh.yaml", job("fresh", "http: {url: http://127.0.0.1:1/}"))

    said = verb(repository, "new", "eve", "--job", "fresh").stdout

    assert "the task runs what is committed" not in before
    assert "the task runs what is committed, and jobs/fresh.yaml has changes that are not\n" in said


def test_new_in_a_file_that_is_there_adds_a_document(repository):
    before = text(repository, "tasks/batch.yaml")
    file = str(repository.folder / "tasks/batch.yaml")

    verb(repository, "new", "eve", "--job", "hello", "--with", "name=x", "--file", file)

    assert text(repository, "tasks/batch.yaml").startswith(before + "---\napiVersion")
    assert files(repository) == ["tasks/batch.yaml"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("eve",), "either --workflow or --job"),
        (("eve", "--job", "helo", "--with", "name=x"), "there is no job `helo`"),
        (("eve", "--job", "hello"), "parameter `name` needs a value"),
        (("eve", "--job", "hello", "--with", "name=x", "--with", "age=old"), "`age` must be an integer"),
        (("eve", "--job", "hello", "--with", "name=x", "--with", "no=1"), "parameter `no` is not declared"),
        (("demo/alice", "--job", "hello", "--with", "name=x"), "demo/alice is there, in tasks/alice.yaml"),
        (("batch", "--job", "hello", "--with", "name=x"), "tasks/batch.yaml is there and defines something else"),
        (("eve", "--job", "hello", "--with", "name=x", "--file", "/eve.yaml"), "lies outside"),
        (("demo/eve", "-n", "prod", "--job", "hello"), "two namespaces"),
    ],
)
def test_new_refuses_what_admission_would_refuse(repository, words, says):
    result = verb(repository, "new", *words, fails=True)

    assert says in result.stderr
    assert subjects(repository) == ["everything"]
    assert repository.git("status", "--porcelain") == ""


def test_new_refuses_a_file_that_nobody_looks_at(repository):
    file = str(repository.folder / ".hidden" / "eve.yaml")

    assert "no file that is looked at" in verb(
        repository, "new", "eve", "--job", "hello", "--with", "name=x", "--file", file, fails=True
    ).stderr  # fmt: skip


# -- what is refused, and what is left alone -----------------------------------------------------------------------------


def test_changes_of_others_staged_or_not_are_not_committed(repository):
    repository.write("jobs/hello.yaml", HELLO + "# mine\n")
    repository.write("notes.txt", "staged")
    repository.git("add", "notes.txt")

    verb(repository, "suspend", "alice", "--reason", "CHG-1")

    assert files(repository) == ["tasks/alice.yaml"]
    assert repository.git("status", "--porcelain") == " M jobs/hello.yaml\nA  notes.txt"


@pytest.mark.parametrize("staged", [True, False])
def test_a_file_with_changes_that_are_not_committed_is_refused(repository, staged):
    repository.write("tasks/alice.yaml", ALICE + "# mine\n")
    if staged:
        repository.git("add", "tasks/alice.yaml")

    result = verb(repository, "suspend", "alice", "--reason", "CHG-1", fails=True)

    assert "tasks/alice.yaml has changes that are not committed" in result.stderr
    assert "--no-commit" in result.stderr
    assert text(repository, "tasks/alice.yaml") == ALICE + "# mine\n"


def test_a_commit_that_a_hook_refuses_leaves_everything_as_it_was(repository):
    hook = repository.write(".git/hooks/pre-commit", "#!/bin/sh\necho the freeze is on >&2\nexit 1\n")
    hook.chmod(0o755)

    one = verb(repository, "suspend", "alice", "--reason", "CHG-1", fails=True)
    verb(repository, "suspend", "nightly-20261122T020000Z", "--reason", "x", fails=True)

    assert "the freeze is on" in one.stderr
    assert repository.git("status", "--porcelain") == ""
    assert text(repository, "tasks/alice.yaml") == ALICE


def test_a_first_commit_that_a_hook_refuses_leaves_nothing_behind(tmp_path):
    made = Repository(tmp_path / "new")
    made.write("jobs.yaml", HELLO)
    made.write(".git/hooks/pre-commit", "#!/bin/sh\nexit 1\n").chmod(0o755)

    verb(made, "new", "one", "--job", "hello", "--with", "name=x", fails=True)

    assert made.git("status", "--porcelain") == "?? jobs.yaml"
    assert not (made.folder / "tasks" / "one.yaml").exists()


def test_a_commit_on_no_branch_is_refused(repository):
    repository.git("checkout", "--quiet", "--detach")

    assert "git switch" in verb(repository, "rerun", "alice", fails=True).stderr


def test_a_file_with_an_error_is_refused_with_the_place_of_the_error(repository):
    repository.write(
        "tasks/alice.yaml", ALICE + "---\napiVersion: reconciler/v1\nkind: Task\nmetadata: {name: no}\nspecs: 1\n"
    )
    repository.commit("a mistake")

    result = verb(repository, "rerun", "alice", fails=True)

    assert "error: tasks/alice.yaml:" in result.stderr
    assert "unknown field `specs`" in result.stderr
    assert repository.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("resume", "alic"), "did you mean demo/alice?"),
        (("resume", "prod/alice"), "did you mean demo/alice?"),
        (("resume",), "name a task, or several by a label"),
        (("resume", "alice", "-l", "batch=7"), "one of the two"),
        (("resume", "-l", "batch=9"), "no task file has batch=9"),
        (("suspend", "alice"), "--reason"),
        (("suspend", "alice", "--reason", ""), "reason"),
        (("suspend", "alice", "--reason", "x", "--until", "tomorrow"), "is not a time; write"),
        (("suspend", "alice", "--reason", "x", "--until", "2026-01-02T03:04Z"), "is over: it would suspend nothing"),
        (("suspend", "alice", "--reason", "x", "--until", "2036-01-02T03:04"), "has no time zone; write"),
        (("resume", "nightly-20261122T02"), "there is no file of a task"),
        (("retry", "alice"), "reconciler tree TASK"),
        (("retry", "alice", "run", "--state", "nowhere"), "there is no state folder"),
        (("skip", "alice", "run", "--reason", "x", "--output", "json"), "KEY=VALUE"),
        (("skip", "alice", "run", "-l", "batch=7", "--reason", "x"), "give one of them"),
        (("approve", "alice", "run", "--plan", "sha256:1"), "is not a digest"),
        (("approve", "run", "-l", "batch=7", "--plan", DIGEST), "a digest of its own"),
        (("approve", "alice", "run", "--state", "nowhere"), "there is no state folder"),
        (("suspend", "nightly", "--trigger", "--until", "2036-11-22T06:00Z", "--reason", "x"), "--until is for tasks"),
    ],
)
def test_wrong_wishes_are_one_line_and_change_nothing(repository, words, says):
    assert says in verb(repository, *words, fails=True).stderr
    assert subjects(repository) == ["everything"]
    assert repository.git("status", "--porcelain") == ""


def test_outside_of_a_repository_it_says_what_to_do(tmp_path):
    (tmp_path / "alice.yaml").write_text(ALICE)

    refused = CliRunner().invoke(app, ["rerun", "alice", "--source", str(tmp_path)])
    written = CliRunner().invoke(app, ["rerun", "alice", "--source", str(tmp_path), "--no-commit"])

    assert "--no-commit" in refused.stderr
    assert written.exit_code == 0, written.output
    assert "run: 2" in (tmp_path / "alice.yaml").read_text()


def test_the_controller_is_not_touched(repository, tmp_path):
    """Without a state folder or a server nothing is missing; only `retry` reads, and it makes nothing."""
    before = sorted(path.name for path in tmp_path.iterdir())

    done = subprocess.run(
        [*COMMAND, "rerun", "alice"],
        cwd=repository.folder, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert repository.git("status", "--porcelain", "--ignored") == ""


# -- what the controller makes of it -------------------------------------------------------------------------------------


@pytest.fixture
def target():
    with Loopback() as server:
        server.routes["/ok"] = answer(200, {"n": 1})
        server.routes["/never"] = answer(200, {"n": None})
        yield server


def test_a_suspended_task_waits_for_the_commit_that_resumes_it(tmp_path, target):
    made = Repository(tmp_path / "ops")
    made.commit(jobs=job("ok", f"http: {{url: {target.url}/ok}}"), one=task("one", "job: ok"))
    verb(made, "suspend", "one", "--reason", "CHG-1")
    suspended = run_until_idle(made.folder, tmp_path / "state")
    calls = len(target.requests)

    verb(made, "resume", "one")
    resumed = run_until_idle(made.folder, tmp_path / "state")

    assert suspended.process.returncode == 2, suspended.text
    assert calls == 0
    assert resumed.process.returncode == 0, resumed.text
    assert len(target.requests) == 1


def test_a_running_task_is_revoked_by_a_commit(tmp_path, target):
    made = Repository(tmp_path / "ops")
    never = job("never", f"http: {{url: {target.url}/never}}", "until: result.n != None\nevery: 100ms")
    made.commit(jobs=never, one=task("one", "job: never"))
    with Controller(made.folder, tmp_path / "state") as controller:
        controller.until(lambda: target.requests)

        verb(made, "revoke", "one", "--reason", "wrong file")
        snapshot = controller.reaches("one", "revoked")

    assert snapshot.record.control == {"state": "revoked", "reason": "wrong file"}


def test_a_new_task_is_picked_up_and_finishes(tmp_path, target):
    made = Repository(tmp_path / "ops")
    made.commit(jobs=job("ok", f"http: {{url: {target.url}/ok}}"))

    verb(made, "new", "one", "--job", "ok")
    done = run_until_idle(made.folder, tmp_path / "state")

    assert done.process.returncode == 0, done.text
    assert len(target.requests) == 1


@pytest.mark.parametrize(
    ("slot", "doubt"),
    [
        ("20261201T020000Z", ""),
        (
            "20261201T023000Z",
            "demo/nightly-20261201T023000Z: as it stands demo/nightly has no such time; the next one after that is 20261202T020000Z",
        ),
    ],
)
def test_a_slot_that_is_no_time_of_its_trigger_is_controlled_and_doubted(repository, slot, doubt):
    said = verb(repository, "suspend", f"demo/nightly-{slot}", "--reason", "CHG-1").stdout

    assert f"ops/nightly-{slot}.yaml" in repository.git("show", "--name-only")
    assert doubt in said
    assert ("no such time" in said) == bool(doubt)


def test_a_slot_that_no_calendar_has_is_no_task(repository):
    said = verb(repository, "suspend", "demo/nightly-20261201T999999Z", "--reason", "CHG-1", fails=True).stderr

    assert "there is no file of a task demo/nightly-20261201T999999Z" in said


def test_a_file_that_nobody_may_write_is_left_as_it_is(repository):
    file = repository.folder / "tasks/alice.yaml"
    file.chmod(0o444)

    said = verb(repository, "suspend", "alice", "--reason", "CHG-1", fails=True).stderr

    assert said == "error: tasks/alice.yaml is write-protected (`chmod u+w` frees it)\n"
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (ALICE, 0o444)


def test_a_hook_that_stops_a_commit_without_a_word_is_suspected(repository):
    hook = repository.folder / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)

    said = verb(repository, "suspend", "alice", "--reason", "CHG-1", fails=True).stderr

    assert said == "error: `git commit` failed: it says nothing; a hook may have stopped it\n"
    assert text(repository, "tasks/alice.yaml") == ALICE


def test_in_a_folder_without_files_a_verb_says_where_to_look(tmp_path):
    (tmp_path / "empty").mkdir()

    said = CliRunner().invoke(app, ["new", "x", "--job", "hello", "--source", f"dir:{tmp_path / 'empty'}"])

    assert said.exit_code == 1
    assert "has no files; --source and --path name another place, `reconciler init` begins one" in said.stderr
