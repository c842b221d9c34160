"""`reconciler init` in real folders with real git."""

import json
import subprocess
from pathlib import Path

from typer.testing import CliRunner, Result

from reconciler.cli.app import app


def init(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["init", str(folder), *options])


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_init_makes_a_repository_with_one_committed_file(tmp_path):
    result = init(tmp_path / "new")

    assert result.exit_code == 0, result.output
    assert git(tmp_path / "new", "ls-files").split() == [".gitignore", "hello.yaml"]
    assert git(tmp_path / "new", "status", "--porcelain") == ""
    assert "reconciler run" in result.stdout


def test_init_in_a_repository_adds_one_commit_and_keeps_what_is_staged(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("*.log")
    (tmp_path / "other.txt").write_text("mine")
    git(tmp_path, "add", "other.txt")

    result = init(tmp_path)

    assert result.exit_code == 0, result.output
    assert (tmp_path / ".gitignore").read_text() == "*.log\n.reconciler/\n"
    assert git(tmp_path, "log", "--format=%s") == "Say hello with reconciler"
    assert git(tmp_path, "diff", "--cached", "--name-only") == "other.txt"


def test_init_again_changes_nothing_and_says_what_to_do(tmp_path):
    init(tmp_path)

    result = init(tmp_path)

    assert result.exit_code == 1
    assert "reconciler validate" in result.stderr
    assert git(tmp_path, "rev-list", "--count", "HEAD") == "1"


def test_init_without_an_author_says_how_to_name_one_and_writes_no_definition(tmp_path, monkeypatch):
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{name}_NAME")
        monkeypatch.delenv(f"GIT_{name}_EMAIL")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    monkeypatch.delenv("EMAIL", raising=False)

    result = init(tmp_path)

    assert result.exit_code == 1
    assert "user.email" in result.stderr
    assert not (tmp_path / "hello.yaml").exists()


def test_init_tells_programs_what_it_did(tmp_path):
    found = json.loads(init(tmp_path, "-o", "json").stdout)

    assert found["created"] is True
    assert found["files"] == ["hello.yaml", ".gitignore"]
    assert found["commit"] == git(tmp_path, "rev-parse", "--short", "HEAD")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")

    result = init(tmp_path / "file" / "below")

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
