"""How the command line answers as such: help that teaches, errors on one line, exit codes that scripts can rely on."""

import os
import resource
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from reconciler.cli.app import COMMANDS, GET, app

HELP_LIMIT = 0.5


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="reconciler")


def test_help_lists_every_command():
    result = invoke("--help")

    assert result.exit_code == 0
    for name in (*COMMANDS, "get"):
        assert f"  {name} " in result.stdout


def test_without_arguments_the_help_is_shown():
    assert invoke().stdout == invoke("--help").stdout
    assert "definitions" in invoke("get").stdout


@pytest.mark.parametrize("name", [*COMMANDS, *(f"get {each}" for each in GET)])
def test_the_help_of_every_command_shows_an_example(name):
    result = invoke(*name.split(), "--help")

    assert result.exit_code == 0
    assert f"  reconciler {name}" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_sentence_of_every_command_fits_the_list(name):
    command = get_command(app).commands[name]  # type: ignore[attr-defined]  # an app with several commands is a group

    assert not command.get_short_help_str(60).endswith("...")


def test_help_needs_less_than_half_a_second():
    best = min(_timed_help() for _ in range(3))

    assert best < HELP_LIMIT, f"{best:.2f} s of a processor"


def _timed_help() -> float:
    """Seconds of a processor, because on a machine with much to do the clock measures the others."""
    begun = _spent()
    subprocess.run([sys.executable, "-m", "reconciler.cli.app", "--help"], check=True, stdout=subprocess.DEVNULL)
    return _spent() - begun


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("run", "--nonsense"),
        ("tree",),
        ("version", "-o", "xml"),
        ("tree", "x", "--state", "/nonexistent"),
    ],
)
def test_wrong_usage_is_one_line_on_stderr_and_exit_code_1(arguments):
    result = invoke(*arguments)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_version_is_printed_for_people_and_programs():
    assert invoke("version").stdout.strip()
    assert invoke("version", "-o", "json").stdout.startswith("{")


def test_an_unknown_driver_is_refused_with_those_that_exist():
    result = invoke("run", "--enable", "teleport")

    assert result.exit_code == 1
    assert "http, process" in result.stderr


@pytest.mark.parametrize("arguments", [("version",), ("schema",), ("validate", "definitions/demo"), ("--help",)])
def test_output_that_nobody_takes_gives_no_traceback(arguments):
    command = [sys.executable, "-m", "reconciler.cli.app", *arguments]

    closed = _told_to('exec "$@" >&-', command)
    unwritten = _told_to('exec "$@" >/dev/full', command)

    assert (closed.returncode, closed.stderr) == (0, "")
    assert unwritten.returncode == 1
    assert unwritten.stderr == f"error: the output cannot be written: {os.strerror(28)}\n"


def _told_to(script: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", script, "sh", *command], check=False, stderr=subprocess.PIPE, text=True)
