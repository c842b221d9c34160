"""A campaign that would do nothing, or was asked for what is not there, is exit code 2 and one sentence."""

import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
from argparse import Namespace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.crash import oracle as crash
from tests.crash import rounds
from tests.crash.__main__ import _concluded, _replaying
from tests.mutants.mutant import ROOT
from tests.simulation import __main__ as campaigns
from tests.simulation.__main__ import app
from tests.simulation.campaign import Tally
from tests.simulation.canonical import CASES

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
    before = [(each, signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGINT)]
    try:
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(module).main()
    finally:
        for number, handler in before:
            signal.signal(number, handler)

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


def test_a_campaign_that_kills_nobody_has_failed(capsys):
    calm, killed = crash.Tally(moments=9), crash.Tally(moments=9, kills=9)

    assert _concluded({rounds.AT_RANDOM: killed, "SIGTERM": calm}, 1.0) == 0
    assert _concluded({rounds.AT_RANDOM: killed, rounds.AT_CALLS: calm}, 1.0) == 1
    assert capsys.readouterr().out.endswith("system calls: no controller was killed, so nothing is proven\n")


def test_a_round_that_fails_is_played_again_by_the_command_that_is_printed():
    given = Namespace(kills=9, points=0, stop=1.5, seed=3, workers=2, only="")

    words = shlex.split(_replaying(given, rounds.Round(rounds.AT_CALLS, 12, print)))

    module = "--kills 9 --points 0 --stop 1.5 --seed 3 --only"
    assert words[1:] == ["-m", "tests.crash", *module.split(), "system calls 12"]


def test_a_case_that_is_kept_replaces_none_and_is_played_again_by_the_command_that_is_printed(tmp_path, monkeypatch):
    for name, value in {"ROOT": tmp_path, "CORPUS": tmp_path / "corpus", "shrink": lambda case: case}.items():
        monkeypatch.setattr(campaigns, name, value)
    printed = StringIO()
    monkeypatch.setattr(campaigns, "console", Console(file=printed))
    for _ in range(2):
        campaigns._keep(CASES["a get"])

    commands = [line.removeprefix("made small: ") for line in printed.getvalue().splitlines()]

    assert [each.rpartition("/")[2] for each in commands] == ["seed-7.json", "seed-7-again2.json"]
    words = shlex.split(commands[1])
    words[0] = str(ROOT / words[0])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "every invariant holds" in done.stdout) == (0, True), done.stderr


def test_a_campaign_that_is_interrupted_says_what_it_has_found(monkeypatch):
    def interrupted(start, count, workers, told):
        told(Tally(played=25, failed=[(CASES["a get"], "I7 not at rest")] * 12))
        raise KeyboardInterrupt

    monkeypatch.setattr(campaigns, "campaign", interrupted)
    monkeypatch.setattr(campaigns, "console", Console(width=200))

    done = CliRunner().invoke(app, ["run"])

    assert done.exit_code == 130, done.output
    assert done.output.count("seed 7: I7 not at rest; ") == campaigns.TOLD
    assert "also seeds 7, 7\n" in done.output
    assert "25 seeds in" in done.output and "12 violations" in done.output


def test_a_worker_of_a_campaign_tidies_up_when_the_campaign_ends_it(tmp_path):
    script = (
        "import sys, tempfile, time; from tests.workers import obey; obey()\n"
        "with tempfile.TemporaryDirectory(dir=sys.argv[1]): print('there', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"there\n"
        worker.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(0.2)
        worker.terminate()

    assert worker.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_could_not_hear_that_it_is_to_end_ends_all_the_same():
    script = (
        "import os, signal, time; from tests import workers; workers.TIDYING_SECONDS = 1; workers.obey()\n"
        "class Deaf:\n    def __del__(self): os.kill(os.getpid(), signal.SIGTERM)\n"
        "deaf = Deaf(); del deaf; print('deaf', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stdout) == (-signal.SIGALRM, "deaf\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_hunt_for_mutants_that_is_told_to_end_leaves_no_copy_behind(tmp_path: Path, number: int):
    words = [sys.executable, "-m", "tests.mutants", "--only", "epoch-check-skipped"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as hunt:
        until = time.monotonic() + 20
        while not list(tmp_path.glob("reconciler-mutant-*/tree/pyproject.toml")) and time.monotonic() < until:
            time.sleep(0.02)
        there = list(tmp_path.iterdir())
        hunt.send_signal(number)

    assert there
    assert hunt.returncode == 128 + number
    assert list(tmp_path.glob("reconciler-mutant-*")) == []
