"""A campaign that would do nothing, or was asked for what is not there, is exit code 2 and one sentence."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.crash import rounds
from tests.mutants.mutant import ROOT
from tests.simulation.__main__ import app

REFUSED = [
    ("tests.crash.__main__", "--only NOPE", "no round has a name that begins with 'NOPE'"),
    ("tests.crash.__main__", "--points -4", "'-4' is no whole number from 0 on"),
    ("tests.crash.__main__", "--workers 0", "'0' is no whole number from 1 on"),
    ("tests.crash.__main__", "--stop nan", "'nan' is no number of 0 or more"),
    ("tests.crash.storage", "--flips -1", "'-1' is no whole number from 0 on"),
    (
        "tests.crash.storage",
        "--flips 0 --cuts 0 --points 0 --pairs 0 --disks 0 --backups 0 --copies 0",
        "there is nothing to do",
    ),
    ("tests.mutants.__main__", "--rotate -3", "'-3' is no whole number from 1 on"),
    ("tests.mutants.__main__", "--rotate 0", "'0' is no whole number from 1 on"),
    ("tests.mutants.__main__", "--renew NOPE", "invalid choice: 'NOPE'"),
    ("tests.mutation.__main__", "--sample -1", "'-1' is no whole number from 0 on"),
    ("tests.mutation.__main__", "--only NOPE", "no module that decides has a path that begins with 'NOPE'"),
]


@pytest.mark.parametrize(("module", "words", "said"), REFUSED)
def test_a_campaign_of_nothing_is_refused(monkeypatch, capsys, module, words, said):
    monkeypatch.setattr(rounds, "strace_works", lambda: False)
    monkeypatch.setenv("CI", "")
    monkeypatch.setattr(sys, "argv", [module, *words.split()])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(module).main()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "run --seeds 0",
        "run --seeds -1",
        "run --workers 0",
        "run --start -1",
        "pairs --workers 0",
        "pairs NOPE",
        "replay ²",
    ],
)
def test_a_simulation_of_nothing_is_refused(words):
    done = CliRunner().invoke(app, words.split())

    assert (done.exit_code, type(done.exception)) == (2, SystemExit), done.output
    assert "not reached" not in done.output


@pytest.mark.parametrize("content", [b"{}", b'{"seed": 3, "flo', b"[]", b"\xff\xfe\x00"])
def test_a_file_that_is_no_case_is_named(tmp_path, content):
    (tmp_path / "case.json").write_bytes(content)

    done = CliRunner().invoke(app, ["replay", str(tmp_path / "case.json")])

    assert (done.exit_code, type(done.exception)) == (2, SystemExit), done.output
    assert "is no case that was written down" in " ".join(done.output.replace("│", "").split())


def test_a_hunt_for_mutants_that_is_told_to_end_leaves_no_copy_behind(tmp_path: Path):
    words = [sys.executable, "-m", "tests.mutants", "--only", "epoch-check-skipped"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as hunt:
        until = time.monotonic() + 20
        while not list(tmp_path.glob("reconciler-mutant-*/tree/pyproject.toml")) and time.monotonic() < until:
            time.sleep(0.02)
        there = list(tmp_path.iterdir())
        hunt.terminate()

    assert there
    assert hunt.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.glob("reconciler-mutant-*")) == []
