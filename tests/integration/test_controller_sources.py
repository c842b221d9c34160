"""Repositories that mean harm or went wrong, under a running controller: what is told, and what goes on regardless."""

import time
import zlib
from pathlib import Path

import pytest

from tests.controllers import Controller, conditions, found, job, run_until_idle, sources, task
from tests.loopback import Loopback, answer
from tests.repositories import Repository

ENVELOPE = "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: bad}\n"
LAUGHS = "\n".join(f"  l{level}: &l{level} [{', '.join(['*l' + str(level - 1)] * 9)}]" for level in range(1, 10))
STEPS = "\n".join(f"    s{number}: {{job: ok}}" for number in range(10_000))


def workflow(steps: str) -> str:
    return f"apiVersion: reconciler/v1\nkind: Workflow\nmetadata: {{name: w{zlib.crc32(steps.encode())}}}\nspec:\n  steps:\n{steps}\n"


HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "01-depth": ("[" * 25_000, ":1:65 E-DEPTH"),
    "02-laughs": (ENVELOPE + "spec:\n  l0: &l0 lol\n" + LAUGHS, ":5:7 E-ALIAS"),
    "03-loop": ("&a [*a]", ":1:1 E-ALIAS"),
    "04-tag": ("!!python/object/apply:os.system [id]", ":1:1 E-TAG"),
    "05-twice": (ENVELOPE + "spec: {}\nspec: {}\n", ":5:1 E-DUP-KEY"),
    "06-ambiguous": (ENVELOPE + "spec: {http: {url: http://h}, retry: {limit: no}}\n", "E-"),
    "07-utf8": (ENVELOPE.encode() + b"spec: {title: \xff}\n", "E-ENCODING"),
    "07-nul": (ENVELOPE.encode() + b"spec: {title: a\0b}\n", "E-ENCODING"),
    "07-utf16": (ENVELOPE.encode("utf-16"), "E-ENCODING"),
    "07-bom": (b"\xef\xbb\xbf" + ENVELOPE.encode(), "E-ENCODING"),
    "08-size": ("#" + "x" * (2 << 20), "E-SIZE"),
    "11-lfs": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "E-LFS"),
    "14-cycle": (workflow("    a: {job: ok, needs: [b]}\n    b: {job: ok, needs: [a]}"), "E-GRAPH"),
    "14-self": (workflow("    a: {job: ok, needs: [a]}"), "E-GRAPH"),
    "14-unknown": (workflow("    a: {job: ok, needs: [nope]}"), "E-GRAPH"),
    "15-steps": (workflow(STEPS), "E-LIMIT"),
    "16-budget": (workflow("    a: {job: ok, if: \"'a' * 10 ** 10 == 1\"}"), "E-EXPR-BUDGET"),
    "16-many": (workflow(f'    a: {{job: ok, if: "1{" + 1" * 2_000}"}}'), "E-EXPR-BUDGET"),
    "16-deep": (workflow(f'    a: {{job: ok, if: "{"(" * 500}1{")" * 500}"}}'), "E-EXPR-BUDGET"),
    "16-more": (workflow(f'    a: {{job: ok, if: "1{" + 1" * 100_000}"}}'), "E-"),
    "16-deeper": (workflow(f'    a: {{job: ok, if: "{"(" * 50_000}1{")" * 50_000}"}}'), "E-"),
    "17-mro": (workflow('    a: {job: ok}\n    b: {job: ok, if: "steps.a.__class__.__mro__"}'), "E-EXPR-NAME"),
    "17-import": (workflow("    a: {job: ok, if: \"__import__('os')\"}"), "E-EXPR-NAME"),
    "17-format": (workflow("    a: {job: ok, if: \"'{0.__class__}'.format(params)\"}"), "E-EXPR-NAME"),
}


@pytest.fixture
def target():
    with Loopback() as server:
        server.routes["/ok"] = answer(200, {"n": 1})
        yield server


@pytest.fixture
def repository(tmp_path, target):
    made = Repository(tmp_path / "repository")
    made.write("jobs.yaml", job("ok", f"http: {{url: {target.url}/ok}}", "outputs: {n: result.n}"))
    return made


def problems(controller: Controller) -> dict[str, list[str]]:
    """`line:column code message` of every problem by file, as the API tells them."""
    listed = controller.until(lambda: (controller.get("/definitions?limit=500") or {}).get("items"))
    told: dict[str, list[str]] = {}
    for each in listed:
        for problem in each["status"]["problems"]:
            text = f":{problem['line']}:{problem['column']} {problem['code']} {problem['message']}"
            told.setdefault(problem["file"], []).append(text)
    return told


def test_every_hostile_file_is_told_while_the_task_beside_them_finishes(tmp_path, repository):
    for name, (data, _) in HOSTILE.items():
        repository.write(f"{name}.yaml", data)
    (repository.folder / "10-link.yaml").symlink_to("/etc/passwd")
    (repository.folder / "10-loop").symlink_to(".")
    repository.commit(one=task("one", "job: ok"))
    inner = Repository(tmp_path / "inner")
    oid = inner.commit("inside")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{oid},11-module.yaml")
    repository.git("commit", "--quiet", "--message", "a submodule")
    began = time.monotonic()

    with Controller(repository.folder, tmp_path / "state", api=True) as controller:
        controller.reaches("one", "finished")
        seconds = time.monotonic() - began
        told = problems(controller)
        peak = memory(controller.process.pid)

    missing = {
        name: told.get(f"{name}.yaml")
        for name, (_, expected) in HOSTILE.items()
        if not any(expected in text for text in told.get(f"{name}.yaml", []))
    }
    assert missing == {}
    assert "E-FILE-MODE" in told["10-link.yaml"][0]
    assert "E-FILE-MODE" in told["11-module.yaml"][0]
    assert "jobs.yaml" not in told and "one.yaml" not in told
    assert "needs" in told["14-cycle.yaml"][0] or "a -> b -> a" in told["14-cycle.yaml"][0]
    assert seconds < 8
    assert peak < 250 << 20


def memory(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def test_more_definitions_than_the_limit_are_unavailable_and_what_was_in_force_stays(tmp_path, repository, target):
    repository.commit(one=task("one", "job: ok"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.reaches("one", "finished")
        oid = repository.blob(b"{}").encode()
        entries = [b"100644 %s\tbomb/%d.yaml" % (oid, number) for number in range(20_001)]
        repository.git("update-index", "-z", "--index-info", data=b"\0".join(entries) + b"\0")
        repository.git("commit", "--quiet", "--message", "bomb")

        controller.until(lambda: "E-COUNT" in controller.conditions()["Ready"], 10)

        assert controller.found("one").record.phase.value == "finished"
        repository.git("rm", "-r", "--quiet", "--cached", "bomb")
        repository.commit("better", two=task("two", "job: ok"))
        controller.reaches("two", "finished")
    assert len(target.requests) == 2


def test_an_emptied_tree_removes_nothing_until_a_trailer_confirms_it(tmp_path, repository, target):
    target.routes["/gate"] = answer(200, {"open": False})
    repository.write("wait.yaml", job("wait", f"http: {{url: {target.url}/gate}}", "until: result.open\nevery: 50ms"))
    repository.commit(one=task("one", "job: wait"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.reaches("one", "running")
        repository.git("rm", "-r", "--quiet", ".")
        repository.git("commit", "--quiet", "--message", "oops")
        controller.until(lambda: "E-EMPTY-SET" in controller.conditions()["Ready"])
        polls = len(target.requests)
        controller.until(lambda: len(target.requests) > polls + 2)
        assert controller.found("one").record.phase.value == "running"

        repository.git("commit", "--quiet", "--allow-empty", "--message", "meant\n\nReconciler-Allow-Prune: 1")

        controller.reaches("one", "removed")


def test_a_revision_that_removes_too_many_live_tasks_waits_for_a_trailer(tmp_path, repository, target):
    target.routes["/gate"] = answer(200, {"open": False})
    repository.write("wait.yaml", job("wait", f"http: {{url: {target.url}/gate}}", "until: result.open\nevery: 1s"))
    repository.commit(**{f"t{number}": task(f"t{number}", "job: wait") for number in range(8)})
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.until(lambda: all(controller.found(f"t{number}") for number in range(8)))
        repository.git("rm", "--quiet", *(f"t{number}.yaml" for number in range(7)))
        repository.commit("too many")
        controller.until(lambda: "PruneBlocked" in controller.conditions())
        assert all(controller.found(f"t{number}").record.phase.value != "removed" for number in range(8))

        repository.commit("meant\n\nReconciler-Allow-Prune: 7")

        for number in range(7):
            controller.reaches(f"t{number}", "removed")


def test_a_rewound_branch_is_told_and_nothing_runs_twice(tmp_path, repository, target):
    first = repository.commit("one", one=task("one", "job: ok"))
    later = repository.commit("two", two=task("two", "job: ok"))
    with Controller(repository.folder, tmp_path / "state") as controller:
        controller.reaches("two", "finished")
        controller.reaches("one", "finished")

        repository.git("reset", "--quiet", "--hard", first)

        controller.follows(first)
        assert "W-REWIND" in controller.conditions()["Rewound"]
        repository.git("reset", "--quiet", "--hard", later)
        controller.follows(later)
        repository.commit("three", three=task("three", "job: ok"))
        controller.reaches("three", "finished")
        assert "Rewound" not in controller.conditions()
    assert len(target.requests) == 3


def test_whoever_switches_branches_does_not_change_what_should_run_also_over_a_restart(tmp_path, repository, target):
    state = tmp_path / "state"
    repository.commit("one", one=task("one", "job: ok"))
    run_until_idle(repository.folder, state)
    repository.git("switch", "--quiet", "--create", "feature")
    repository.commit("nobody has looked at this", two=task("two", "job: ok"))

    ended = run_until_idle(repository.folder, state)

    (source,) = sources(state)
    assert found(state, "two") is None
    assert source.ref == "refs/heads/main"
    assert source.location.endswith(" at main")
    assert "repository at main" in ended.text
    assert "Rewound" not in conditions(state)
    run_until_idle(repository.folder, state, "--ref", "feature")
    assert found(state, "two").record.phase.value == "finished"
    assert sources(state)[0].ref == "feature"


def test_a_branch_that_is_gone_is_told_with_the_setting_that_names_another(tmp_path, repository):
    state = tmp_path / "state"
    repository.commit("one", one=task("one", "job: ok"))
    run_until_idle(repository.folder, state)
    repository.git("branch", "--quiet", "--move", "main", "trunk")

    with Controller(repository.folder, state) as controller:
        controller.until(lambda: controller.conditions()["Ready"].startswith("False RefNotFound"))
        ready = controller.conditions()["Ready"]

    assert "has no refs/heads/main; `source.ref` (--ref) says what to follow" in ready


def test_a_bad_version_of_a_definition_leaves_its_last_good_one_in_force(tmp_path, repository, target):
    repository.commit("good")
    state = tmp_path / "state"
    run_until_idle(repository.folder, state)
    repository.write("jobs.yaml", "apiVersion: reconciler/v1\nkind: Job\nmetadata: {name: ok}\nspec: {htp: {}}\n")
    repository.commit("bad", one=task("one", "job: ok"))

    ended = run_until_idle(repository.folder, state)

    assert ended.process.returncode in {1, 2}
    one = found(state, "one")
    assert (one.record.phase.value, one.record.reason) in {("created", "DefinitionRejected"), ("finished", "")}
    repository.write("jobs.yaml", job("ok", f"http: {{url: {target.url}/ok}}", "outputs: {n: result.n}"))
    repository.commit("good again")
    assert run_until_idle(repository.folder, state).process.returncode == 0
    assert found(state, "one").record.phase.value == "finished"
    assert len(target.requests) == 1


@pytest.mark.parametrize(("change", "expected"), [("a bad file", "DefinitionsRejected"), ("a prune", "PruneBlocked")])
def test_what_is_told_of_a_source_is_told_again_after_it_was_away(tmp_path, repository, target, change, expected):
    target.routes["/gate"] = answer(200, {"open": False})
    repository.write("wait.yaml", job("wait", f"http: {{url: {target.url}/gate}}", "until: result.open\nevery: 1s"))
    first = repository.commit(**{f"t{number}": task(f"t{number}", "job: wait") for number in range(8)})
    (tmp_path / "settings.yaml").write_text("source: {poll: 200ms}\n")
    flags = ("--settings", str(tmp_path / "settings.yaml"))
    with Controller(repository.folder, tmp_path / "state", *flags) as controller:
        controller.follows(first)
        if change == "a prune":
            repository.git("rm", "--quiet", *(f"t{number}.yaml" for number in range(7)))
        else:
            repository.write("bad.yaml", "apiVersion: reconciler/v1\nkind: Job\n")
        repository.commit(change)
        controller.until(lambda: expected in controller.conditions())
        before = controller.conditions()
        away = repository.folder.rename(tmp_path / "away")
        controller.until(lambda: controller.conditions().get("Ready", "").startswith("False"))

        away.rename(repository.folder)

        controller.until(lambda: controller.conditions() == before)
